/**
 * Named network namespaces, made as `ip netns add` makes them, so that `ip netns` knows them: a namespace lives as
 * long as something refers to it, and here that is a mount on a file under /run/netns. The folder is a mount point
 * of its own, and shared, so that the mounts below it are seen in containers and services that look there.
 */
import { closeSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { errorMessage, WarrenError } from '../../errors.ts';
import { SysError } from '../../sys/errors.ts';
import { bindMount, detachMount, lockFile, newNetworkNamespace, shareMounts } from '../../sys/namespaces.ts';
import { NAMESPACE_HINT } from '../command.ts';
import { isNetns, NETNS_FOLDER, namedNetnsPath } from '../netns.ts';
import type { ThreadNamespace } from './thread-namespace.ts';

/**
 * Makes the namespace `name`, replacing a dead file of that name. `onBegin` is called before anything of it exists.
 * Throws POD_NETNS_EXISTS, POD_NETNS_FORBIDDEN.
 */
export function addNamedNetns(name: string, thread: ThreadNamespace, onBegin: () => void): void {
  const path = checkedPath(name);
  if (isNetns(path)) {
    throw new WarrenError('POD_NETNS_EXISTS', `the network namespace ${path} exists already`, {
      hint: `If nothing uses it, remove it: ip netns delete ${name}`,
    });
  }
  try {
    makeFolder();
    rmSync(path, { force: true });
    onBegin();
    closeSync(openSync(path, 'wx', 0));
    try {
      newNetworkNamespace();
      try {
        bindMount('/proc/thread-self/ns/net', path);
      } finally {
        thread.return();
      }
    } catch (error) {
      rmSync(path, { force: true });
      throw error;
    }
  } catch (error) {
    if (!isForbidden(error)) throw error;
    throw new WarrenError(
      'POD_NETNS_FORBIDDEN',
      `cannot make the network namespace ${name}: ${errorMessage(error)}`,
      { hint: NAMESPACE_HINT, cause: error },
    );
  }
}

/** Removes the namespace `name`, or a dead file of that name; nothing happens if there is none. */
export function removeNamedNetns(name: string): void {
  const path = checkedPath(name);
  if (isNetns(path)) detachMount(path);
  rmSync(path, { force: true });
}

function checkedPath(name: string): string {
  if (!/^[^/\0]{1,255}$/.test(name) || name === '.' || name === '..') {
    throw new WarrenError('POD_NETNS_NAME_INVALID', `"${name}" cannot be the name of a network namespace`);
  }
  return namedNetnsPath(name);
}

/** Makes /run/netns a shared mount point if it is none. iproute2 takes the same lock. */
function makeFolder(): void {
  mkdirSync(NETNS_FOLDER, { recursive: true, mode: 0o755 });
  const folder = openSync(NETNS_FOLDER, 'r');
  try {
    lockFile(folder);
    try {
      shareMounts(NETNS_FOLDER);
    } catch (error) {
      if (!(error instanceof SysError) || error.code !== 'EINVAL') throw error;
      bindMount(NETNS_FOLDER, NETNS_FOLDER);
      shareMounts(NETNS_FOLDER);
    }
  } finally {
    closeSync(folder);
  }
}

function isForbidden(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === 'EPERM' || code === 'EACCES' || code === 'EROFS';
}
