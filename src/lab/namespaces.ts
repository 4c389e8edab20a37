/** Network namespaces by name: which there are, and the processes in them. */
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { NETNS_FOLDER, namedNetnsPath } from '../host/netns.ts';
import { identifyProcess, type ProcessId } from './process.ts';

export function listNamespaces(): string[] {
  try {
    return readdirSync(NETNS_FOLDER);
  } catch {
    return [];
  }
}

/** Every process whose network namespace is one of `names`. */
export function processesInside(names: readonly string[]): ProcessId[] {
  const inodes = new Set(names.map(namespaceInode).filter((inode) => inode !== undefined));
  if (inodes.size === 0) return [];
  const found: ProcessId[] = [];
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    // First the identity, then the namespace: if the pid changes hands between, the identity is stale.
    const id = identifyProcess(pid);
    if (id !== undefined && inodes.has(processInode(pid) ?? '')) found.push(id);
  }
  return found;
}

function namespaceInode(name: string): string | undefined {
  try {
    return `net:[${statSync(namedNetnsPath(name)).ino}]`;
  } catch {
    return undefined;
  }
}

function processInode(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return undefined;
  }
}
