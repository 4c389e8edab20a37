/**
 * What a lab leaves on the machine, written down before it is made: `lab.json` in the lab's folder. From it
 * another command finds the lab again, and the next `up` cleans up after one that was killed.
 */
import { join } from 'node:path';
import { readStateFile, writeStateFile } from '../state/state-file.ts';
import { z } from '../zod.ts';
import { labFolder } from './names.ts';
import { isRunning } from './process.ts';

const processSchema = z.object({ pid: z.number().int().positive(), startTime: z.string() });

const recordSchema = z.object({
  name: z.string(),
  underlay: z.enum(['ipv4', 'ipv6']),
  ipv6Only: z.boolean().default(false),
  /** The command or test that the lab lives and dies with; null once `lab up` has left it standing. */
  owner: processSchema.nullable(),
  nodes: z.array(
    z.object({
      name: z.string(),
      pods: z.array(z.string()),
      /** The agent; null when it was stopped. */
      agent: processSchema.nullable(),
    }),
  ),
  hosts: z.array(z.string()),
});

export type LabRecord = z.infer<typeof recordSchema>;

/** The record of the lab called `name`; undefined if there is none. Throws as `readStateFile` does. */
export function readRecord(name: string): LabRecord | undefined {
  return readStateFile(recordFile(name), recordSchema, `the lab ${name}`);
}

export function writeRecord(record: LabRecord): void {
  writeStateFile(recordFile(record.name), record);
}

/** Whether the lab is somebody else's: its owner lives, or it was left standing and an agent still runs. */
export function isInUse(record: LabRecord): boolean {
  if (record.owner !== null) return record.owner.pid !== process.pid && isRunning(record.owner);
  return record.nodes.some((node) => node.agent !== null && isRunning(node.agent));
}

function recordFile(name: string): string {
  return join(labFolder(name), 'lab.json');
}
