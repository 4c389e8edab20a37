/** Making and removing named network namespaces with iproute2, for tools that are in no hurry. */
import { rmSync } from 'node:fs';
import { errorMessage, WarrenError } from '../errors.ts';
import { HostCommandError, NAMESPACE_HINT, runCommand } from './command.ts';
import { isNetns, namedNetnsPath } from './netns.ts';

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
