/**
 * Four workers on each node, 64 flows, in bulk: no segment overtakes another one of its flow. The underlay here keeps the
 * order, so whoever changes it is the packet path. Queues may overflow meanwhile, and what is lost is no disorder: so
 * TCP is asked for what its senders found out (a segment that was never sent again and yet arrived after a later one),
 * and UDP counts datagrams by their number. In all 1.5 GB, times WARREN_TEST_SCALE.
 */
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mustRun, stackCounters } from '../helpers/in-namespace.ts';
import type { Bulk, FlowReport } from '../helpers/probe.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { testScale } from '../helpers/scale.ts';
import { type WorkerNodes, workerNodes } from '../helpers/worker-nodes.ts';

const FAMILIES = [4, 6] as const;
const WORKERS = 4;
/** Of both directions together. */
const FLOWS = 64;
const SCALE = testScale();
const TIMEOUT_MS = 60_000 * SCALE;
/** Of each family and direction; iperf3's ports tell the directions apart. */
const STREAM_BYTES = 250_000_000 * SCALE;
const PORTS = [5301, 5302] as const;
/**
 * What a sender counts when it learns that a segment was late and not lost. TCPTSReorder is not among them: it counts
 * as well where an acknowledgment alone was slow, and a segment was sent again for nothing.
 */
const LATE = ['TcpExtTCPSACKReorder', 'TcpExtTCPRenoReorder'] as const;
/** Of each family and direction 125 MB. Few enough are on the way that hardly any queue is ever full. */
const DATAGRAMS: Bulk = {
  flows: FLOWS / 2,
  datagrams: 4000 * SCALE,
  sizes: [1416, 601, 1400, 64, 1416],
  segments: 44,
  window: 132,
  patienceMs: 3000,
};

describeUnless(
  lacking('root', 'ip', 'nsenter', 'ping', 'nstat', 'iperf3'),
  `${FLOWS} flows between nodes of ${WORKERS} workers each`,
  () => {
    let nodes: WorkerNodes;

    beforeAll(async () => {
      nodes = await workerNodes('reordering', WORKERS);
    });
    afterAll(() => nodes?.down());

    describe.each(FAMILIES)('over IPv%i', (family) => {
      test(
        'no segment is late in its stream',
        async () => {
          const before = await counters();
          await Promise.all([0, 1].map((from) => sendStreams(from as 0 | 1, family)));
          const after = await counters();
          const late = (end: number, name: string) => after[end]![name]! - before[end]![name]!;
          expect(LATE.map((name) => late(0, name) + late(1, name))).toEqual(LATE.map(() => 0));
        },
        TIMEOUT_MS,
      );

      test(
        'no datagram is late in its flow',
        async () => {
          const reports = await Promise.all([0, 1].map((from) => sendDatagrams(from, family)));
          const flows = reports.flat();
          expect(flows).toHaveLength(FLOWS);
          const sum = (of: keyof FlowReport) => flows.reduce((total, flow) => total + flow[of], 0);
          const found = { disordered: sum('disordered'), repeated: sum('repeated'), wrong: sum('wrong') };
          expect(found).toEqual({ disordered: 0, repeated: 0, wrong: 0 });
          expect(sum('received')).toBeGreaterThan(0.9 * FLOWS * DATAGRAMS.datagrams);
        },
        TIMEOUT_MS,
      );
    });

    /** Half of the flows, from one node's pod to the other's. */
    async function sendStreams(from: 0 | 1, family: 4 | 6): Promise<void> {
      const [to, port] = [nodes.pods[1 - from]!, String(PORTS[from])];
      const address = to.address(family);
      const server = to.spawn(['iperf3', '-s', '-1', '-B', address, '-p', port, '--forceflush'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(server.stdout!, 'data');
      server.stdout!.resume();
      const flows = String(FLOWS / 2);
      const size = ['-n', String(STREAM_BYTES), '-P', flows, '-i', '0'];
      const options = { timeoutMs: TIMEOUT_MS };
      await mustRun(nodes.pods[from]!, ['iperf3', '-c', address, '-p', port, ...size], options);
    }

    async function sendDatagrams(from: number, family: 4 | 6): Promise<readonly FlowReport[]> {
      const [source, target] = [nodes.pods[from]!.address(family), nodes.pods[1 - from]!.address(family)];
      const receiver = nodes.receivers[1 - from]!;
      const report = await nodes.senders[from]!.udpBulk(source, receiver, target, DATAGRAMS, TIMEOUT_MS);
      expect(report.stray).toBe(0);
      return report.flows;
    }

    function counters(): Promise<Record<string, number>[]> {
      return Promise.all(nodes.pods.map((pod) => stackCounters(pod, ...LATE)));
    }
  },
);
