/**
 * What membership keeps across restarts: its incarnation and generation, where other members were, who was
 * forgotten, and who had a lease. Were the last not kept, the leases of dead nodes would be free as soon as the
 * last node that remembers them restarts. A node that is late with writing loses little: it goes above a higher
 * incarnation or generation of its own that others know, and learns the rest from them.
 */
import { join } from 'node:path';
import { type Endpoint, formatEndpoint, parseEndpoint } from '../ip/endpoint.ts';
import { readStateFile, writeStateFile } from '../state/state-file.ts';
import { z } from '../zod.ts';
import type { Written } from './downtime.ts';
import { MAX_MEMBERS } from './member-table.ts';
import { MAX_GENERATION, MAX_INCARNATION } from './record.ts';
import { MAX_TOMBSTONES } from './tombstones.ts';
import type { SignedRecord } from './types.ts';

export interface StoredMembership {
  /** Absent in what 0.1.0 wrote. */
  readonly written?: Written | undefined;
  readonly incarnation: number;
  /** At most `MAX_REMEMBERED`. */
  readonly members: readonly Endpoint[];
  readonly generation: number;
  /** At most `MAX_TOMBSTONES`. */
  readonly tombstones: readonly StoredTombstone[];
  /** Members that have leases; at most `MAX_MEMBERS`. */
  readonly lessees: readonly StoredLessee[];
}

export interface StoredTombstone {
  readonly id: string;
  readonly generation: number;
  /** Milliseconds since 1970; what counts is how long before `written` that was (downtime.ts). */
  readonly at: number;
}

export interface StoredLessee {
  readonly signed: SignedRecord;
  /** When it died or left, milliseconds since 1970; undefined while it is there. */
  readonly goneAt: number | undefined;
}

export interface MembershipStore {
  load(): StoredMembership | undefined;
  /** `take` makes what is to be written: thousands of simulated nodes that keep nothing never call it. */
  save(take: () => StoredMembership): void;
}

export const MAX_REMEMBERED = 16;

const generation = z.number().int().min(0).max(MAX_GENERATION);
const bytes = z.base64().transform((text) => new Uint8Array(Buffer.from(text, 'base64')));

const storedSchema = z.object({
  written: z.object({ bootId: z.string().max(64), uptimeMs: z.number().min(0), at: z.number() }).optional(),
  incarnation: z.number().int().min(0).max(MAX_INCARNATION),
  members: z.array(z.string().transform((text) => parseEndpoint(text))).max(MAX_REMEMBERED),
  generation,
  tombstones: z
    .array(z.object({ id: z.string().regex(/^[0-9a-f]{32}$/), generation, at: z.number() }))
    .max(MAX_TOMBSTONES),
  lessees: z
    .array(
      z
        .object({ record: bytes, signature: bytes, goneAt: z.number().optional() })
        .transform(({ record, signature, goneAt }) => ({ signed: { bytes: record, signature }, goneAt })),
    )
    .max(MAX_MEMBERS),
});

/** Keeps it in `stateDir`/membership.json, for the node of that id. */
export function fileMembershipStore(stateDir: string, nodeId: string): MembershipStore {
  const path = join(stateDir, 'membership.json');
  return {
    load: () => readStateFile<StoredMembership>(path, storedSchema, 'the known members', nodeId),
    save: (take) => {
      const state = take();
      const lessees = state.lessees.map(({ signed, goneAt }) => ({
        record: base64(signed.bytes),
        signature: base64(signed.signature),
        goneAt,
      }));
      writeStateFile(path, { ...state, members: state.members.map(formatEndpoint), lessees }, nodeId);
    },
  };
}

function base64(data: Uint8Array): string {
  return Buffer.from(data).toString('base64');
}
