/** This node's end of the tunnel, as its record announces it. */
import type { Config } from '../config/config.ts';
import type { Encapsulation } from '../membership/types.ts';

/** `tunnelKey` is there where the encapsulation has keys. */
export function ownEncapsulation(
  { encapsulation: { type, vni }, datapath }: Config,
  tunnelKey: Uint8Array | undefined,
): Encapsulation {
  if (type === 'wireguard') return { type, publicKey: tunnelKey! };
  return { type, vni, partialChecksums: datapath.offload.checksum };
}
