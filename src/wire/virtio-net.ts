/**
 * The header that a TUN device with IFF_VNET_HDR puts before every packet (linux/virtio_net.h, struct
 * virtio_net_hdr), 10 bytes in host order (little-endian here):
 *
 *    byte  0      1         2           4         6           8
 *         +------+---------+-----------+---------+-----------+------------+
 *         | flags| gso type| header len| gso size| csum start| csum offset|
 *         +------+---------+-----------+---------+-----------+------------+
 *
 * All zero: one plain packet whose checksums are complete. NEEDS_CSUM: the transport checksum is partial, that
 * is, its field (at csum start + csum offset) holds the folded sum of the pseudo-header alone. A gso type: a
 * superpacket, which stands for segments of `gso size` payload bytes behind `header len` bytes of headers.
 */

export const VIRTIO_NET_HEADER_BYTES = 10;

const FLAGS = 0;
const GSO_TYPE = 1;
const HEADER_LENGTH = 2;
const GSO_SIZE = 4;
const CHECKSUM_START = 6;
const CHECKSUM_OFFSET = 8;

const NEEDS_CHECKSUM = 1;

export const VIRTIO_GSO_NONE = 0;
export const VIRTIO_GSO_TCPV4 = 1;
export const VIRTIO_GSO_TCPV6 = 4;
export const VIRTIO_GSO_UDP_L4 = 5;
/** Added to a TCP type whose first segment carries CWR (RFC 3168, section 6.1.2). */
export const VIRTIO_GSO_ECN = 0x80;

/** Writes the header of a plain packet. */
export function writePlainVirtioHeader(view: DataView, offset: number): void {
  view.setInt32(offset, 0);
  view.setInt32(offset + 4, 0);
  view.setInt16(offset + 8, 0);
}

/**
 * Writes the header of a packet with a partial transport checksum: `gsoType` VIRTIO_GSO_NONE for a plain one,
 * `checksumStart` from the IP header on, `checksumOffset` from there.
 */
export function writeVirtioHeader(
  view: DataView,
  offset: number,
  gsoType: number,
  headerBytes: number,
  gsoBytes: number,
  checksumStart: number,
  checksumOffset: number,
): void {
  view.setUint8(offset + FLAGS, NEEDS_CHECKSUM);
  view.setUint8(offset + GSO_TYPE, gsoType);
  view.setUint16(offset + HEADER_LENGTH, headerBytes, true);
  view.setUint16(offset + GSO_SIZE, gsoBytes, true);
  view.setUint16(offset + CHECKSUM_START, checksumStart, true);
  view.setUint16(offset + CHECKSUM_OFFSET, checksumOffset, true);
}

export function virtioNeedsChecksum(view: DataView, offset: number): boolean {
  return (view.getUint8(offset + FLAGS) & NEEDS_CHECKSUM) !== 0;
}

/** One of the VIRTIO_GSO types, the ECN bit taken off. */
export function virtioGsoType(view: DataView, offset: number): number {
  return view.getUint8(offset + GSO_TYPE) & ~VIRTIO_GSO_ECN;
}

export function virtioGsoBytes(view: DataView, offset: number): number {
  return view.getUint16(offset + GSO_SIZE, true);
}

export function virtioChecksumStart(view: DataView, offset: number): number {
  return view.getUint16(offset + CHECKSUM_START, true);
}

export function virtioChecksumOffset(view: DataView, offset: number): number {
  return view.getUint16(offset + CHECKSUM_OFFSET, true);
}
