/** Unix datagrams, which Node's own sockets do not have: one message to a socket that somebody else has bound. */
import { Arena } from './arena.ts';
import { checked } from './calls.ts';
import { AF_UNIX, ENAMETOOLONG, MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_DGRAM } from './constants.ts';
import { SysError } from './errors.ts';
import * as libc from './libc.ts';
import { SOCKADDR_UN } from './structs.ts';

export interface UnixAddress {
  readonly arena: Arena;
  readonly bytes: number;
}

/** `@name` is an abstract address, anything else a path (unix(7)). Throws a SysError: ENAMETOOLONG. */
export function unixAddress(name: string): UnixAddress {
  const isAbstract = name.startsWith('@');
  // An abstract name begins with a zero byte and ends where the length says; a path ends with one.
  const path = Buffer.from(isAbstract ? `\0${name.slice(1)}` : `${name}\0`);
  if (SOCKADDR_UN.path + path.length > SOCKADDR_UN.bytes) {
    throw new SysError('connect', ENAMETOOLONG, `naming the unix socket ${name}`);
  }
  const arena = new Arena(SOCKADDR_UN.bytes);
  arena.view.setUint16(SOCKADDR_UN.family, AF_UNIX, true);
  arena.bytes.set(path, SOCKADDR_UN.path);
  return { arena, bytes: SOCKADDR_UN.path + path.length };
}

/** Sends `text` to the datagram socket `name` without waiting for room there. Throws a SysError. */
export function sendUnixDatagram(name: string, text: string): void {
  const doing = `sending to the unix socket ${name}`;
  const address = unixAddress(name);
  const message = Buffer.from(text);
  const content = new Arena(message.length);
  content.bytes.set(message);
  const fd = checked(libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), { call: 'socket', doing });
  try {
    checked(libc.connect(fd, address.arena.address(0), address.bytes), { call: 'connect', doing });
    checked(libc.send(fd, content.address(0), message.length, MSG_DONTWAIT | MSG_NOSIGNAL), {
      call: 'send',
      doing,
    });
  } finally {
    libc.close(fd);
  }
}
