/** Groups of this host by name, for the sockets that a group may open. */
import { readFileSync } from 'node:fs';
import { WarrenError } from '../errors.ts';
import { runCommand } from './command.ts';

/** `name:password:gid:members` (group(5)). */
const GROUP_FILE = '/etc/group';

/**
 * The number of a group, which may be given as a number too. What is not in /etc/group is asked of the directories
 * that the host is set up with (`getent`). Throws GROUP_UNKNOWN.
 */
export async function groupId(name: string, groupFile = GROUP_FILE): Promise<number> {
  if (/^[0-9]{1,9}$/.test(name)) return Number(name);
  const id = idIn(readGroups(groupFile), name) ?? idIn(await askDirectories(name), name);
  if (id !== undefined) return id;
  throw new WarrenError('GROUP_UNKNOWN', `this host has no group ${name}`, {
    hint: `Make it with \`groupadd --system ${name}\`, or name another in the section api.`,
  });
}

function idIn(text: string, name: string): number | undefined {
  const fields = text
    .split('\n')
    .map((line) => line.split(':'))
    .find(([first]) => first === name);
  return fields !== undefined && /^[0-9]+$/.test(fields[2] ?? '') ? Number(fields[2]) : undefined;
}

function readGroups(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Empty where there is no such group, and where there is no `getent`. */
function askDirectories(name: string): Promise<string> {
  return runCommand(['getent', 'group', '--', name]).catch(() => '');
}
