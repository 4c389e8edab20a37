/** Where this node's key in the tunnel lies: 32 bytes of X25519, apart from what can be done with them. */
import { join } from 'node:path';
import { readStateFile, writeStateFile } from '../state/state-file.ts';
import { z } from '../zod.ts';

const schema = z.object({
  /** 32 bytes. */
  privateKey: z.base64().length(44),
});

/** Undefined: there is none yet. Throws STATE_CORRUPT and the like. */
export function readTunnelKey(stateDir: string, nodeId: string): Buffer | undefined {
  const stored = readStateFile(fileIn(stateDir), schema, "this node's tunnel key", nodeId);
  return stored && Buffer.from(stored.privateKey, 'base64');
}

/** Throws STATE_UNWRITABLE. */
export function writeTunnelKey(stateDir: string, nodeId: string, privateKey: Buffer): void {
  writeStateFile(fileIn(stateDir), { privateKey: privateKey.toString('base64') }, nodeId);
}

function fileIn(stateDir: string): string {
  return join(stateDir, 'tunnel-key.json');
}
