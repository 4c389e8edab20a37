/** UDP is blocked where TCP is not: nodes stay alive, and the log says so once. */
import pino from 'pino';
import { describe, expect, it } from 'vitest';
import { SimulatedCluster } from '../../src/simulate/cluster.ts';
import type { VirtualHost } from '../../src/simulate/virtual-network.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

async function setUp(count: number) {
  const lines: string[] = [];
  const logger = pino({ level: 'debug' }, { write: (line) => lines.push(JSON.parse(line).msg as string) });
  const cluster = new SimulatedCluster({ seed: 1, logger });
  await cluster.startAll(count);
  await cluster.clock.run(MINUTE_MS);
  expect(cluster.agreesOnAlive(cluster.nodes)).toBe(true);
  lines.length = 0;
  const linesWith = (text: string) => lines.filter((line) => line.includes(text)).length;
  const block = (isBlocked: (from: VirtualHost, to: VirtualHost) => boolean) => {
    cluster.network.reaches = (from, to, via) => via === 'stream' || !isBlocked(from, to);
  };
  return { cluster, lines, linesWith, block };
}

describe('blocked UDP', () => {
  it.each([
    ['between two nodes alone', 2, 2],
    ['of one node in five, both ways', 5, 8],
  ])('%s: one line for each pair when it begins and one when it ends', async (_, count, pairs) => {
    const { cluster, lines, linesWith, block } = await setUp(count);
    const victim = cluster.nodes[1]!.host;
    block((from, to) => from === victim || to === victim);
    await cluster.clock.run(HOUR_MS);
    expect(cluster.agreesOnAlive(cluster.nodes)).toBe(true);
    expect(linesWith('TCP and not over UDP')).toBe(pairs);
    expect(lines.length).toBeLessThan(pairs + 10);
    const probes = cluster.nodes.reduce(
      (sum, { membership }) => sum + membership.counters().probesOnlyTcp!,
      0,
    );
    expect(probes).toBeGreaterThan(1000);
    lines.length = 0;
    cluster.network.heal();
    await cluster.clock.run(5 * MINUTE_MS);
    expect(linesWith('over UDP again')).toBe(pairs);
    expect(lines.length).toBeLessThan(pairs + 10);
  });

  it('between some of the pairs, where others help: few lines, and nobody is dead', async () => {
    const { cluster, lines, block } = await setUp(6);
    const [a, b, c, d] = cluster.nodes.map(({ host }) => host);
    const pairs = [new Set([a, b]), new Set([c, d]), new Set([a, d])];
    block((from, to) => pairs.some((pair) => pair.has(from) && pair.has(to)));
    await cluster.clock.run(HOUR_MS);
    expect(cluster.agreesOnAlive(cluster.nodes)).toBe(true);
    expect(lines.length).toBeLessThan(30);
  });

  it('one way from one node to all: few lines, and nobody is dead', async () => {
    const { cluster, lines, block } = await setUp(5);
    const victim = cluster.nodes[1]!.host;
    block((from) => from === victim);
    await cluster.clock.run(HOUR_MS);
    expect(cluster.agreesOnAlive(cluster.nodes)).toBe(true);
    expect(lines.length).toBeLessThan(30);
  });

  it('that comes and goes within seconds is one episode', async () => {
    const { cluster, linesWith, block } = await setUp(2);
    block(() => Math.floor(cluster.clock.now() / 5000) % 2 === 0);
    await cluster.clock.run(HOUR_MS);
    expect(linesWith('TCP and not over UDP')).toBe(2);
    expect(linesWith('over UDP again')).toBe(0);
  });
});
