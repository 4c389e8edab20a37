/**
 * A datagram of a group probe. Whatever happens to it on the way shows in its hash:
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |                             probe id                          |
 *     |                            (8 bytes)                          |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |     round     |     slot      |        bytes in all           |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |                      noise ...                                |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |        SHA-256 of all before it, its first 8 bytes            |
 *     |                                                               |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import { createHash } from 'node:crypto';

export const PROBE_ID_BYTES = 8;
const ROUND = 8;
const SLOT = 9;
const LENGTH = 10;
const HEADER_BYTES = 12;
const HASH_BYTES = 8;

export interface DatagramMark {
  /** Hexadecimal. */
  readonly probe: string;
  readonly round: number;
  readonly slot: number;
}

/** `noise`: as long as the datagram, or longer. */
export function encodeDatagram({ probe, round, slot }: DatagramMark, noise: Uint8Array, bytes: number) {
  const datagram = Buffer.from(noise.subarray(0, bytes));
  datagram.write(probe, 'hex');
  datagram.writeUInt8(round, ROUND);
  datagram.writeUInt8(slot, SLOT);
  datagram.writeUInt16BE(bytes, LENGTH);
  hashOf(datagram).copy(datagram, bytes - HASH_BYTES, 0, HASH_BYTES);
  return datagram;
}

/** Whose datagram it says it is, as long as it can be one. */
export function probeOf(datagram: Uint8Array): string | undefined {
  if (datagram.length < HEADER_BYTES + HASH_BYTES) return undefined;
  return Buffer.from(datagram.buffer, datagram.byteOffset, PROBE_ID_BYTES).toString('hex');
}

/** Undefined: it is not as it was sent. */
export function decodeDatagram(bytes: Uint8Array): DatagramMark | undefined {
  const probe = probeOf(bytes);
  const datagram = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (probe === undefined || datagram.readUInt16BE(LENGTH) !== datagram.length) return undefined;
  if (!hashOf(datagram).subarray(0, HASH_BYTES).equals(datagram.subarray(-HASH_BYTES))) return undefined;
  return { probe, round: datagram.readUInt8(ROUND), slot: datagram.readUInt8(SLOT) };
}

function hashOf(datagram: Buffer): Buffer {
  return createHash('sha256').update(datagram.subarray(0, -HASH_BYTES)).digest();
}
