/** Zeros behind a packet, so that its length tells less. */
import { PADDING_BYTES } from './data-message.ts';

/** How many make a packet a multiple of 16 bytes long, without making it longer than the MTU. */
export function paddingOf(packetBytes: number, mtu: number): number {
  const padded = (packetBytes + PADDING_BYTES - 1) & -PADDING_BYTES;
  return Math.max(0, Math.min(padded, Math.max(mtu, packetBytes)) - packetBytes);
}
