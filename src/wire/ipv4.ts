/**
 * IPv4 header (RFC 791, section 3.1), 20 to 60 bytes:
 *
 *     0                   1                   2                   3
 *     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *    |Version|  IHL  |Type of Service|          Total Length         |
 *    |         Identification        |Flags|      Fragment Offset    |
 *    |  Time to Live |    Protocol   |         Header Checksum       |
 *    |                       Source Address                          |
 *    |                    Destination Address                        |
 *    |                    Options                    |    Padding    |
 *    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * Check the length once with `ipv4PacketLength`; the accessors cannot fail after that. Addresses are int32.
 */

export const IPV4_MIN_HEADER_BYTES = 20;

export const IPV4_TOTAL_LENGTH = 2;
export const IPV4_ID = 4;
export const IPV4_FRAGMENT = 6;
export const IPV4_TTL = 8;
export const IPV4_PROTOCOL = 9;
export const IPV4_CHECKSUM = 10;
export const IPV4_SOURCE = 12;
export const IPV4_DESTINATION = 16;

export const IPV4_DONT_FRAGMENT = 0x4000;
export const IPV4_FRAGMENT_OFFSET_MASK = 0x1fff;

export const PROTOCOL_ICMP = 1;

/** 4 or 6 (or anything, in a bad packet): the version of the IP packet at `offset`. */
export function ipVersion(view: DataView, offset: number): number {
  return view.getUint8(offset) >> 4;
}

export function ipv4HeaderBytes(view: DataView, offset: number): number {
  return (view.getUint8(offset) & 0x0f) << 2;
}

/**
 * Validates the header of a packet of which `availableBytes` are there, and returns its total length; 0 if
 * the packet is shorter than it says, or the header is malformed.
 */
export function ipv4PacketLength(view: DataView, offset: number, availableBytes: number): number {
  if (availableBytes < IPV4_MIN_HEADER_BYTES) return 0;
  const headerBytes = ipv4HeaderBytes(view, offset);
  const totalBytes = view.getUint16(offset + IPV4_TOTAL_LENGTH);
  if (headerBytes < IPV4_MIN_HEADER_BYTES || totalBytes < headerBytes || totalBytes > availableBytes)
    return 0;
  return totalBytes;
}

export function ipv4Source(view: DataView, offset: number): number {
  return view.getInt32(offset + IPV4_SOURCE);
}

export function ipv4Destination(view: DataView, offset: number): number {
  return view.getInt32(offset + IPV4_DESTINATION);
}

/** A host can be reached there: not multicast (RFC 1112), class E, broadcast or 0.0.0.0/8. */
export function ipv4IsUnicast(address: number): boolean {
  return address >>> 28 < 14 && address >>> 24 !== 0;
}
