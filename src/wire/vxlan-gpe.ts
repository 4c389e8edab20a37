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
 */

export const VXLAN_GPE_BYTES = 8;
/** IANA's UDP port. */
export const VXLAN_GPE_PORT = 4790;

export const NEXT_PROTOCOL_IPV4 = 0x01;
export const NEXT_PROTOCOL_IPV6 = 0x02;

/** Flags I and P, no reserved bit, and the next protocol: the only first words that are accepted. */
export const FIRST_WORD_IPV4 = 0x0c000000 | NEXT_PROTOCOL_IPV4;
export const FIRST_WORD_IPV6 = 0x0c000000 | NEXT_PROTOCOL_IPV6;

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

/** True for a header with I and P set, version 0 and every reserved, B and O bit clear, whatever comes next. */
export function vxlanGpeFlagsAreValid(firstWord: number): boolean {
  return (firstWord & ~0xff) === 0x0c000000;
}
