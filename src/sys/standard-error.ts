/**
 * Standard error that never makes its writer wait, whoever reads it. Setting O_NONBLOCK on descriptor 2 would set it for
 * every process that has it too, so:
 *
 *     pipe, terminal     opened once more by way of /proc, with a file description of its own that does not block
 *     socket (journald)  MSG_DONTWAIT with each send
 *     file               as it is: what a disk takes is not waited for by a reader
 */
import { fstatSync } from 'node:fs';
import { Arena } from './arena.ts';
import {
  EAGAIN,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  O_CLOEXEC,
  O_NOCTTY,
  O_NONBLOCK,
  O_WRONLY,
  POLLOUT,
} from './constants.ts';
import * as libc from './libc.ts';
import { POLLFD } from './structs.ts';

/** Of one write: as much as a pipe takes at once without cutting a line in two (PIPE_BUF). */
const WRITE_BYTES = 4096;

export interface NonblockingOutput {
  /** Writes up to 4,096 bytes of `bytes` from `offset` on: how many were taken, or -errno. Never waits. */
  write(bytes: Uint8Array, offset: number): number;
  /** Waits until there may be room again, `limitMs` at most. */
  waitForRoom(limitMs: number): void;
}

export function openStandardError(fd = 2): NonblockingOutput {
  const scratch = new Arena(WRITE_BYTES + POLLFD.bytes);
  const stat = fstatSync(fd);
  const isSocket = stat.isSocket();
  const own = stat.isFIFO() || stat.isCharacterDevice() ? reopened(fd) : fd;
  // A descriptor that others have too, and that could not be had anew: ask before each write.
  const mayBlock = own === fd && !isSocket && !stat.isFile();
  /** False if there is no room after `limitMs`. A reader that has gone counts as room: the write tells. */
  const hasRoom = (limitMs: number): boolean => {
    scratch.view.setInt32(WRITE_BYTES + POLLFD.fd, own, true);
    scratch.view.setInt16(WRITE_BYTES + POLLFD.events, POLLOUT, true);
    return libc.poll(scratch.address(WRITE_BYTES), 1, Math.ceil(limitMs)) !== 0;
  };
  return {
    write(bytes, offset) {
      if (mayBlock && !hasRoom(0)) return -EAGAIN;
      const part = bytes.subarray(offset, offset + WRITE_BYTES);
      scratch.bytes.set(part);
      const address = scratch.address(0);
      const written = isSocket
        ? libc.send(own, address, part.length, MSG_DONTWAIT | MSG_NOSIGNAL)
        : libc.write(own, address, part.length);
      return written < 0 ? -libc.errno() : written;
    },
    waitForRoom(limitMs) {
      hasRoom(limitMs);
    },
  };
}

/** Where that is not possible, such as without /proc, the descriptor as it is. */
function reopened(fd: number): number {
  const own = libc.open(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  return own < 0 ? fd : own;
}
