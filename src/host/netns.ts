/** Network namespaces as files: whether one is there, and which it is. */
import { readFileSync, statfsSync, statSync } from 'node:fs';

/** Where iproute2 keeps named namespaces (`ip-netns(8)`). */
export const NETNS_FOLDER = '/run/netns';
/** NSFS_MAGIC of linux/magic.h. */
const NSFS_MAGIC = 0x6e736673;

export function namedNetnsPath(name: string): string {
  return `${NETNS_FOLDER}/${name}`;
}

/** True if `path` is a namespace; a file that a reboot left behind in /run/netns is none. */
export function isNetns(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC;
  } catch {
    return false;
  }
}

/**
 * Which namespace `path` is: the same text means the same namespace, until it is gone. With the boot's id,
 * as the kernel numbers namespaces anew at each boot. Undefined if it is none.
 */
export function netnsIdentity(path: string): string | undefined {
  if (!isNetns(path)) return undefined;
  try {
    const { dev, ino } = statSync(path);
    return `${bootId()}/${dev}:${ino}`;
  } catch {
    // Gone between the two looks.
    return undefined;
  }
}

/** Read once: it is asked for with each namespace of each attachment. */
let knownBootId: string | undefined;

function bootId(): string {
  knownBootId ??= readBootId();
  return knownBootId;
}

function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return 'unknown';
  }
}
