/** Sysdumps of several nodes, over the requests between them. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { SysdumpReport } from '../../src/readmodel/reports.ts';
import { World, type WorldNode } from './world.ts';

let world: World;

beforeEach(() => {
  world = new World(1);
});
afterEach(async () => {
  await world.stop();
});

async function dumpOfAll(node: WorldNode): Promise<SysdumpReport> {
  let report: SysdumpReport | undefined;
  void node.commands.sysdump({ all: true }).then((got) => {
    report = got;
  });
  await world.until(() => report !== undefined, 90_000);
  return report!;
}

it('one node collects those of all others', async () => {
  const nodes = await world.cluster(3);
  for (const node of nodes) node.recentLog = `the log of ${node.name}\n`;
  const { nodes: dumps, unreachable } = await dumpOfAll(nodes[1]!);
  expect(unreachable).toEqual([]);
  expect(dumps[0]!.node).toBe('node-1');
  expect(dumps.map(({ node }) => node).sort()).toEqual(['node-0', 'node-1', 'node-2']);
  for (const { node, files } of dumps) {
    const text = (name: string) => files.find((file) => file.name === name)!.text;
    expect(text('log.txt')).toBe(`the log of ${node}\n`);
    expect(JSON.parse(text('status.json')).node.name).toBe(node);
    expect(text('config.yaml')).toContain(`name: ${node}`);
  }
});

it('a node whose log holds a key hands nothing out, and the others do', async () => {
  const nodes = await world.cluster(3);
  nodes[2]!.recentLog = `key=${world.keys.keys[0]!.toString('hex')}\n`;
  const { nodes: dumps, unreachable } = await dumpOfAll(nodes[0]!);
  expect(dumps.map(({ node }) => node)).toEqual(['node-0', 'node-1']);
  expect(unreachable).toEqual([
    { node: 'node-2', reason: expect.stringContaining('log.txt would hold a secret key') },
  ]);
});

it('without a cluster key a node tells its log to nobody', async () => {
  const nodes = await world.cluster(2, { clearText: true });
  const { nodes: dumps, unreachable } = await dumpOfAll(nodes[0]!);
  expect(dumps.map(({ node }) => node)).toEqual(['node-0']);
  expect(unreachable[0]?.reason).toContain('this cluster has no key');
});
