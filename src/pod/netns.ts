/** Network namespaces as files: whether one is there, which it is, making and removing named ones. */
import { readFileSync, rmSync, statfsSync, statSync } from 'node:fs';
import { errorMessage, WarrenError } from '../errors.ts';
import { HostCommandError, NAMESPACE_HINT, runCommand } from '../host/command.ts';

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
  const { dev, ino } = statSync(path);
  return `${bootId()}/${dev}:${ino}`;
}

/** Makes the namespace `name`, replacing a dead file of that name. Throws POD_NETNS_FORBIDDEN without the right. */
export async function addNamedNetns(name: string): Promise<void> {
  const path = namedNetnsPath(name);
  if (!isNetns(path)) rmSync(path, { force: true });
  try {
    await runCommand(['ip', 'netns', 'add', name]);
  } catch (error) {
    if (!isForbidden(error)) throw error;
    throw new WarrenError(
      'POD_NETNS_FORBIDDEN',
      `cannot make the network namespace ${name}: ${errorMessage(error)}`,
      { hint: NAMESPACE_HINT, cause: error },
    );
  }
}

/** Removes the namespace `name`; nothing happens if there is none. */
export async function removeNamedNetns(name: string): Promise<void> {
  const path = namedNetnsPath(name);
  if (isNetns(path)) await runCommand(['ip', 'netns', 'delete', name]);
  else rmSync(path, { force: true });
}

function isForbidden(error: unknown): boolean {
  return error instanceof HostCommandError && /Operation not permitted|Permission denied/.test(error.stderr);
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return 'unknown';
  }
}
