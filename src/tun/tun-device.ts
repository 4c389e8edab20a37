/**
 * The Linux TUN device (Documentation/networking/tuntap.rst, linux/if_tun.h): created or taken over, one file
 * descriptor per queue, with a virtio header before each packet.
 *
 * The device is persistent: it outlives the agent with its addresses and routes, so that the connections of
 * pods survive an agent's restart. `ip link delete` removes it (host/tun-network.ts).
 */
import { WarrenError } from '../errors.ts';
import { Arena } from '../sys/arena.ts';
import { type CallContext, checked } from '../sys/calls.ts';
import {
  EINVAL,
  IFF_MULTI_QUEUE,
  IFF_NO_PI,
  IFF_TUN,
  IFF_VNET_HDR,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDWR,
  TUN_F_CSUM,
  TUN_F_TSO_ECN,
  TUN_F_TSO4,
  TUN_F_TSO6,
  TUN_F_USO4,
  TUN_F_USO6,
  TUNSETIFF,
  TUNSETOFFLOAD,
  TUNSETPERSIST,
  TUNSETVNETHDRSZ,
} from '../sys/constants.ts';
import * as libc from '../sys/libc.ts';
import { IFREQ } from '../sys/structs.ts';
import { VIRTIO_NET_HEADER_BYTES } from '../wire/virtio-net.ts';

const DEVICE_PATH = '/dev/net/tun';

const OPEN_HINTS = {
  ENOENT: `load the module with "modprobe tun"; in a container pass --device ${DEVICE_PATH}`,
  ENODEV: 'load the module with "modprobe tun"',
  EACCES: `run as root; in a container pass --device ${DEVICE_PATH}`,
  EPERM: `run as root; in a container pass --device ${DEVICE_PATH}`,
};

const ATTACH_HINTS = {
  EPERM: 'creating a TUN device needs root or CAP_NET_ADMIN; in a container pass --cap-add NET_ADMIN',
  EBUSY: 'another program holds this device, perhaps a second agent; stop it, or set another tun.name',
  EINVAL:
    'a device of this name exists and is not a multi-queue TUN; delete it with "ip link delete", or set another tun.name',
  E2BIG:
    'all queues of this device are taken; stop the other program that holds them, or set another tun.name',
};

/** Which superpackets the device hands over. What is off, the kernel segments and checksums itself. */
export interface TunOffloads {
  readonly tso: boolean;
  /** Linux 6.2. */
  readonly uso: boolean;
}

export interface TunDevice {
  /** One per queue; `closeTunDevice` closes them. */
  readonly descriptors: readonly number[];
  /** What of the wanted offloads the kernel has. */
  readonly offloads: TunOffloads;
}

/** Creates the device `name` or attaches to it, with `queues` queues. */
export function openTunDevice(name: string, queues: number, wanted: TunOffloads): TunDevice {
  if (Buffer.byteLength(name) >= IFREQ.nameBytes || name === '') {
    throw new WarrenError(
      'TUN_NAME_INVALID',
      `"${name}" is not an interface name: it has 1 to 15 characters`,
    );
  }
  const descriptors: number[] = [];
  try {
    for (let queue = 0; queue < queues; queue++) descriptors.push(openQueue(name));
    // Offloads belong to the device: the first queue sets them for all.
    return { descriptors, offloads: setOffloads(name, descriptors[0]!, wanted) };
  } catch (error) {
    closeTunDevice(descriptors);
    throw error;
  }
}

/** Lets go of the device; it stays, without a carrier, until the next agent takes it. */
export function closeTunDevice(descriptors: readonly number[]): void {
  for (const descriptor of descriptors) libc.close(descriptor);
}

function openQueue(name: string): number {
  const doing = `opening the TUN device ${name}`;
  const context = (call: string, hints: CallContext['hints'] = {}): CallContext => ({ call, doing, hints });
  const fd = checked(
    libc.open(DEVICE_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC),
    context(`open(${DEVICE_PATH})`, OPEN_HINTS),
  );
  try {
    const request = new Arena(IFREQ.bytes);
    request.bytes.set(Buffer.from(name), IFREQ.name);
    request.view.setUint16(IFREQ.flags, IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE | IFF_VNET_HDR, true);
    checked(libc.ioctl(fd, TUNSETIFF, request.address(0)), context('ioctl(TUNSETIFF)', ATTACH_HINTS));
    // A device that an earlier agent left may carry other settings: say all of them.
    request.view.setInt32(0, VIRTIO_NET_HEADER_BYTES, true);
    checked(libc.ioctl(fd, TUNSETVNETHDRSZ, request.address(0)), context('ioctl(TUNSETVNETHDRSZ)'));
    checked(libc.ioctl(fd, TUNSETPERSIST, 1), context('ioctl(TUNSETPERSIST)'));
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** An older kernel refuses the flags that it does not know: ask for less until it agrees. */
function setOffloads(name: string, fd: number, wanted: TunOffloads): TunOffloads {
  const doing = `setting the offloads of the TUN device ${name}`;
  const attempts: TunOffloads[] = [wanted, { ...wanted, uso: false }, { tso: false, uso: false }];
  for (const offloads of attempts) {
    const result = libc.ioctl(fd, TUNSETOFFLOAD, offloadFlags(offloads));
    if (result === 0) return offloads;
    if (libc.errno() !== EINVAL) checked(result, { call: 'ioctl(TUNSETOFFLOAD)', doing });
  }
  throw new WarrenError('TUN_OFFLOAD', `${doing}: the kernel refuses every setting, even none`);
}

function offloadFlags({ tso, uso }: TunOffloads): number {
  const tsoFlags = tso ? TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN : 0;
  const usoFlags = uso ? TUN_F_USO4 | TUN_F_USO6 : 0;
  // Segmentation offload is only possible with checksum offload.
  return tsoFlags | usoFlags | (tso || uso ? TUN_F_CSUM : 0);
}
