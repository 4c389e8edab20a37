/**
 * A congested queue between two nodes that marks instead of dropping (RFC 3168): TCP in the pods is told, and slows down.
 * What does not understand is dropped (RFC 6040). The queue is a rule of nftables on the lab's bridge.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { whileListening } from '../../src/bench/listener.ts';
import { namedNetnsPath } from '../../src/host/netns.ts';
import { setSysctls } from '../../src/host/sysctl.ts';
import { LabNamespace, type LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { bridgeNamespace } from '../../src/lab/names.ts';
import { VXLAN_GPE, WIREGUARD } from '../helpers/encapsulations.ts';
import { mustRun, stackCounters } from '../helpers/in-namespace.ts';
import { PATIENTLY, ping } from '../helpers/overlay-endpoints.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const PORT = '5301';
const MEGABYTES = 40;
const TOLD = 'TcpExtTCPDeliveredCE';
const MARKED = { 4: 'IpExtInCEPkts', 6: 'Ip6InCEPkts' } as const;

describeUnless(
  lacking('root', 'ip', 'nsenter', 'ping', 'nft', 'nstat', 'iperf3'),
  'a queue between nodes that marks congestion',
  () =>
    describe.each([VXLAN_GPE, WIREGUARD])('over $type', ({ type, port }) => {
      const NAME = `ecn${port}`;
      let lab: Lab;
      let bridge: LabNamespace;
      let pods: readonly LabPod[];

      beforeAll(async () => {
        lab = await Lab.up({ encapsulation: type, name: NAME, nodes: 2, pods: 1 });
        bridge = new LabNamespace(namedNetnsPath(bridgeNamespace(NAME)));
        pods = await Promise.all(lab.nodes.map((node) => lab.pod(node.name, 'pod-1')));
        for (const { netns } of pods) {
          await setSysctls(['net/ipv4/tcp_ecn'], '1', { netns });
          // BBR, where a machine has it, makes nothing of ECN.
          await setSysctls(['net/ipv4/tcp_congestion_control'], 'reno', { netns });
        }
      });
      afterAll(() => lab?.down());

      /** From now on tunnel datagrams with one of these codepoints leave the bridge with CE. */
      async function mark(...codepoints: readonly string[]): Promise<void> {
        const rules = `
        table bridge congestion
        delete table bridge congestion
        table bridge congestion {
          chain forward {
            type filter hook forward priority 0
            udp dport ${port} ip ecn { ${codepoints.join(', ')} } ip ecn set ce
          }
        }`;
        await mustRun(bridge, [
          'sh',
          '-c',
          `nft -f - <<'.'\n${codepoints.length > 0 ? rules : 'flush ruleset'}\n.`,
        ]);
      }

      /** Sends a stream from one pod to the other: the sender's window at its end, in bytes. */
      async function stream(family: 4 | 6): Promise<number> {
        const address = pods[1]!.address(family);
        let report = '';
        const server = ['iperf3', '-s', '-1', '-B', address, '-p', PORT, '--forceflush'];
        await whileListening(pods[1]!, server, 'listening', async () => {
          report = await mustRun(pods[0]!, [
            'iperf3',
            '-J',
            '-c',
            address,
            '-p',
            PORT,
            '-n',
            `${MEGABYTES}M`,
          ]);
        });
        return (JSON.parse(report) as Iperf).intervals.at(-1)!.streams[0]!.snd_cwnd;
      }

      async function counted(pod: LabPod, name: string, work: () => Promise<unknown>): Promise<number> {
        const before = await stackCounters(pod, name);
        await work();
        return (await stackCounters(pod, name))[name]! - before[name]!;
      }

      describe.each([4, 6] as const)('with IPv%i in the pods', (family) => {
        test('TCP is told, and slows down', async () => {
          const [from, to] = pods as readonly [LabPod, LabPod];
          await mark();
          const free = await stream(family);
          await mark('ect0', 'ect1');
          let congested = 0;
          let marked = 0;
          let told = 0;
          told = await counted(from, TOLD, async () => {
            marked = await counted(to, MARKED[family], async () => {
              congested = await stream(family);
            });
          });
          expect(marked).toBeGreaterThan(100);
          expect(told).toBeGreaterThan(100);
          expect(congested).toBeLessThan(free / 10);
        });

        test('what does not understand is dropped and counted', async () => {
          const drops = async () => (await lab.node(1).view()).status.datapath.drops['inbound-congestion']!;
          const address = pods[1]!.address(family);
          await mark();
          const before = await drops();
          expect((await ping(pods[0]!, address, PATIENTLY)).code).toBe(0);
          await mark('not-ect', 'ect0', 'ect1');
          expect((await ping(pods[0]!, address)).code).toBe(1);
          expect(await drops()).toBeGreaterThan(before);
          await mark();
          expect((await ping(pods[0]!, address, PATIENTLY)).code).toBe(0);
        });
      });
    }),
);

interface Iperf {
  readonly intervals: readonly { readonly streams: readonly { readonly snd_cwnd: number }[] }[];
}
