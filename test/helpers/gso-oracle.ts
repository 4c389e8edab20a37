/**
 * What the kernel's GSO makes of a frame that was written to a TUN, byte by byte and whatever its headers hold: what
 * a pod is given. It shares no code with the packet path; transport-packets.ts's `cut` is the same in fields.
 */
import type { BurstPacket } from './gro-oracle.ts';
import { CWR, FIN, onesSum, PSH } from './transport-packets.ts';
import { type Frame, UDP_L4 } from './tun-frame.ts';

/** The packets of `frame`, with their checksums as partial or complete as its own. */
export function segmentsOf({ packet, virtio }: Frame): BurstPacket[] {
  if (virtio.gsoType === 0) return [{ packet, partial: virtio.needsChecksum }];
  const { headerBytes, gsoBytes, checksumStart, checksumOffset } = virtio;
  const isIpv4 = packet[0]! >> 4 === 4;
  const isUdp = virtio.gsoType === UDP_L4;
  const pieces: BurstPacket[] = [];
  for (let at = headerBytes; at < packet.length; at += gsoBytes) {
    const piece = Buffer.concat([packet.subarray(0, headerBytes), packet.subarray(at, at + gsoBytes)]);
    const transportBytes = piece.length - checksumStart;
    if (isIpv4) {
      piece.writeUInt16BE(piece.length, 2);
      piece.writeUInt16BE((packet.readUInt16BE(4) + pieces.length) & 0xffff, 4);
      piece.writeUInt16BE(0, 10);
      piece.writeUInt16BE(~onesSum(piece.subarray(0, 20)) & 0xffff, 10);
    } else {
      piece.writeUInt16BE(piece.length - 40, 4);
    }
    if (isUdp) {
      piece.writeUInt16BE(transportBytes, checksumStart + 4);
    } else {
      const sequence = packet.readUInt32BE(checksumStart + 4) + at - headerBytes;
      piece.writeUInt32BE(sequence >>> 0, checksumStart + 4);
      if (at > headerBytes) piece[checksumStart + 13]! &= ~CWR;
      if (at + gsoBytes < packet.length) piece[checksumStart + 13]! &= ~(FIN | PSH);
    }
    // The pseudo-header's sum, with this piece's length in place of the whole's.
    const field = checksumStart + checksumOffset;
    const lengths = Buffer.alloc(6);
    lengths.writeUInt16BE(packet.readUInt16BE(field), 0);
    lengths.writeUInt16BE(~(packet.length - checksumStart) & 0xffff, 2);
    lengths.writeUInt16BE(transportBytes, 4);
    piece.writeUInt16BE(onesSum(lengths), field);
    pieces.push({ packet: piece, partial: true });
  }
  return pieces;
}
