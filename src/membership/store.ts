/**
 * What membership keeps across restarts: the last incarnation, and where other members were. Neither is
 * vital (a node that finds a higher incarnation of its own goes above it), so they are written lazily.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { type Endpoint, formatEndpoint, parseEndpoint } from '../ip/endpoint.ts';
import { readStateFile, writeStateFile } from '../state/state-file.ts';
import { MAX_INCARNATION } from './record.ts';

export interface StoredMembership {
  readonly incarnation: number;
  /** At most `MAX_REMEMBERED`. */
  readonly members: readonly Endpoint[];
}

export interface MembershipStore {
  load(): StoredMembership | undefined;
  save(state: StoredMembership): void;
}

export const MAX_REMEMBERED = 16;

const storedSchema = z.object({
  incarnation: z.number().int().min(0).max(MAX_INCARNATION),
  members: z.array(z.string().transform((text) => parseEndpoint(text))).max(MAX_REMEMBERED),
});

/** Keeps it in `stateDir`/membership.json. */
export function fileMembershipStore(stateDir: string): MembershipStore {
  const path = join(stateDir, 'membership.json');
  return {
    load: () => readStateFile<StoredMembership>(path, storedSchema, 'the known members'),
    save: ({ incarnation, members }) =>
      writeStateFile(path, { incarnation, members: members.map(formatEndpoint) }),
  };
}
