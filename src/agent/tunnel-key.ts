/** This node's key in the tunnel, X25519, which outlives its agent: others know it by it, and by nothing that it does without. */
import { join } from 'node:path';
import type { OwnTunnelKey } from '../dataplane/tunnel-keys.ts';
import { generateKeyPair, keyPairOf, privateKeyBytes } from '../encapsulation/wireguard/x25519.ts';
import { readStateFile, writeStateFile } from '../state/state-file.ts';
import { z } from '../zod.ts';

const schema = z.object({
  /** 32 bytes. */
  privateKey: z.base64().length(44),
});

/** Made where there is none. Throws STATE_CORRUPT and the like. */
export function loadOrCreateTunnelKey(stateDir: string, nodeId: string): OwnTunnelKey {
  const path = join(stateDir, 'tunnel-key.json');
  const ceilingFile = join(stateDir, 'handshakes.txt');
  const stored = readStateFile(path, schema, "this node's tunnel key", nodeId);
  if (stored !== undefined) return { own: keyPairOf(Buffer.from(stored.privateKey, 'base64')), ceilingFile };
  const own = generateKeyPair();
  writeStateFile(path, { privateKey: privateKeyBytes(own).toString('base64') }, nodeId);
  return { own, ceilingFile };
}
