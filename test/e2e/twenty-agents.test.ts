/** Twenty real agents on one machine: they join, lose five at once, and heal from a partition. */
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode, NodeView } from '../../src/lab/node.ts';
import type { InventoryReport } from '../../src/readmodel/reports.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const NAME = 'labtwenty';
const AGENTS = 20;

describeUnless(lacking('root', 'ip', 'nsenter'), 'twenty agents', () => {
  let lab: Lab;
  let upMs = 0;

  beforeAll(async () => {
    const startMs = performance.now();
    lab = await Lab.up({ name: NAME, nodes: AGENTS, pods: 0, readyTimeoutMs: 120_000 });
    upMs = performance.now() - startMs;
  });
  afterAll(() => Lab.remove(NAME));

  /** All of `nodes` see so many alive, and all others dead. */
  async function all(nodes: readonly LabNode[], what: string, alive: number, timeoutMs: number) {
    const startMs = performance.now();
    const isSo = ({ status }: NodeView) => {
      const { members } = status.cluster;
      return members.alive === alive && members.dead === AGENTS - alive;
    };
    const views = await Promise.all(nodes.map((node) => node.waitFor(what, isSo, { timeoutMs })));
    return { tookMs: Math.round(performance.now() - startMs), views };
  }

  test('join, and each has a subnet of its own', async () => {
    const { views } = await all(lab.nodes, 'all are alive', AGENTS, 30_000);
    const subnets = views.flatMap(({ status }) => status.lease.subnets);
    expect(new Set(subnets).size).toBe(2 * AGENTS);
    for (const { status } of views) expect(status.cluster.problems).toEqual([]);
    console.log(`${AGENTS} agents: started, joined and leased in ${Math.round(upMs)} ms`);
  });

  test('all know what one of them attaches, and that it is gone', async () => {
    const [first] = lab.nodes as [LabNode];
    const labels = { app: 'shop' };

    /** Does `act` with a stream of every node open, and waits until each has told of just `expected`. */
    async function allSee(
      act: () => Promise<unknown>,
      expected: readonly InventoryReport[],
    ): Promise<number> {
      const streams = lab.nodes.map((node) =>
        node.client().watch<InventoryReport[]>('inventory', {
          intervalSeconds: 60,
          signal: AbortSignal.timeout(20_000),
        }),
      );
      await Promise.all(streams.map((stream) => stream.next()));
      await act();
      const startMs = performance.now();
      await Promise.all(streams.map((stream) => until(stream, expected)));
      return Math.round(performance.now() - startMs);
    }
    async function until(stream: AsyncIterable<InventoryReport[]>, expected: readonly InventoryReport[]) {
      let last: InventoryReport[] | undefined;
      for await (last of stream) if (isDeepStrictEqual(last, expected)) return;
      expect(last).toEqual(expected);
    }

    let web: InventoryReport[] = [];
    const attach = async () => {
      const { name, addresses } = await first.client().addPod('web', { labels });
      web.push({ node: first.name, status: 'alive', name, addresses, labels });
    };
    const knownMs = await allSee(attach, web);
    web = [];
    const goneMs = await allSee(() => first.client().removePod('web'), web);
    console.log(`a pod: all know of it ${knownMs} ms after it was there, and ${goneMs} ms after it was gone`);
  });

  test('find out that five were killed at once, and take them back', async () => {
    const killed = lab.nodes.slice(15);
    const rest = lab.nodes.slice(0, 15);
    await Promise.all(killed.map((node) => node.kill('SIGKILL')));
    const lost = await all(rest, 'five are dead', 15, 30_000);
    for (const node of killed) node.start();
    const back = await all(lab.nodes, 'all are alive again', AGENTS, 60_000);
    console.log(
      `five killed: all know after ${lost.tookMs} ms; back and known to all after ${back.tookMs} ms`,
    );
  });

  test('heal from a partition', async () => {
    const away = lab.nodes.slice(14);
    await Promise.all(away.map((node) => node.setConnected(false)));
    await all(lab.nodes.slice(0, 14), 'six are gone', 14, 60_000);
    await Promise.all(away.map((node) => node.setConnected(true)));
    const healed = await all(lab.nodes, 'all are alive again', AGENTS, 60_000);
    const subnets = healed.views.flatMap(({ status }) => status.lease.subnets);
    expect(new Set(subnets).size).toBe(2 * AGENTS);
    console.log(`six cut off from everyone and joined again: healed after ${healed.tookMs} ms`);
  });
});
