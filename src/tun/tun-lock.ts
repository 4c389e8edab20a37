/**
 * One agent per TUN device. The kernel lets a second one attach to a device with several queues: it would get a
 * share of the packets, and the two would take each other's addresses away for ever. So an agent first binds a name
 * that there can be once in a network namespace, an abstract unix socket (unix(7)). No file is left behind: the
 * name is free again when the process has ended, however it did.
 */
import { WarrenError } from '../errors.ts';
import { Arena } from '../sys/arena.ts';
import { checked } from '../sys/calls.ts';
import { AF_UNIX, EADDRINUSE, SOCK_CLOEXEC, SOCK_STREAM } from '../sys/constants.ts';
import { SysError } from '../sys/errors.ts';
import * as libc from '../sys/libc.ts';
import { SOCKADDR_UN } from '../sys/structs.ts';

export interface TunLock {
  release(): void;
}

/** Throws TUN_TAKEN if an agent of this network namespace has the device `name`. */
export function lockTun(name: string): TunLock {
  const doing = `locking the TUN device ${name}`;
  const fd = checked(libc.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), { call: 'socket', doing });
  // An abstract name begins with a zero byte, and ends where the length says.
  const path = Buffer.from(`\0warren/tun/${name}`);
  const address = new Arena(SOCKADDR_UN.path + path.length);
  address.view.setUint16(SOCKADDR_UN.family, AF_UNIX, true);
  address.bytes.set(path, SOCKADDR_UN.path);
  if (libc.bind(fd, address.address(0), address.bytes.length) === 0) return { release: () => libc.close(fd) };
  const errno = libc.errno();
  libc.close(fd);
  if (errno !== EADDRINUSE) throw new SysError('bind', errno, doing);
  throw new WarrenError('TUN_TAKEN', `another agent holds the TUN device ${name}`, {
    hint: 'Stop it first, or give this one its own tun.name, node.socket and node.stateDir.',
  });
}
