/**
 * Tunnels in the tunnel: pods that run VXLAN or WireGuard between each other, as overlays in virtual machines and
 * build farms do. What goes in comes out, and no stack in there finds a wrong checksum.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KERNEL_DROP_NAMES } from '../../src/datapath/drops.ts';
import type { LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { stackCounters } from '../helpers/in-namespace.ts';
import { NESTED_ADDRESS, NESTED_TUNNELS } from '../helpers/nested-tunnels.ts';
import { Probe } from '../helpers/probe.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { testScale } from '../helpers/scale.ts';

const FAMILIES = [4, 6] as const;
const STREAM_BYTES = 24_000_000 * testScale();
const TIMEOUT_MS = 60_000 * testScale();
/** Those above 1300 or so are fragments in the tunnel, or in ours. */
const UDP_SIZES = [1, 2, 3, 99, 100, 511, 1000, 1001, 1200, 1350, 1390, 1400, 2000, 9001, 30_000];
const SUPERPACKET = { segments: 40, bytes: 1200 } as const;

type Drops = Record<string, number>;

/**
 * The kernel's multicast listener reports of the TUN device are no part of the overlay; and TCP finds out how much there is
 * room for by sending more than that.
 */
const EXPECTED = new Set<string>(['outbound-not-unicast', ...KERNEL_DROP_NAMES]);

describeUnless(lacking('root', 'ip', 'ping', 'nsenter', 'nstat'), 'between pods with all offloads on', () => {
  let lab: Lab;
  let pods: readonly [LabPod, LabPod];
  let probes: Probe[];

  beforeAll(async () => {
    lab = await Lab.up({ name: 'nested', nodes: 2, pods: 1 });
    pods = [await lab.pod(0, 'pod-1'), await lab.pod(1, 'pod-1')];
    probes = pods.map((pod) => new Probe(pod));
  });
  afterAll(async () => {
    for (const probe of probes ?? []) probe.stop();
    await lab?.down();
  });

  test('all offloads are on', async () => {
    for (const node of lab.nodes) {
      const { offloads } = (await node.view()).status.datapath;
      expect([...new Set(Object.values(offloads))], JSON.stringify(offloads)).toEqual([true]);
    }
  });

  for (const { title, lacks, up } of NESTED_TUNNELS) {
    describeUnless(lacks, title, () => {
      describe.each(FAMILIES)('over IPv%i', (outer) => {
        let down: (() => Promise<void>) | undefined;
        let errorsBefore: Record<string, number>[];
        let dropsBefore: Drops[];
        beforeAll(async () => {
          errorsBefore = await checksumErrors();
          dropsBefore = await drops();
          down = await up(pods, outer);
        });
        afterAll(async () => {
          await down?.();
        });

        test.each(FAMILIES)(
          'two IPv%i streams each way arrive whole',
          async (inner) => {
            const ways = [
              [0, 1],
              [1, 0],
              [0, 1],
              [1, 0],
            ] as const;
            const transfers = await Promise.all(
              ways.map(async ([from, to], i) => {
                const listener = await probes[to]!.receiver(NESTED_ADDRESS[inner][to]);
                const seed = `${title} ${outer} ${inner} ${i}`;
                return probes[from]!.transfer(listener, STREAM_BYTES, seed, TIMEOUT_MS);
              }),
            );
            for (const [i, { sha256, receipt }] of transfers.entries()) {
              const from = NESTED_ADDRESS[inner][ways[i]![0]];
              expect(receipt).toEqual({ bytes: STREAM_BYTES, sha256, from });
            }
          },
          TIMEOUT_MS,
        );

        test.each(FAMILIES)('IPv%i datagrams and superpackets come back as they were', async (inner) => {
          for (const [from, to] of [
            [0, 1],
            [1, 0],
          ] as const) {
            const own = NESTED_ADDRESS[inner][from];
            const echo = await probes[to]!.udpEcho(NESTED_ADDRESS[inner][to]);
            const outcome = await probes[from]!.udpExchange(own, echo, UDP_SIZES, 4);
            expect(outcome).toEqual({ wrong: [], lost: [] });
            const { segments, bytes } = SUPERPACKET;
            expect(await probes[from]!.udpSegments(own, echo, segments, bytes)).toBe(segments);
          }
        });

        test('no checksum was wrong on the way, and the nodes dropped nothing', async () => {
          expect(await checksumErrors()).toEqual(errorsBefore);
          // While the lab came up a handshake may have been refused: its sender was not known yet.
          expect(await drops()).toEqual(dropsBefore);
        });
      });
    });
  }

  /** Packets that the nodes have dropped, but for what is always there. */
  function drops(): Promise<Drops[]> {
    return Promise.all(
      lab.nodes.map(async (node) => {
        const all = Object.entries((await node.view()).status.datapath.drops);
        return Object.fromEntries(all.filter(([name]) => !EXPECTED.has(name)));
      }),
    );
  }

  /** Packets that the pods' stacks have refused for their checksum. */
  function checksumErrors(): Promise<Record<string, number>[]> {
    const names = ['TcpInCsumErrors', 'UdpInCsumErrors', 'Udp6InCsumErrors', 'IpInCsumErrors'];
    return Promise.all(pods.map((pod) => stackCounters(pod, ...names)));
  }
});
