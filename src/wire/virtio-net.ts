/**
 * The header that a TUN device with IFF_VNET_HDR puts before every packet (linux/virtio_net.h, struct
 * virtio_net_hdr), 10 bytes in host order (little-endian here):
 *
 *    byte  0      1         2        4         6           8
 *         +------+---------+--------+---------+-----------+------------+
 *         | flags| gso type| hdr len| gso size| csum start| csum offset|
 *         +------+---------+--------+---------+-----------+------------+
 *
 * All zero: one plain packet whose checksums are complete.
 */

export const VIRTIO_NET_HEADER_BYTES = 10;

export const VIRTIO_FLAGS = 0;
export const VIRTIO_GSO_TYPE = 1;
export const VIRTIO_HEADER_LENGTH = 2;
export const VIRTIO_GSO_SIZE = 4;
export const VIRTIO_CHECKSUM_START = 6;
export const VIRTIO_CHECKSUM_OFFSET = 8;

export const VIRTIO_GSO_NONE = 0;

/** Writes the header of a plain packet. */
export function writePlainVirtioHeader(view: DataView, offset: number): void {
  view.setInt32(offset, 0);
  view.setInt32(offset + 4, 0);
  view.setInt16(offset + 8, 0);
}
