/** A packet path thread that does not answer, as the users of an agent notice it. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { healthOf } from '../../src/readmodel/health.ts';
import { World, type WorldNode } from './world.ts';

let world: World;
let a: WorldNode;
let b: WorldNode;

beforeEach(async () => {
  world = new World(1);
  [a, b] = (await world.cluster(2)) as [WorldNode, WorldNode];
  await world.advance(5000);
  expect(healthOf(a.model.status())).toEqual({ live: [], ready: [] });
  a.host.thread!.stick();
});
afterEach(async () => {
  await world.stop();
});

const REASON = '1 of 1 packet path threads does not answer';

it('is a problem for as long as it lasts, which those hear of who follow the status', async () => {
  let heard = 0;
  a.model.subscribe(['status'], () => heard++);
  await world.advance(8000);
  expect(a.model.status().cluster.problems).toContain(REASON);
  expect(healthOf(a.model.status()).live).toEqual([REASON]);
  expect(healthOf(a.model.status()).ready).toHaveLength(1);
  expect(heard).toBe(1);
  // Control goes on: the node is alive for the others, and hears of them.
  const c = world.add();
  await c.start();
  await world.advance(7000);
  expect(a.model.status().cluster.members.alive).toBe(3);
  expect(a.model.status().cluster.problems.join()).toContain('cannot take over the peers');

  a.host.thread!.free();
  await world.advance(12_000);
  expect(a.model.status().cluster.problems).toEqual([]);
  expect(healthOf(a.model.status())).toEqual({ live: [], ready: [] });
  const [web, db] = [await a.addPod('web'), await c.addPod('db')];
  web.send(db.addresses[0]!);
  await world.advance(5);
  expect(db.received).toHaveLength(1);
  expect(a.errors).toEqual([]);
});

it('ends the agent after half a minute, and another one goes on', async () => {
  await world.advance(40_000);
  expect(a.errors).toMatchObject([{ code: 'WORKER_STUCK' }]);
  await a.stop();
  await a.start();
  await world.settle();
  const [web, db] = [await a.addPod('web'), await b.addPod('db')];
  web.send(db.addresses[0]!);
  await world.advance(5);
  expect(db.received).toHaveLength(1);
});

it('does not hold up the end of the agent', async () => {
  // Something waits for the thread already.
  const c = world.add();
  await c.start();
  await world.until(() => a.model.status().cluster.members.alive === 3, 10_000);
  const startedMs = world.clock.now();
  await a.stop();
  expect(world.clock.now() - startedMs).toBeLessThan(10_000);
  expect(a.errors).toMatchObject([{ code: 'WORKER_STUCK' }]);
});
