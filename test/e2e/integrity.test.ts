/**
 * What goes in comes out: streams by their SHA-256, datagrams byte by byte, with offloads, without, and with loss.
 * In bulk 2 GB, times WARREN_TEST_SCALE.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { sentPackets } from '../helpers/in-namespace.ts';
import { loseUdp } from '../helpers/packet-filter.ts';
import { type Bulk, type BulkReport, Probe } from '../helpers/probe.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { testScale } from '../helpers/scale.ts';

const VXLAN_GPE_PORT = 4790;
const FAMILIES = [4, 6] as const;

/** Nodes of the lab after the first two, and what their configuration turns off. */
const SWITCHES = ['tso', 'uso', 'udpSegment', 'udpGro', 'coalesceTcp', 'coalesceUdp', 'checksum'] as const;
const VARIANTS: readonly ('all' | (typeof SWITCHES)[number])[] = ['all', ...SWITCHES];
const FIRST_VARIANT = 2;
const WITHOUT_OFFLOADS = FIRST_VARIANT;
const TWO_WORKERS = FIRST_VARIANT + VARIANTS.length;

/** Every size up to a full datagram, then such as the pod has to fragment, up to the longest there is. */
const UDP_SIZES = [...Array.from({ length: 1450 }, (_, i) => i + 1), 1473, 2000, 4001, 9000, 30_000, 65_507];
const FEW_UDP_SIZES = [1, 2, 17, 100, 577, 1200, 1399, 1400, 1436, 1437, 3000, 20_001];

/** Of each family: streams one way and the other, datagrams without loss, datagrams with loss. */
const SCALE = testScale();
const BULK_STREAM_BYTES = 300_000_000 * SCALE;
const BULK_DATAGRAMS = 125_000 * SCALE;
const LOSSY_DATAGRAMS = 70_000 * SCALE;
/** 1003 bytes on average: full ones, full but for a byte, odd, small. */
const BULK_SIZES = [1416, 1415, 1416, 601, 1001, 1400, 13, 1416, 350];
/** Some seconds where nothing else runs. */
const BULK_TIMEOUT_MS = 180_000 * SCALE;
/**
 * Two flows, and in all fewer datagrams on the way than any queue on it holds: a packet that no one loses on purpose
 * must arrive.
 */
const BULK: Bulk = {
  flows: 2,
  datagrams: BULK_DATAGRAMS,
  sizes: BULK_SIZES,
  segments: 44,
  window: 400,
  patienceMs: 5000,
};

describeUnless(lacking('root', 'ip', 'nsenter', 'nft'), 'data between pods of two nodes', () => {
  let lab: Lab;
  /** By node. */
  let pods: LabPod[];
  let probes: Probe[];

  beforeAll(async () => {
    lab = await Lab.up({
      encapsulation: 'vxlan-gpe',
      name: 'integrity',
      nodes: TWO_WORKERS + 1,
      pods: 1,
      config: (node, nodes) => {
        if (node === nodes[TWO_WORKERS]) return { datapath: { workers: 2 } };
        const variant = VARIANTS[nodes.indexOf(node) - FIRST_VARIANT];
        if (variant === undefined) return {};
        return { datapath: { offload: variant === 'all' ? 'off' : { [variant]: false } } };
      },
    });
    pods = await Promise.all(lab.nodes.map(({ name }) => lab.pod(name, 'pod-1')));
    probes = pods.map((pod) => new Probe(pod));
  });
  afterAll(async () => {
    for (const probe of probes ?? []) probe.stop();
    await lab?.down();
  });

  /** `streams` at the same time, each `[from, to]` by node; all must arrive as they were sent. */
  async function expectStreams(
    streams: readonly (readonly [number, number])[],
    family: 4 | 6,
    bytes: number,
    timeoutMs = 60_000,
  ): Promise<void> {
    const transfers = await Promise.all(
      streams.map(async ([from, to], i) => {
        const listener = await probes[to]!.receiver(pods[to]!.address(family));
        return probes[from]!.transfer(listener, bytes, `${family} ${from} ${to} ${i}`, timeoutMs);
      }),
    );
    for (const [i, { sha256, receipt }] of transfers.entries()) {
      expect(receipt).toEqual({ bytes, sha256, from: pods[streams[i]![0]]!.address(family) });
    }
  }

  async function expectDatagrams(
    from: number,
    to: number,
    family: 4 | 6,
    sizes: readonly number[],
    window: number,
  ): Promise<void> {
    const echo = await probes[to]!.udpEcho(pods[to]!.address(family));
    const outcome = await probes[from]!.udpExchange(pods[from]!.address(family), echo, sizes, window);
    expect(outcome).toEqual({ wrong: [], lost: [] });
  }

  /** Superpackets that the sender's program makes itself, the second one of as many segments as reach the TUN. */
  async function expectSegments(from: number, to: number, family: 4 | 6): Promise<void> {
    const echo = await probes[to]!.udpEcho(pods[to]!.address(family));
    expect(await probes[from]!.udpSegments(pods[from]!.address(family), echo, 40, 1400)).toBe(40);
    expect(await probes[from]!.udpSegments(pods[from]!.address(family), echo, 44, 100)).toBe(44);
  }

  function sendBulk(from: number, to: number, family: 4 | 6, bulk: Bulk): Promise<BulkReport> {
    const address = pods[to]!.address(family);
    return probes[from]!.udpBulk(pods[from]!.address(family), probes[to]!, address, bulk, BULK_TIMEOUT_MS);
  }

  /** What arrived is as it was sent, once, and in its flow's order; answers how many datagrams that were. */
  function expectIntact({ flows, stray }: BulkReport, bulk: Bulk): number {
    expect(flows).toHaveLength(bulk.flows);
    for (const flow of flows) expect(flow).toMatchObject({ wrong: 0, disordered: 0, repeated: 0 });
    expect(stray).toBe(0);
    return flows.reduce((sum, { received }) => sum + received, 0);
  }

  describe.each(FAMILIES)('over IPv%i', (family) => {
    test('128 MB in four streams arrive whole', async () => {
      await expectStreams(
        [
          [0, 1],
          [0, 1],
          [0, 1],
          [1, 0],
        ],
        family,
        32_000_000,
      );
    });

    test(
      'streams in bulk arrive whole',
      async () => {
        await expectStreams(
          [
            [0, 1],
            [1, 0],
          ],
          family,
          BULK_STREAM_BYTES,
          BULK_TIMEOUT_MS,
        );
      },
      BULK_TIMEOUT_MS,
    );

    test(
      'datagrams in bulk arrive, each as it was, once, in order',
      async () => {
        const report = await sendBulk(0, 1, family, BULK);
        expect(expectIntact(report, BULK)).toBe(BULK.flows * BULK.datagrams);
        expect(report.lostPatience).toBe(0);
      },
      BULK_TIMEOUT_MS,
    );

    test(
      'datagrams in bulk of which the underlay loses 1 %: the others arrive as they were, once, in order',
      async () => {
        const bulk = { ...BULK, datagrams: LOSSY_DATAGRAMS, patienceMs: 1000 };
        // Each by itself, from a node without offloads.
        const single = { ...bulk, flows: 1, datagrams: LOSSY_DATAGRAMS / 2, segments: 1 };
        const loss = await loseUdp(lab.node(1), VXLAN_GPE_PORT, 1);
        try {
          for (const [from, what] of [
            [0, bulk],
            [WITHOUT_OFFLOADS, single],
          ] as const) {
            const received = expectIntact(await sendBulk(from, 1, family, what), what);
            // A loss takes all that went out in one send, so few of them are many datagrams.
            expect(received).toBeLessThan(what.flows * what.datagrams);
            expect(received).toBeGreaterThan(0.95 * what.flows * what.datagrams);
          }
        } finally {
          expect(await loss.stop()).toBeGreaterThan(0);
        }
      },
      BULK_TIMEOUT_MS,
    );

    test('40 MB in five streams arrive whole although the underlay loses 1 %', async () => {
      const receivers = [lab.node(0), lab.node(1)];
      const losses = await Promise.all(receivers.map((node) => loseUdp(node, VXLAN_GPE_PORT, 1)));
      try {
        // What is lost of the last one is single segments; of the others, all that went out in one send.
        const streams = [
          [0, 1],
          [0, 1],
          [0, 1],
          [1, 0],
          [WITHOUT_OFFLOADS, 1],
        ] as const;
        await expectStreams(streams, family, 8_000_000);
      } finally {
        const lost = await Promise.all(losses.map((loss) => loss.stop()));
        expect(lost[1]).toBeGreaterThan(0);
      }
    });

    test('datagrams of every size arrive as they were, and fragments of long ones', async () => {
      await expectDatagrams(0, 1, family, UDP_SIZES, 8);
      const { tun, datapath } = (await lab.node(0).view()).status;
      const before = await sentPackets(lab.node(0), tun.name);
      await expectSegments(0, 1, family);
      const packets = (await sentPackets(lab.node(0), tun.name)) - before;
      // Two superpackets, or their 84 segments where the kernel knows no USO; and what nodes say by themselves.
      if (datapath.offloads.uso) expect(packets).toBeLessThan(10);
      else expect(packets).toBeGreaterThanOrEqual(84);
    });
  });

  describe.each(VARIANTS)('with offload switched off: %s', (variant) => {
    const index = FIRST_VARIANT + VARIANTS.indexOf(variant);

    test('it is off, and data arrives as it was', async () => {
      const { offloads } = (await lab.node(index).view()).status.datapath;
      expect(Object.keys(offloads).toSorted()).toEqual(SWITCHES.toSorted());
      for (const [name, isOn] of Object.entries(offloads)) {
        expect([name, isOn]).toEqual([name, variant !== 'all' && variant !== name]);
      }
      const { peers } = await lab.node(0).view();
      const peer = peers.find(({ name }) => name === lab.node(index).name);
      expect(peer?.partialChecksums).toBe(variant !== 'all' && variant !== 'checksum');
      for (const family of FAMILIES) {
        await expectStreams(
          [
            [0, index],
            [index, 0],
          ],
          family,
          8_000_000,
        );
        await expectDatagrams(0, index, family, FEW_UDP_SIZES, 3);
        await expectSegments(0, index, family);
        await expectSegments(index, 0, family);
      }
    });
  });

  test('between one worker and two, data arrives as it was', async () => {
    expect((await lab.node(TWO_WORKERS).view()).status.datapath.workers).toBe(2);
    for (const family of FAMILIES) {
      const streams = Array.from(
        { length: 4 },
        () =>
          [
            [0, TWO_WORKERS],
            [TWO_WORKERS, 0],
          ] as const,
      ).flat();
      await expectStreams(streams, family, 4_000_000);
      await expectDatagrams(0, TWO_WORKERS, family, FEW_UDP_SIZES, 3);
      await expectSegments(0, TWO_WORKERS, family);
      await expectSegments(TWO_WORKERS, 0, family);
    }
  });
});
