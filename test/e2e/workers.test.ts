/**
 * Several workers on each node reorder no flow. Numbered datagrams of many flows at once, in both directions, with
 * acknowledgments in each flow against it: what a node writes to its TUN makes the kernel think again about the queue
 * that it reads the same flow from, most of all when the flow is young. So there are long flows and many short ones.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Bulk, FlowReport } from '../helpers/probe.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { type WorkerNodes, workerNodes } from '../helpers/worker-nodes.ts';

const WORKERS = 2;
/** An exchange takes 3 s or so; others may have the processors meanwhile. */
const TIMEOUT_MS = 90_000;
/** All flows together have so few on the way that hardly any queue (a TUN's holds 500 packets) is ever full. */
const SINGLE: Bulk = {
  flows: 16,
  datagrams: 200,
  sizes: [1200, 200, 64, 1400],
  segments: 1,
  window: 24,
  patienceMs: 5000,
};
const SUPER: Bulk = { ...SINGLE, segments: 44, datagrams: 2000, window: 200 };

describeUnless(lacking('root', 'ip', 'nsenter', 'ping'), `between nodes of ${WORKERS} workers each`, () => {
  let nodes: WorkerNodes;

  beforeAll(async () => {
    nodes = await workerNodes('workers', WORKERS);
  });
  afterAll(() => nodes?.down());

  /** Both nodes send at the same time; what came of each flow. */
  async function exchange(family: 4 | 6, bulk: Bulk): Promise<FlowReport[]> {
    const reports = await Promise.all(
      [0, 1].map((from) => {
        const [source, target] = [nodes.pods[from]!.address(family), nodes.pods[1 - from]!.address(family)];
        return nodes.senders[from]!.udpBulk(source, nodes.receivers[1 - from]!, target, bulk, TIMEOUT_MS);
      }),
    );
    expect(reports.map(({ stray }) => stray)).toEqual([0, 0]);
    return reports.flatMap(({ flows }) => flows);
  }

  test('they have as many', async () => {
    for (const node of nodes.lab.nodes) {
      expect((await node.view()).status.datapath.workers).toBe(WORKERS);
    }
  });

  test.each([
    ['datagrams one by one, long flows', 4, 1, { ...SINGLE, datagrams: 5000 }],
    ['datagrams one by one, long flows', 6, 1, { ...SINGLE, datagrams: 5000 }],
    ['superpackets, long flows', 4, 1, { ...SUPER, datagrams: 10_000 }],
    ['superpackets, long flows', 6, 1, { ...SUPER, datagrams: 10_000 }],
    ['datagrams one by one, short flows', 4, 20, SINGLE],
    ['superpackets, short flows', 4, 10, SUPER],
  ] as const)('%s over IPv%i arrive in the order of their flow', async (_what, family, rounds, bulk) => {
    const flows: FlowReport[] = [];
    for (let round = 0; round < rounds; round++) flows.push(...(await exchange(family, bulk)));
    expect(flows).toHaveLength(rounds * 2 * bulk.flows);
    const sum = (of: keyof FlowReport) => flows.reduce((total, flow) => total + flow[of], 0);
    expect({
      disordered: sum('disordered'),
      repeated: sum('repeated'),
      wrong: sum('wrong'),
    }).toEqual({ disordered: 0, repeated: 0, wrong: 0 });
    // Where processors are busy elsewhere a queue may be full after all; what is lost is not out of order.
    expect(sum('received')).toBeGreaterThan(0.99 * flows.length * bulk.datagrams);
  });
});
