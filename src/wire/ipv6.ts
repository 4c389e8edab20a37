/**
 * IPv6 header (RFC 8200, section 3), 40 bytes, then extension headers and payload:
 *
 *     0                   1                   2                   3
 *     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *    |Version| Traffic Class |           Flow Label                  |
 *    |         Payload Length        |  Next Header  |   Hop Limit   |
 *    |                         Source Address (16 bytes)             |
 *    |                      Destination Address (16 bytes)           |
 *    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * Check the length once with `ipv6PacketLength`; the accessors cannot fail after that.
 */

export const IPV6_HEADER_BYTES = 40;

export const IPV6_PAYLOAD_LENGTH = 4;
export const IPV6_NEXT_HEADER = 6;
export const IPV6_HOP_LIMIT = 7;
export const IPV6_SOURCE = 8;
export const IPV6_DESTINATION = 24;

/** RFC 8200, section 5: every link carries at least this. */
export const IPV6_MIN_MTU = 1280;

export const PROTOCOL_ICMPV6 = 58;

/**
 * Validates the header of a packet of which `availableBytes` are there, and returns its whole length; 0 if
 * the packet is shorter than it says. Jumbograms (payload length 0, RFC 2675) do not cross a tunnel.
 */
export function ipv6PacketLength(view: DataView, offset: number, availableBytes: number): number {
  if (availableBytes < IPV6_HEADER_BYTES) return 0;
  const totalBytes = IPV6_HEADER_BYTES + view.getUint16(offset + IPV6_PAYLOAD_LENGTH);
  return totalBytes > availableBytes ? 0 : totalBytes;
}

/**
 * A host beyond the link can be reached there: not multicast (ff00::/8), link-local (fe80::/10), loopback or
 * unspecified. Takes the address's four words as int32.
 */
export function ipv6IsRoutable(word0: number, word1: number, word2: number, word3: number): boolean {
  if (word0 >>> 24 === 0xff || word0 >>> 22 === 0x3fa) return false;
  return (word0 | word1 | word2) !== 0 || word3 >>> 0 > 1;
}
