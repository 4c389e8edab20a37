/** This node's key in the tunnel, X25519, which outlives its agent: others know it by it, and by nothing that it does without. */
import { join } from 'node:path';
import type { OwnTunnelKey } from '../dataplane/tunnel-keys.ts';
import { generateKeyPair, keyPairOf, privateKeyBytes } from '../encapsulation/wireguard/x25519.ts';
import { readTunnelKey, writeTunnelKey } from './tunnel-key-file.ts';

/** Made where there is none. Throws STATE_CORRUPT and the like. */
export function loadOrCreateTunnelKey(stateDir: string, nodeId: string): OwnTunnelKey {
  const ceilingFile = join(stateDir, 'handshakes.txt');
  const stored = readTunnelKey(stateDir, nodeId);
  if (stored !== undefined) return { own: keyPairOf(stored), ceilingFile };
  const own = generateKeyPair();
  writeTunnelKey(stateDir, nodeId, privateKeyBytes(own));
  return { own, ceilingFile };
}
