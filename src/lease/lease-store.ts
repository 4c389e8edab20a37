/** The lease on disk: written before it is announced, so that a node never forgets what others know of it. */
import { join } from 'node:path';
import { formatPrefix, type Prefix, parsePrefix } from '../ip/prefix.ts';
import { MAX_PREFIXES } from '../membership/record.ts';
import { readStateFile, removeStateFile, writeStateFile } from '../state/state-file.ts';
import { z } from '../zod.ts';

export interface StoredLease {
  /** `claiming`: announced, and not settled when the agent ended. */
  readonly state: 'claiming' | 'active';
  readonly prefixes: readonly Prefix[];
  /** LeaseClaim.reclaims. */
  readonly reclaims: number;
}

export interface LeaseStore {
  load(): StoredLease | undefined;
  /** Durable when it returns. */
  save(lease: StoredLease): void;
  clear(): void;
}

const storedSchema = z.object({
  state: z.enum(['claiming', 'active']),
  prefixes: z
    .array(z.string().transform((text) => parsePrefix(text)))
    .min(1)
    .max(MAX_PREFIXES),
  reclaims: z.number().int().min(0),
});

/** Keeps it in `stateDir`/lease.json, for the node of that id. */
export function fileLeaseStore(stateDir: string, nodeId: string): LeaseStore {
  const path = join(stateDir, 'lease.json');
  return {
    load: () => readStateFile<StoredLease>(path, storedSchema, "this node's lease", nodeId),
    save: (lease) => writeStateFile(path, { ...lease, prefixes: lease.prefixes.map(formatPrefix) }, nodeId),
    clear: () => removeStateFile(path),
  };
}
