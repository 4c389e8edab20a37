/** `warren agent --cleanup` on a node whose agent has stopped; fails with what it said. */
import type { LabNode } from '../../src/lab/node.ts';
import { WARREN_PROGRAM } from '../../src/lab/program.ts';
import { mustRun } from './in-namespace.ts';

export async function cleanUp(node: LabNode): Promise<void> {
  await mustRun(node, [process.execPath, WARREN_PROGRAM, 'agent', '-c', node.configFile, '--cleanup']);
}
