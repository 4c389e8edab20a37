/**
 * The Linux TUN device (Documentation/networking/tuntap.rst, linux/if_tun.h): created or taken over, with one or
 * more queues, and with a virtio header before each packet.
 *
 * The device is persistent: it outlives the agent with its addresses and routes, so that the connections of
 * pods survive an agent's restart. `ip link delete` removes it (host/tun-network.ts).
 *
 * With several queues each has two descriptors, one to read from and one to write to. The kernel spreads packets
 * over the queues by a hash of the flow, but for a flow of which it has lately seen packets the other way: that
 * flow goes to the queue through which those were written (tun_flow_update in drivers/net/tun.c). Which one that
 * is depends on the peer, whose choice depends on ours, and a flow that is moved from queue to queue is reordered
 * between their workers. A queue that has been detached can still be written to, and the kernel learns nothing
 * from it. So all writes go through detached queues, and a flow's queue never changes.
 */
import { WarrenError } from '../errors.ts';
import { Arena } from '../sys/arena.ts';
import { type CallContext, checked } from '../sys/calls.ts';
import {
  EINVAL,
  IFF_DETACH_QUEUE,
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
  TUNGETIFF,
  TUNSETIFF,
  TUNSETOFFLOAD,
  TUNSETPERSIST,
  TUNSETQUEUE,
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
  /** One per queue, as in `writeFds`; `closeTunDevice` closes them all. */
  readonly readFds: readonly number[];
  /** The same as `readFds` if there is one queue. */
  readonly writeFds: readonly number[];
  /** What of the wanted offloads the kernel has. */
  readonly offloads: TunOffloads;
}

export interface NamedTunDevice extends TunDevice {
  readonly name: string;
}

/** Creates the device `name` or attaches to it, with `queues` queues. */
export function openTunDevice(name: string, queues: number, wanted: TunOffloads): TunDevice {
  if (Buffer.byteLength(name) >= IFREQ.nameBytes || name === '') {
    throw new WarrenError(
      'TUN_NAME_INVALID',
      `"${name}" is not an interface name: it has 1 to 15 characters`,
    );
  }
  const opened: number[] = [];
  const open = (): number => {
    const fd = openQueue(name);
    opened.push(fd);
    return fd;
  };
  try {
    const writers = queues > 1 ? Array.from({ length: queues }, open) : [];
    // The last one first, so that none takes the number of another. They keep their numbers, and the kernel
    // takes what is written for received on the queue of that number: it has to be one that exists.
    for (const fd of writers.toReversed()) detachQueue(name, fd);
    const readFds = Array.from({ length: queues }, open);
    // Offloads belong to the device: the first queue sets them for all.
    const device = { readFds, writeFds: queues > 1 ? writers : readFds };
    return { ...device, offloads: setOffloads(name, readFds[0]!, wanted) };
  } catch (error) {
    for (const fd of opened) libc.close(fd);
    throw error;
  }
}

/**
 * Creates the device `name` for a program that lives as long as it does: one queue, and gone with the descriptor. In `name` the
 * kernel puts a number in place of %d; the result has the name.
 */
export function openOwnTunDevice(name: string, wanted: TunOffloads): NamedTunDevice {
  if (Buffer.byteLength(name) >= IFREQ.nameBytes || name === '') {
    throw new WarrenError(
      'TUN_NAME_INVALID',
      `"${name}" is not an interface name: it has 1 to 15 characters`,
    );
  }
  const doing = `creating the TUN device ${name}`;
  const path = `open(${DEVICE_PATH})`;
  const fd = checked(libc.open(DEVICE_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC), {
    ...{ call: path, doing, hints: OPEN_HINTS },
  });
  try {
    const request = new Arena(IFREQ.bytes);
    request.bytes.set(Buffer.from(name), IFREQ.name);
    request.view.setUint16(IFREQ.flags, IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, true);
    const call = 'ioctl(TUNSETIFF)';
    checked(libc.ioctl(fd, TUNSETIFF, request.address(0)), { call, doing, hints: ATTACH_HINTS });
    return preparedTun(fd, wanted);
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** One that is open already as `fd`. Throws TUN_NAME_INVALID if it has no virtio header before its packets. */
export function adoptTunDevice(fd: number, wanted: TunOffloads): NamedTunDevice {
  const { flags } = tunInterface(fd);
  if ((flags & IFF_VNET_HDR) === 0)
    throw new WarrenError('TUN_OFFLOAD', `descriptor ${fd} is a TUN device without IFF_VNET_HDR`);
  return preparedTun(fd, wanted);
}

/** What the device behind a descriptor is called now, and its flags. Throws a SysError: EBADFD where it is gone. */
export function tunInterface(fd: number): { readonly name: string; readonly flags: number } {
  const request = new Arena(IFREQ.bytes);
  checked(libc.ioctl(fd, TUNGETIFF, request.address(0)), {
    call: 'ioctl(TUNGETIFF)',
    doing: `asking which TUN device descriptor ${fd} is`,
  });
  const name = Buffer.from(request.buffer, IFREQ.name, IFREQ.nameBytes).toString();
  return { name: name.slice(0, name.indexOf('\0')), flags: request.view.getUint16(IFREQ.flags, true) };
}

function preparedTun(fd: number, wanted: TunOffloads): NamedTunDevice {
  const { name } = tunInterface(fd);
  const size = new Arena(4);
  size.view.setInt32(0, VIRTIO_NET_HEADER_BYTES, true);
  checked(libc.ioctl(fd, TUNSETVNETHDRSZ, size.address(0)), {
    call: 'ioctl(TUNSETVNETHDRSZ)',
    doing: `opening the TUN device ${name}`,
  });
  return { name, readFds: [fd], writeFds: [fd], offloads: setOffloads(name, fd, wanted) };
}

/** The same device, which hands over what `wanted` says from now on. Throws a SysError, and nothing has changed then. */
export function switchTunOffloads(name: string, device: TunDevice, wanted: TunOffloads): TunDevice {
  return { ...device, offloads: setOffloads(name, device.readFds[0]!, wanted) };
}

/** Lets go of the device; it stays, without a carrier, until the next agent takes it. */
export function closeTunDevice({ readFds, writeFds }: TunDevice): void {
  for (const fd of new Set([...readFds, ...writeFds])) libc.close(fd);
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

/** The device's packets are no longer put into this queue, and it can still be written to. */
function detachQueue(name: string, fd: number): void {
  const request = new Arena(IFREQ.bytes);
  request.view.setUint16(IFREQ.flags, IFF_DETACH_QUEUE, true);
  checked(libc.ioctl(fd, TUNSETQUEUE, request.address(0)), {
    call: 'ioctl(TUNSETQUEUE)',
    doing: `detaching a queue of the TUN device ${name}`,
  });
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
