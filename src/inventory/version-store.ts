/**
 * The number of this node's inventory version on disk. It is written ahead in steps: what stands there has never
 * been passed, so after a crash the node goes on above it, and not each change waits for the disk.
 */
import { join } from 'node:path';
import { readStateFile, writeStateFile } from '../state/state-file.ts';
import { z } from '../zod.ts';

export interface VersionStore {
  /** The highest version that may have been used; undefined: none was. */
  load(): number | undefined;
  /** Durable when it returns. */
  save(version: number): void;
}

const storedSchema = z.object({ version: z.number().int().min(1).max(0xffff_ffff) });

/** Keeps it in `stateDir`/inventory.json, for the node of that id. */
export function fileVersionStore(stateDir: string, nodeId: string): VersionStore {
  const path = join(stateDir, 'inventory.json');
  return {
    load: () => readStateFile(path, storedSchema, "this node's inventory version", nodeId)?.version,
    save: (version) => writeStateFile(path, { version }, nodeId),
  };
}
