/**
 * What membership keeps across restarts: its incarnation and generation, where other members were, and who was
 * forgotten. None of it is vital (a node goes above a higher incarnation or generation of its own that others
 * know, and learns of tombstones from them), so that it is written a little later.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { type Endpoint, formatEndpoint, parseEndpoint } from '../ip/endpoint.ts';
import { readStateFile, writeStateFile } from '../state/state-file.ts';
import { MAX_GENERATION, MAX_INCARNATION } from './record.ts';
import { MAX_TOMBSTONES } from './tombstones.ts';

export interface StoredMembership {
  readonly incarnation: number;
  /** At most `MAX_REMEMBERED`. */
  readonly members: readonly Endpoint[];
  readonly generation: number;
  /** At most `MAX_TOMBSTONES`. */
  readonly tombstones: readonly StoredTombstone[];
}

export interface StoredTombstone {
  readonly id: string;
  readonly generation: number;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export interface MembershipStore {
  load(): StoredMembership | undefined;
  save(state: StoredMembership): void;
}

export const MAX_REMEMBERED = 16;

const generation = z.number().int().min(0).max(MAX_GENERATION);

const storedSchema = z.object({
  incarnation: z.number().int().min(0).max(MAX_INCARNATION),
  members: z.array(z.string().transform((text) => parseEndpoint(text))).max(MAX_REMEMBERED),
  generation: generation.default(0),
  tombstones: z
    .array(z.object({ id: z.string().regex(/^[0-9a-f]{32}$/), generation, at: z.number() }))
    .max(MAX_TOMBSTONES)
    .default([]),
});

/** Keeps it in `stateDir`/membership.json. */
export function fileMembershipStore(stateDir: string): MembershipStore {
  const path = join(stateDir, 'membership.json');
  return {
    load: () => readStateFile<StoredMembership>(path, storedSchema, 'the known members'),
    save: (state) => writeStateFile(path, { ...state, members: state.members.map(formatEndpoint) }),
  };
}
