/** What crosses a TUN with IFF_VNET_HDR: a packet behind its virtio header, read and written the obvious way. */

/** struct virtio_net_hdr (linux/virtio_net.h). */
export interface VirtioHeader {
  readonly needsChecksum: boolean;
  readonly gsoType: number;
  readonly headerBytes: number;
  readonly gsoBytes: number;
  readonly checksumStart: number;
  readonly checksumOffset: number;
}

export interface Frame {
  readonly packet: Buffer;
  readonly virtio: VirtioHeader;
}

export const VIRTIO_BYTES = 10;

/** VIRTIO_NET_HDR_GSO_*. */
export const TCPV4 = 1;
export const TCPV6 = 4;
export const UDP_L4 = 5;
export const GSO_ECN = 0x80;

export const PLAIN: VirtioHeader = {
  needsChecksum: false,
  gsoType: 0,
  headerBytes: 0,
  gsoBytes: 0,
  checksumStart: 0,
  checksumOffset: 0,
};

export function readFrame(bytes: Buffer): Frame {
  return {
    packet: bytes.subarray(VIRTIO_BYTES),
    virtio: {
      needsChecksum: bytes[0] === 1,
      gsoType: bytes[1]!,
      headerBytes: bytes.readUInt16LE(2),
      gsoBytes: bytes.readUInt16LE(4),
      checksumStart: bytes.readUInt16LE(6),
      checksumOffset: bytes.readUInt16LE(8),
    },
  };
}

export function writeFrame(packet: Uint8Array, virtio: VirtioHeader): Buffer {
  const header = Buffer.alloc(VIRTIO_BYTES);
  header[0] = virtio.needsChecksum ? 1 : 0;
  header[1] = virtio.gsoType;
  header.writeUInt16LE(virtio.headerBytes, 2);
  header.writeUInt16LE(virtio.gsoBytes, 4);
  header.writeUInt16LE(virtio.checksumStart, 6);
  header.writeUInt16LE(virtio.checksumOffset, 8);
  return Buffer.concat([header, packet]);
}
