/** Who answers the connections of a check, over the requests between nodes. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { RespondersReport } from '../../src/readmodel/check-reports.ts';
import { World, type WorldNode } from './world.ts';

let world: World;

beforeEach(() => {
  world = new World(1);
});
afterEach(async () => {
  await world.stop();
});

async function respond(node: WorldNode, seconds: number): Promise<RespondersReport> {
  let outcome: { report?: RespondersReport; error?: unknown } | undefined;
  node.commands.respond(seconds).then(
    (report) => (outcome = { report }),
    (error: unknown) => (outcome = { error }),
  );
  await world.until(() => outcome !== undefined, 60_000);
  if (outcome?.error !== undefined) throw outcome.error;
  return outcome!.report!;
}

/** Each node answers where it was told to. */
function answering(node: WorldNode, name: string): void {
  node.startResponder = async ({ listenOn, seconds }) => ({
    token: String(seconds).padStart(32, '0'),
    endpoints: listenOn.map(({ pod, address }) => ({ pod, address, port: name.length })),
  });
}

it('every node answers on its addresses and in its pods, this one first', async () => {
  const nodes = await world.cluster(3);
  for (const node of nodes) answering(node, node.name);
  const pod = await nodes[2]!.addPod('web');
  const { nodes: answers, unreachable } = await respond(nodes[1]!, 60);
  expect(unreachable).toEqual([]);
  expect(answers.map(({ node }) => node)).toEqual(['node-1', 'node-0', 'node-2']);
  const { token, endpoints } = answers[2]!;
  expect(token).toBe('60'.padStart(32, '0'));
  expect(endpoints.filter((endpoint) => endpoint.pod === 'web').map(({ address }) => address)).toEqual([
    ...pod.addresses,
  ]);
  expect(endpoints.filter((endpoint) => endpoint.pod === null)).toHaveLength(2);
});

it('one that cannot is said to be missing, and one that answers nonsense', async () => {
  const nodes = await world.cluster(3);
  for (const node of nodes) answering(node, node.name);
  nodes[1]!.startResponder = async () => {
    throw new Error('no such program');
  };
  nodes[2]!.startResponder = async () => ({ token: 'x', endpoints: [] });
  const { nodes: answers, unreachable } = await respond(nodes[0]!, 60);
  expect(answers.map(({ node }) => node)).toEqual(['node-0']);
  expect(unreachable.map(({ node }) => node).sort()).toEqual(['node-1', 'node-2']);
});

it('a node answers eight checks at a time, and others when those are over', async () => {
  const [node] = await world.cluster(1);
  for (let i = 0; i < 8; i++) await respond(node!, 60);
  await expect(respond(node!, 60)).rejects.toMatchObject({ code: 'CHECK_LIMIT' });
  await world.advance(61_000);
  await respond(node!, 60);
});
