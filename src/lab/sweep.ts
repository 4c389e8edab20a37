/**
 * Removing everything that a lab is or was: agents, whatever else runs in its namespaces, the namespaces
 * (and with them every device in them), its folder. Works from the record and from the names alone, so it
 * also cleans up after a run that was killed at any point. Doing it twice is fine.
 */
import { existsSync, rmSync } from 'node:fs';
import { removeNamedNetns } from '../host/named-netns.ts';
import { removeNetnsResolv } from '../host/netns-resolv.ts';
import { isExtraNamespace, isPodNamespace, labFolder, nodeOfNamespace } from './names.ts';
import { listNamespaces, processesInside } from './namespaces.ts';
import { endProcesses } from './process.ts';
import { type LabRecord, readRecord } from './record.ts';

/** A process that is being ended may start another: look again, but not for ever. */
const MAX_KILL_ROUNDS = 5;

/** The record, or undefined if there is none that can be read: a sweep must not stop at a damaged file. */
export function readRecordIfSound(lab: string): LabRecord | undefined {
  try {
    return readRecord(lab);
  } catch {
    return undefined;
  }
}

/** Whether a lab of this name has left anything. */
export function hasLeftOvers(lab: string): boolean {
  return existsSync(labFolder(lab)) || ownNamespaces(lab, readRecordIfSound(lab)).length > 0;
}

/** Removes it all. Agents get SIGTERM and `graceMs` to end by themselves; 0: SIGKILL at once. */
export async function sweep(lab: string, graceMs: number): Promise<void> {
  const record = readRecordIfSound(lab);
  const agents = record?.nodes.flatMap((node) => (node.agent === null ? [] : [node.agent])) ?? [];
  await endProcesses(agents, graceMs);
  for (let round = 0; round < MAX_KILL_ROUNDS; round++) {
    const others = processesInside(ownNamespaces(lab, record));
    if (others.length === 0) break;
    await endProcesses(others, 0);
  }
  for (const namespace of ownNamespaces(lab, record)) {
    await removeNamedNetns(namespace);
    await removeNetnsResolv(namespace);
  }
  rmSync(labFolder(lab), { recursive: true, force: true });
}

/** The lab's namespaces that exist: bridge, hosts, nodes, and the pods of every node it is known to have. */
function ownNamespaces(lab: string, record: LabRecord | undefined): string[] {
  const all = listNamespaces();
  const nodes = new Set(record?.nodes.map((node) => node.name));
  for (const namespace of all) {
    const node = nodeOfNamespace(lab, namespace);
    if (node !== undefined) nodes.add(node);
  }
  return all.filter(
    (namespace) =>
      isExtraNamespace(lab, namespace) ||
      nodeOfNamespace(lab, namespace) !== undefined ||
      [...nodes].some((node) => isPodNamespace(node, namespace)),
  );
}
