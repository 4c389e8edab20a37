/**
 * How many datagrams a socket did not take: the count that SO_RXQ_OVFL would send along with each datagram, asked for
 * when somebody wants to know it. So it costs the packet path nothing, and is not late by a datagram.
 */
import { Arena } from '../sys/arena.ts';
import { SK_MEMINFO_DROPS, SK_MEMINFO_VARS, SO_MEMINFO, SOL_SOCKET } from '../sys/constants.ts';
import * as libc from '../sys/libc.ts';

const MEMINFO_BYTES = 4 * SK_MEMINFO_VARS;
const LENGTH = MEMINFO_BYTES;

/** Since it was opened, modulo 2^32. Undefined before Linux 4.12. */
export function socketDrops(fd: number): number | undefined {
  const scratch = new Arena(MEMINFO_BYTES + 4);
  scratch.view.setInt32(LENGTH, MEMINFO_BYTES, true);
  const result = libc.getsockopt(fd, SOL_SOCKET, SO_MEMINFO, scratch.address(0), scratch.address(LENGTH));
  return result === 0 ? scratch.view.getUint32(4 * SK_MEMINFO_DROPS, true) : undefined;
}
