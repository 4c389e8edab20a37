/**
 * Packets as long as a path carries, and one byte longer: at the overlay's own MTU the node's kernel answers, on
 * a path that carries less the agent does, once its probes have shown how much that is.
 */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { setSysctls } from '../../src/host/sysctl.ts';
import type { CommandResult } from '../../src/lab/command.ts';
import type { LabHost, LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import type { PeerReport } from '../../src/readmodel/reports.ts';
import { VXLAN_GPE, WIREGUARD } from '../helpers/encapsulations.ts';
import { mustRun, stackCounters } from '../helpers/in-namespace.ts';
import { ping } from '../helpers/overlay-endpoints.ts';
import { Probe } from '../helpers/probe.ts';
import { promised } from '../helpers/promised.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const UNDERLAY_MTU = 1500;
/** What ping(8) does not count: the IP and the ICMP header. */
const ECHO_HEADERS = { 4: 20 + 8, 6: 40 + 8 } as const;
const INNER_FAMILIES = [4, 6] as const;
const FORGED_ICMP = fileURLToPath(new URL('../helpers/forged-icmp.mjs', import.meta.url));

/** An echo request of `bytes` bytes in all that must not be fragmented. */
function pingWhole(
  from: LabPod,
  to: LabPod,
  family: 4 | 6,
  bytes: number,
  count = 1,
  waitSeconds = 5,
): Promise<CommandResult> {
  const size = [
    '-M',
    'do',
    '-s',
    String(bytes - ECHO_HEADERS[family]),
    '-c',
    String(count),
    '-i',
    '0.2',
    '-W',
    String(waitSeconds),
  ];
  return ping(from, to.address(family), size);
}

/**
 * That such a packet is answered with `answer`: a path MTU is reported a moment before packets go by it. How many were sent
 * until then.
 */
async function refused(
  from: LabPod,
  to: LabPod,
  family: 4 | 6,
  bytes: number,
  answer: RegExp,
): Promise<number> {
  let sent = 0;
  const ask = async () => {
    sent++;
    return (await pingWhole(from, to, family, bytes, 1, 1)).stdout;
  };
  await expect.poll(ask, { timeout: 10_000 }).toMatch(answer);
  return sent;
}

/** What ping(8) prints of an error that says `mtu`. */
function tooBig(family: 4 | 6, from: string, mtu: number): RegExp {
  const text = family === 4 ? `Frag needed and DF set \\(mtu = ${mtu}\\)` : `Packet too big: mtu=${mtu}`;
  return new RegExp(`^From ${from} icmp_seq=\\d+ ${text}$`, 'm');
}

describeUnless(lacking('root', 'ip', 'ping', 'nsenter', 'nstat', 'nft'), 'the path MTU', () => {
  describe.each([
    { underlay: 'ipv4', encapsulation: VXLAN_GPE },
    { underlay: 'ipv6', encapsulation: VXLAN_GPE },
    { underlay: 'ipv4', encapsulation: WIREGUARD },
  ] as const)('over an $underlay underlay by $encapsulation.type', ({ underlay, encapsulation }) => {
    const OVERHEAD = encapsulation.overhead;
    const overlayMtu = UNDERLAY_MTU - OVERHEAD[underlay];
    const probes: Probe[] = [];
    let lab: Lab;
    let router: LabHost;
    /** By node and number. */
    let pods: LabPod[][];
    /** Node a's own overlay addresses. */
    let ownAddress: Record<4 | 6, string>;

    beforeAll(async () => {
      lab = await Lab.up({
        encapsulation: encapsulation.type,
        name: `pathmtu${underlay}${encapsulation.port}`,
        nodes: 3,
        pods: 2,
        underlay,
      });
      router = await lab.addHost('router');
      pods = await Promise.all(
        lab.nodes.map(({ name }) => Promise.all(['pod-1', 'pod-2'].map((pod) => lab.pod(name, pod)))),
      );
      const [ipv4, ipv6] = (await lab.node(0).view()).status.tun.addresses;
      ownAddress = { 4: ipv4!, 6: ipv6! };
    });
    afterAll(async () => {
      for (const probe of probes) probe.stop();
      await lab?.down();
    });

    function startProbe(pod: LabPod): Probe {
      const probe = new Probe(pod);
      probes.push(probe);
      return probe;
    }

    /** Node a's route on the underlay to another node. */
    async function route(to: number, ...words: string[]): Promise<void> {
      const host = `${lab.node(to).underlayAddress}/${underlay === 'ipv4' ? 32 : 128}`;
      await mustRun(lab.node(0), ['ip', 'route', 'replace', host, ...words]);
    }

    /** What the kernels of node a's pods and of node a itself were told of paths before is forgotten. */
    async function forgetPaths(): Promise<void> {
      for (const namespace of [...pods[0]!, lab.node(0)]) {
        for (const family of ['-4', '-6'])
          await mustRun(namespace, ['ip', family, 'route', 'flush', 'cache']);
      }
    }

    /**
     * How many datagrams of `bytes` arrive at node b in two pieces while `work` is done, by the length of the second one. The
     * stack's own counters have others as well: answers to node b's probes, which are as long as its own path carries, and
     * gossip. What may be divided at all the kernel divides over IPv6 by the least MTU there is.
     */
    async function countDivided(bytes: number, pathMtu: number, work: () => Promise<void>): Promise<number> {
      const [ip, fragment, pieceBytes] = underlay === 'ipv4' ? [20, 0, pathMtu] : [40, 8, 1280];
      const rest = bytes - ip - 8 * Math.floor((pieceBytes - ip - fragment) / 8);
      const isSecond =
        underlay === 'ipv4'
          ? `ip frag-off & 0x1fff != 0 ip length ${ip + rest}`
          : `frag frag-off > 0 ip6 length ${fragment + rest}`;
      const table = `table inet divided {
        counter second { }
        chain arriving { type filter hook prerouting priority -450; ${isSecond} counter name second; }
      }`;
      await mustRun(lab.node(1), ['sh', '-c', `printf '%s' '${table}' | nft -f -`]);
      try {
        await work();
        const listed = await mustRun(lab.node(1), ['nft', 'list', 'counter', 'inet', 'divided', 'second']);
        return Number(/packets (\d+)/.exec(listed)![1]);
      } finally {
        await mustRun(lab.node(1), ['nft', 'delete', 'table', 'inet', 'divided']);
      }
    }

    /** Where an error of node a's agent comes from: over IPv4 it speaks in the name of the destination. */
    function agentAddress(family: 4 | 6, to: LabPod): string {
      return family === 4 ? to.address(4) : ownAddress[6];
    }

    /** Packets go from node a to `to` until its agent says that the path to node `node` carries `mtu`; the time it took. */
    async function found(node: number, to: LabPod, mtu: number, timeoutMs = 5000): Promise<number> {
      let peers: readonly PeerReport[] = [];
      const isFound = async () => {
        await ping(pods[0]![0]!, to.address(4), ['-c', '1', '-W', '1']);
        peers = await lab.node(0).client().peers();
        return peers.find(({ name }) => name === lab.node(node).name)?.mtu === mtu;
      };
      return promised(isFound, {
        ...{ withinMs: timeoutMs, lookMs: 1200 },
        otherwise: () => `a path MTU of ${mtu}: ${JSON.stringify(peers)}`,
      });
    }

    async function drops(reason: string): Promise<number> {
      return (await lab.node(0).view()).status.datapath.drops[reason]!;
    }

    async function expectTransfer(from: LabPod, to: LabPod, family: 4 | 6, bytes: number): Promise<void> {
      const listener = await startProbe(to).receiver(to.address(family));
      const { sha256, receipt } = await startProbe(from).transfer(listener, bytes, `${underlay}${family}`);
      expect(receipt).toEqual({ bytes, sha256, from: from.address(family) });
    }

    test.each(INNER_FAMILIES)('an IPv%i packet of the overlay MTU passes undivided', async (family) => {
      const { status } = await lab.node(0).view();
      expect(status.tun.mtu).toBe(overlayMtu);
      expect(await mustRun(pods[0]![0]!, ['ip', 'link', 'show', 'dev', 'eth0'])).toContain(
        ` mtu ${overlayMtu} `,
      );
      const fragments = await stackCounters(lab.node(0), 'IpFragCreates', 'Ip6FragCreates');
      const { code, stdout } = await pingWhole(pods[0]![0]!, pods[1]![0]!, family, overlayMtu);
      expect(code, stdout).toBe(0);
      expect(await stackCounters(lab.node(0), 'IpFragCreates', 'Ip6FragCreates')).toEqual(fragments);
    });

    test.each(INNER_FAMILIES)('an IPv%i packet that is a byte longer is answered', async (family) => {
      const pod = pods[0]![1]!;
      // The node's end keeps its MTU (the agent would put it back), and lets four bytes more pass (linux/netdevice.h,
      // is_skb_forwardable).
      await mustRun(pod, ['ip', 'link', 'set', 'eth0', 'mtu', '1500']);
      const longer = await pingWhole(pod, pods[1]![1]!, family, overlayMtu + 1);
      expect(longer.stdout).toMatch(tooBig(family, ownAddress[family], overlayMtu));
      expect(longer.code).toBe(1);
      const fitting = await pingWhole(pod, pods[1]![1]!, family, overlayMtu);
      expect(fitting.code, fitting.stdout).toBe(0);
      await mustRun(pod, ['ip', 'link', 'set', 'eth0', 'mtu', String(overlayMtu)]);
    });

    describe('where the route to one peer carries less', () => {
      const pathMtu = 1400;
      const fits = pathMtu - OVERHEAD[underlay];

      beforeAll(async () => {
        await route(1, 'dev', 'eth0', 'mtu', String(pathMtu));
        await found(1, pods[1]![0]!, fits);
      });

      test.each(INNER_FAMILIES)('the agent answers IPv%i with what fits', async (family) => {
        const [from, to] = [pods[0]![0]!, pods[1]![0]!];
        const before = await drops('outbound-too-big');
        const sent = await refused(
          from,
          to,
          family,
          fits + 1,
          tooBig(family, agentAddress(family, to), fits),
        );
        const counted = (await drops('outbound-too-big')) - before;
        expect(counted).toBeGreaterThanOrEqual(1);
        expect(counted).toBeLessThanOrEqual(sent);
        const fitting = await pingWhole(from, to, family, fits);
        expect(fitting.code, fitting.stdout).toBe(0);
        // It is this path alone that carries less.
        const elsewhere = await pingWhole(from, pods[2]![0]!, family, overlayMtu);
        expect(elsewhere.code, elsewhere.stdout).toBe(0);
      });

      test('an IPv4 packet that may be fragmented gets through', async () => {
        const [from, to] = [pods[0]![1]!, pods[1]![1]!];
        const counter = underlay === 'ipv4' ? 'IpFragCreates' : 'Ip6FragCreates';
        const before = await stackCounters(lab.node(0), counter);
        // Of a length that nothing else has.
        const less = 32;
        const size = String(overlayMtu - less - ECHO_HEADERS[4]);
        const divided = await countDivided(UNDERLAY_MTU - less, pathMtu, async () => {
          const { code, stdout } = await ping(from, to.address(4), ['-M', 'dont', '-s', size]);
          expect(code, stdout).toBe(0);
        });
        // The outer datagram went in two pieces: the inner packet was shorter than the pod's own MTU.
        expect(divided).toBe(1);
        expect((await stackCounters(lab.node(0), counter))[counter]).toBeGreaterThanOrEqual(
          before[counter]! + 2,
        );
      });

      test.each(INNER_FAMILIES)('TCP over IPv%i finds out', async (family) => {
        await expectTransfer(pods[0]![1]!, pods[1]![0]!, family, 8_000_000);
      });
    });

    describe('where the route to one peer carries less than IPv6 needs', () => {
      const pathMtu = 1300;
      const fits = pathMtu - OVERHEAD[underlay];

      beforeAll(async () => {
        await route(1, 'dev', 'eth0', 'mtu', String(pathMtu));
        await found(1, pods[1]![0]!, fits);
      });

      test('IPv6 has its 1280 bytes all the same', async () => {
        const [from, to] = [pods[0]![0]!, pods[1]![1]!];
        await refused(from, to, 6, 1281, tooBig(6, agentAddress(6, to), 1280));
        const least = await pingWhole(from, to, 6, 1280);
        expect(least.code, least.stdout).toBe(0);
      });

      test('IPv4 is told what fits', async () => {
        const [from, to] = [pods[0]![0]!, pods[1]![1]!];
        await refused(from, to, 4, fits + 1, tooBig(4, agentAddress(4, to), fits));
        const fitting = await pingWhole(from, to, 4, fits);
        expect(fitting.code, fitting.stdout).toBe(0);
      });

      test.each(INNER_FAMILIES)('TCP over IPv%i finds out', async (family) => {
        await expectTransfer(pods[0]![1]!, pods[1]![1]!, family, 2_000_000);
      });
    });

    describe('where a router on the way carries less', () => {
      const pathMtu = 1350;
      const fits = pathMtu - OVERHEAD[underlay];

      beforeAll(async () => {
        const target = lab.node(2).underlayAddress;
        const host = `${target}/${underlay === 'ipv4' ? 32 : 128}`;
        const where = { netns: router.netns };
        await setSysctls(['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding'], '1', where);
        const redirects = ['net/ipv4/conf/all/send_redirects', 'net/ipv4/conf/eth0/send_redirects'] as const;
        await setSysctls(redirects, '0', where);
        await mustRun(router, [
          'ip',
          'route',
          'replace',
          host,
          'dev',
          'eth0',
          'mtu',
          'lock',
          String(pathMtu),
        ]);
        await route(2, 'via', router.addresses[underlay]);
      });

      test.each(INNER_FAMILIES)('the agent answers IPv%i once the router has told', async (family) => {
        const [from, to] = [pods[0]![0]!, pods[2]![0]!];
        const longer = await pingWhole(from, to, family, fits + 1, 8, 1);
        expect(longer.stdout).toMatch(tooBig(family, agentAddress(family, to), fits));
        expect(longer.stdout).not.toContain('bytes from');
        const fitting = await pingWhole(from, to, family, fits);
        expect(fitting.code, fitting.stdout).toBe(0);
      });

      test.each(INNER_FAMILIES)('TCP over IPv%i finds out', async (family) => {
        await expectTransfer(pods[0]![1]!, pods[2]![1]!, family, 2_000_000);
      });
    });

    describe('where anybody forges ICMP', () => {
      const forged = underlay === 'ipv4' ? 552 : 1280;

      test('the kernel believes it, and nothing changes for traffic', async () => {
        const [from, to] = [pods[0]![0]!, pods[1]![0]!];
        const target = lab.node(1).underlayAddress;
        await route(1, 'dev', 'eth0');
        await forgetPaths();
        await found(1, to, overlayMtu, 15_000);
        const before = await drops('outbound-too-big');
        const argv = [
          process.execPath,
          FORGED_ICMP,
          underlay === 'ipv4' ? '4' : '6',
          router.addresses[underlay],
          lab.node(0).underlayAddress,
          target,
          String(encapsulation.port),
          String(forged),
        ];
        // One ping and one lie after the other: none of them may be refused or lost.
        for (let i = 0; i < 10; i++) {
          await mustRun(router, argv);
          const { code, stdout } = await pingWhole(from, to, 4, overlayMtu, 3);
          expect(code, stdout).toBe(0);
          expect(stdout).toContain(' 0% packet loss');
        }
        expect(await mustRun(lab.node(0), ['ip', 'route', 'get', target])).toContain(`mtu ${forged}`);
        await found(1, to, overlayMtu, 0);
        expect(await drops('outbound-too-big')).toBe(before);
        await expectTransfer(pods[0]![1]!, to, 6, 8_000_000);
      });
    });

    describe('where a router on the way drops what is too big without a word', () => {
      const pathMtu = 1350;
      const fits = pathMtu - OVERHEAD[underlay];
      const prefix = (node: number) => `${lab.node(node).underlayAddress}/${underlay === 'ipv4' ? 32 : 128}`;
      const limit = (...mtu: string[]) =>
        mustRun(router, ['ip', 'route', 'replace', prefix(1), 'dev', 'eth0', ...mtu]);

      beforeAll(async () => {
        const silence = 'type filter hook output priority 0; policy accept;';
        const rules = `table inet silent { chain output { ${silence} icmp type destination-unreachable drop; icmpv6 type packet-too-big drop; }; }`;
        await mustRun(router, ['nft', rules]);
        await limit();
        await route(1, 'via', router.addresses[underlay]);
        await forgetPaths();
        await found(1, pods[1]![0]!, overlayMtu, 15_000);
      });

      test('it is found within 5 s, and TCP goes on', async () => {
        const to = pods[1]![0]!;
        const listener = await startProbe(to).receiver(to.address(4));
        await limit('mtu', 'lock', String(pathMtu));
        const transfer = startProbe(pods[0]![1]!).transfer(listener, 2_000_000, underlay, 60_000);
        expect(await found(1, to, fits)).toBeLessThan(5000);
        const { sha256, receipt } = await transfer;
        expect(receipt).toMatchObject({ bytes: 2_000_000, sha256 });
        await refused(pods[0]![0]!, to, 4, fits + 1, tooBig(4, to.address(4), fits));
        const fitting = await pingWhole(pods[0]![0]!, to, 6, Math.max(fits, 1280), 3);
        expect(fitting.code, fitting.stdout).toBe(0);
      });

      test('that it carries more again is found, too', async () => {
        await limit();
        await found(1, pods[1]![0]!, overlayMtu, 40_000);
      });
    });
  });
});
