/** This node's end of the tunnel, as its record announces it. */
import type { Config } from '../config/config.ts';
import type { Encapsulation } from '../membership/types.ts';

/** `tunnelKey` is there where the encapsulation has keys. */
export function ownEncapsulation(
  { encapsulation: { type, accept, vni }, datapath }: Config,
  tunnelKey: Uint8Array | undefined,
): Encapsulation {
  // Nodes that do not know of keys see one of their kind.
  if (accept) return { type: accept, vni, partialChecksums: false, tunnelKey };
  if (type === 'wireguard') return { type, publicKey: tunnelKey! };
  return { type, vni, partialChecksums: datapath.offload.checksum };
}
