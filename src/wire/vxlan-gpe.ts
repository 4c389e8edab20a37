/**
 * VXLAN-GPE header (draft-ietf-nvo3-vxlan-gpe-12, section 3), 8 bytes between the outer UDP header and the
 * inner IP packet:
 *
 *     0                   1                   2                   3
 *     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *    |R|R|Ver|I|P|B|O|          Reserved             | Next Protocol |
 *    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *    |        VXLAN Network Identifier (VNI)         |   Reserved    |
 *    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * I: the VNI is valid. P: next protocol is set. B: broadcast. O: an OAM packet, not for us. A sender sets I
 * and P alone, so the whole first word is one of two constants, and checking it is one comparison.
 *
 * Between two warren agents that both announced it, remote checksum offload (draft-herbert-vxlan-rco-00, the
 * layout of Linux's `remcsumtx`) marks a packet whose transport checksum is still partial: flag C, and in the
 * last byte the halved offset of the transport header, with the top bit for UDP. The checksum's field then holds
 * the pseudo-header's sum; the outer UDP checksum covers the data on the way.
 *
 *    |R|R|Ver|I|P|B|O|R|R|C|R|R|R|R|R| ...        | VNI ... |U|Start / 2  |
 */

export const VXLAN_GPE_BYTES = 8;
/** IANA's UDP port. */
export const VXLAN_GPE_PORT = 4790;

export const NEXT_PROTOCOL_IPV4 = 0x01;
export const NEXT_PROTOCOL_IPV6 = 0x02;

/** Flags I and P, no reserved bit, and the next protocol: the only first words that are accepted. */
export const FIRST_WORD_IPV4 = 0x0c000000 | NEXT_PROTOCOL_IPV4;
export const FIRST_WORD_IPV6 = 0x0c000000 | NEXT_PROTOCOL_IPV6;

/** Flag C in the first word: the transport checksum is partial. */
export const CHECKSUM_OFFLOAD_FLAG = 0x00200000;
const CHECKSUM_OFFLOAD_UDP = 0x80;
const CHECKSUM_OFFLOAD_START_MASK = 0x7f;
/** The transport header begins at an even offset of at most this many bytes. */
export const CHECKSUM_OFFLOAD_MAX_START = 2 * CHECKSUM_OFFLOAD_START_MASK;

/** The last byte of the second word for a partial checksum; `transportOffset` from the inner IP header. */
export function checksumOffloadByte(transportOffset: number, isUdp: boolean): number {
  return (transportOffset >> 1) | (isUdp ? CHECKSUM_OFFLOAD_UDP : 0);
}

/** The second word as int32: `vni` (24 bits) and eight reserved zero bits. */
export function vniWord(vni: number): number {
  return vni << 8;
}

/** Writes the header at `offset`; `firstWord` is FIRST_WORD_IPV4 or FIRST_WORD_IPV6. */
export function writeVxlanGpe(view: DataView, offset: number, firstWord: number, secondWord: number): void {
  view.setInt32(offset, firstWord);
  view.setInt32(offset + 4, secondWord);
}

export function vxlanGpeFirstWord(view: DataView, offset: number): number {
  return view.getInt32(offset);
}

export function vxlanGpeSecondWord(view: DataView, offset: number): number {
  return view.getInt32(offset + 4);
}

/** The offset of the transport header whose checksum is partial. */
export function checksumOffloadStart(secondWord: number): number {
  return (secondWord & CHECKSUM_OFFLOAD_START_MASK) << 1;
}

export function checksumOffloadIsUdp(secondWord: number): boolean {
  return (secondWord & CHECKSUM_OFFLOAD_UDP) !== 0;
}

/** True for a header with I and P set, version 0 and every reserved, B and O bit clear, whatever comes next. */
export function vxlanGpeFlagsAreValid(firstWord: number): boolean {
  return (firstWord & ~0xff) === 0x0c000000;
}
