/** How long things take is counted where they happen, in virtual time. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { HistogramReport } from '../../src/histogram.ts';
import { World } from './world.ts';

let world: World;

beforeEach(() => {
  world = new World(1);
});
afterEach(async () => {
  await world.stop();
});

function total(report: HistogramReport | undefined): number {
  return (report?.counts ?? []).reduce((sum, count) => sum + count, 0);
}

it('probes, attaching, and of a sealed tunnel handshakes', async () => {
  const [a, b] = await world.cluster(2, { encapsulation: 'wireguard' });
  const [web, db] = [await a!.addPod('web'), await b!.addPod('db')];
  web.send(db.addresses[0]!);
  await world.advance(5000);
  expect(db.received.length).toBe(1);
  const { probe, handshake, attach } = a!.model.status().durations;
  expect(total(attach)).toBe(1);
  expect(total(handshake)).toBe(1);
  // There and back.
  expect(handshake!.sum).toBeGreaterThan(0.0005);
  expect(handshake!.sum).toBeLessThan(1);
  expect(total(probe)).toBeGreaterThan(2);
  expect(probe!.sum / total(probe)).toBeLessThan(0.5);
});

it('of a tunnel in clear text there are none', async () => {
  const [a] = await world.cluster(1);
  expect(a!.model.status().durations.handshake).toBeUndefined();
});
