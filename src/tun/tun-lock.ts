/**
 * One agent per TUN device. The kernel lets a second one attach to a device with several queues: it would get a
 * share of the packets, and the two would take each other's addresses away for ever. So an agent first locks a file
 * (flock(2)), in a folder where only root can make one: nobody else can keep an agent from starting. The kernel gives the
 * lock back when the process has ended, however it did; a file that is left behind means nothing.
 *
 * Each network namespace has its own devices, so the namespace is part of the file's name. Agents in containers that
 * share a network namespace but not /run do not see each other's locks; they meet where they bind their ports.
 */
import { chmodSync, closeSync, constants, fstatSync, mkdirSync, openSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errorMessage, WarrenError } from '../errors.ts';
import { EAGAIN, EINTR, LOCK_EX, LOCK_NB } from '../sys/constants.ts';
import { SysError } from '../sys/errors.ts';
import * as libc from '../sys/libc.ts';

export interface TunLock {
  release(): void;
}

const FOLDER = '/run/warren';
/** Of the calling thread, which is the one that will open the device. */
const OWN_NETNS = '/proc/thread-self/ns/net';

/** Throws TUN_TAKEN if an agent of this network namespace has the device `name`, TUN_LOCK_FAILED if there is no telling. */
export function lockTun(name: string, folder = FOLDER): TunLock {
  const path = join(folder, lockName(name));
  const fd = openLocked(path, name, folder);
  return {
    release: () => {
      // While it is locked: whoever opened it meanwhile finds out that it is not the file of that name any more.
      rmSync(path, { force: true });
      closeSync(fd);
    },
  };
}

function lockName(name: string): string {
  const { dev, ino } = statSync(OWN_NETNS);
  return `tun-${dev}-${ino}-${encodeURIComponent(name)}.lock`;
}

function openLocked(path: string, name: string, folder: string): number {
  for (;;) {
    const fd = openFile(path, folder);
    try {
      const errno = tryLock(fd);
      if (errno === EAGAIN) {
        throw new WarrenError('TUN_TAKEN', `another agent holds the TUN device ${name}`, {
          hint: 'Stop it first, or give this one its own tun.name, node.socket and node.stateDir.',
        });
      }
      if (errno !== 0) throw new SysError('flock', errno, `locking the TUN device ${name}`);
      if (statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino) return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    // Its holder has removed it in between.
    closeSync(fd);
  }
}

function openFile(path: string, folder: string): number {
  try {
    // Whatever the mask: the control socket for a group is in the same folder.
    if (mkdirSync(folder, { recursive: true }) !== undefined) chmodSync(folder, 0o755);
    return openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    throw new WarrenError('TUN_LOCK_FAILED', `cannot make the lock file ${path}: ${errorMessage(error)}`, {
      hint: `Run as root, with a folder ${folder} that can be written to.`,
      cause: error,
    });
  }
}

/** 0, or errno. */
function tryLock(fd: number): number {
  for (;;) {
    if (libc.flock(fd, LOCK_EX | LOCK_NB) === 0) return 0;
    const errno = libc.errno();
    if (errno !== EINTR) return errno;
  }
}
