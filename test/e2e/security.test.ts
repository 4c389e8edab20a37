/**
 * What an attacker can send to a node: from a machine of the underlay that is no peer, and from a peer's own
 * address. Each datagram is refused under its name, and none of it gets as far as the TUN device or a pod.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LabHost } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { underlayAddresses } from '../../src/lab/underlay.ts';
import { receivedPackets } from '../helpers/in-namespace.ts';
import { type OverlayEndpoint, overlayEndpoints } from '../helpers/overlay-endpoints.ts';
import { countArrivals, silence } from '../helpers/packet-filter.ts';
import { vxlanGpe } from '../helpers/packets.ts';
import { Probe } from '../helpers/probe.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { baseSegment, buildPacket } from '../helpers/transport-packets.ts';

const PORT = 4790;
const PODS = ['pod-1', 'pod-2'];
/** The number of a lab's first host without an agent; a static peer of the node under attack. */
const QUIET_NUMBER = 201;
const QUIET_SUBNETS = ['10.43.0.0/24', 'fd43::/64'];
const QUIET = { ipv4: '10.43.0.9', ipv6: 'fd43::9' } as const;
/** Addresses that nobody in the cluster has. */
const OUTSIDE = {
  ipv4: ['8.8.8.8', '127.0.0.1', '224.0.0.1', '255.255.255.255', '0.0.0.0', '192.0.2.1'],
  ipv6: ['2001:4860::8888', '::1', 'ff02::1', 'fe80::1', '::', '2001:db8:0:1::1'],
} as const;
const FAMILIES = ['ipv4', 'ipv6'] as const;
type Family = (typeof FAMILIES)[number];

/** Flag C, and the last byte that says UDP and where it begins (src/wire/vxlan-gpe.ts). */
const PARTIAL = {
  ipv4: { reserved: 0x2000, lastByte: 0x80 | 10 },
  ipv6: { reserved: 0x2000, lastByte: 0x80 | 20 },
} as const;

describeUnless(lacking('root', 'ip', 'nsenter', 'nft'), 'a node refuses', () => {
  describe.each(FAMILIES)('over an %s underlay', (underlay) => {
    let lab: Lab;
    let probes: { peer: Probe; quiet: Probe; stranger: Probe };
    let hosts: Record<'peer' | 'quiet' | 'stranger', LabHost>;
    /** The node under attack and its pods, the peer that the datagrams come from, and another one. */
    let victim: OverlayEndpoint[];
    let peer: OverlayEndpoint[];
    let other: OverlayEndpoint[];
    let arrivals: (() => Promise<number>)[];

    beforeAll(async () => {
      const quietAddress = underlayAddresses(QUIET_NUMBER)[underlay];
      const endpoint = underlay === 'ipv4' ? `${quietAddress}:${PORT}` : `[${quietAddress}]:${PORT}`;
      lab = await Lab.up({
        encapsulation: 'vxlan-gpe',
        name: `security${underlay}`,
        nodes: 3,
        pods: PODS,
        underlay,
        config: () => ({ staticPeers: [{ name: 'quiet', endpoint, subnets: QUIET_SUBNETS }] }),
      });
      for (const node of lab.nodes) await silence(node);
      const quiet = await lab.addHost('quiet');
      expect(quiet.addresses[underlay]).toBe(quietAddress);
      hosts = { peer: lab.node(1), quiet, stranger: await lab.addHost('stranger') };
      probes = {
        peer: new Probe(hosts.peer),
        quiet: new Probe(hosts.quiet),
        stranger: new Probe(hosts.stranger),
      };
      [victim, peer, other] = (await Promise.all(lab.nodes.map((node) => overlayEndpoints(lab, [node])))) as [
        OverlayEndpoint[],
        OverlayEndpoint[],
        OverlayEndpoint[],
      ];
      arrivals = await Promise.all(victim.slice(1).map(({ namespace }) => countArrivals(namespace, 'eth0')));
    });
    afterAll(async () => {
      for (const probe of Object.values(probes ?? {})) probe.stop();
      await lab?.down();
    });

    /** What the attack must not change, and the inbound drops, which it must. */
    async function observe(): Promise<{
      drops: Record<string, number>;
      delivered: { tun: number; pods: number[]; inbound: number };
    }> {
      const { datapath } = (await lab.node(0).view()).status;
      const drops = Object.entries(datapath.drops).filter(([reason]) => reason.startsWith('inbound-'));
      return {
        drops: Object.fromEntries(drops),
        delivered: {
          tun: await receivedPackets(lab.node(0), 'warren0'),
          pods: await Promise.all(arrivals.map((read) => read())),
          inbound: datapath.inbound.packets,
        },
      };
    }

    async function send(from: keyof typeof probes, datagrams: readonly Uint8Array[]): Promise<void> {
      const source = { host: hosts[from].addresses[underlay], port: 0 };
      await probes[from].udpSend(source, { host: lab.node(0).underlayAddress, port: PORT }, datagrams);
    }

    /** All `datagrams` are dropped as `reason`, and nothing else happens. */
    async function expectRefused(
      from: keyof typeof probes,
      datagrams: readonly Uint8Array[],
      reason: string,
    ): Promise<void> {
      const before = await observe();
      const total = Object.values(before.drops).reduce((sum, packets) => sum + packets, 0);
      await send(from, datagrams);
      await lab.node(0).waitFor(`${datagrams.length} drops (${reason})`, ({ status }) => {
        const now = Object.entries(status.datapath.drops).filter(([name]) => name.startsWith('inbound-'));
        const packets = now.reduce((sum, [, count]) => sum + count, 0);
        return (
          packets + status.datapath.inbound.packets >= total + before.delivered.inbound + datagrams.length
        );
      });
      const after = await observe();
      expect(after.drops).toEqual({ ...before.drops, [reason]: before.drops[reason]! + datagrams.length });
      expect(after.delivered).toEqual(before.delivered);
    }

    describe.each(FAMILIES)('%s', (family) => {
      /** A UDP packet from a pod of the peer to a pod of the victim. */
      function inner(
        { source = peer[1]![family], destination = victim[1]![family] } = {},
        checksum: 'full' | 'partial' = 'full',
      ): Buffer {
        const ports = { sourcePort: 4000, destinationPort: 4001 };
        const payload = new TextEncoder().encode('who goes there?');
        return buildPacket(
          { ...baseSegment, ...ports, protocol: 'udp', source, destination, payload },
          checksum,
        );
      }

      test('nothing that it should not: a good datagram of each peer arrives', async () => {
        const good: [keyof typeof probes, Uint8Array][] = [
          ['peer', vxlanGpe(inner())],
          ['peer', vxlanGpe(inner({}, 'partial'), PARTIAL[family])],
          ['quiet', vxlanGpe(inner({ source: QUIET[family] }))],
        ];
        for (const [from, datagram] of good) {
          const before = await observe();
          await send(from, [datagram]);
          await lab.node(0).waitFor('it is delivered', ({ status }) => {
            return status.datapath.inbound.packets > before.delivered.inbound;
          });
          const { drops, delivered } = await observe();
          expect(drops).toEqual(before.drops);
          expect(delivered).toEqual({
            tun: before.delivered.tun + 1,
            pods: [before.delivered.pods[0]! + 1, before.delivered.pods[1]],
            inbound: before.delivered.inbound + 1,
          });
        }
      });

      test('an outer source that is no peer', async () => {
        await expectRefused('stranger', [vxlanGpe(inner())], 'inbound-unknown-source');
        await expectRefused('stranger', [new Uint8Array(0)], 'inbound-unknown-source');
      });

      test('another VNI', async () => {
        const others = [0, 1, 41, 43, 42 << 8, 0xffffff].map((vni) => vxlanGpe(inner(), { vni }));
        await expectRefused('peer', others, 'inbound-wrong-vni');
      });

      test('flags, versions and reserved bits that are not as they should be', async () => {
        // O, B, P clear, I clear, versions 1 to 3, and the two reserved bits in front.
        const flags = [0x0d, 0x0e, 0x0f, 0x08, 0x04, 0x00, 0x1c, 0x2c, 0x3c, 0x4c, 0x8c];
        const reserved = Array.from({ length: 16 }, (_, bit) => 1 << bit).filter((bits) => bits !== 0x2000);
        await expectRefused(
          'peer',
          [
            ...flags.map((value) => vxlanGpe(inner(), { flags: value })),
            ...reserved.map((value) => vxlanGpe(inner(), { reserved: value })),
            ...Array.from({ length: 8 }, (_, bit) => vxlanGpe(inner(), { lastByte: 1 << bit })),
          ],
          'inbound-bad-header',
        );
      });

      test('what is no IP packet', async () => {
        const protocols = [0, 3, 4, 5, 6, 0x80, 0xff];
        await expectRefused(
          'peer',
          protocols.map((nextProtocol) => vxlanGpe(inner(), { nextProtocol })),
          'inbound-unknown-protocol',
        );
        // The other version, and a version that there is not.
        const nextProtocol = family === 'ipv4' ? 2 : 1;
        const strange = inner();
        strange[0] = (strange[0]! & 0x0f) | 0x50;
        await expectRefused(
          'peer',
          [
            vxlanGpe(inner(), { nextProtocol }),
            vxlanGpe(strange, { nextProtocol: family === 'ipv4' ? 1 : 2 }),
          ],
          'inbound-malformed',
        );
      });

      test('datagrams cut short, at every length', async () => {
        const whole = vxlanGpe(inner());
        const upTo = (from: number, to: number) =>
          Array.from({ length: to - from }, (_, i) => whole.subarray(0, from + i));
        await expectRefused('peer', upTo(0, 8), 'inbound-truncated');
        await expectRefused('peer', upTo(8, whole.length), 'inbound-malformed');
      });

      test('an inner source that the sender does not own', async () => {
        const own = [...victim, ...other].map((endpoint) => endpoint[family]);
        await expectRefused(
          'peer',
          [...own, QUIET[family], ...OUTSIDE[family]].map((source) => vxlanGpe(inner({ source }))),
          'inbound-foreign-source',
        );
        await expectRefused('quiet', [vxlanGpe(inner())], 'inbound-foreign-source');
      });

      test('an inner destination that is not here', async () => {
        const elsewhere = [...peer, ...other].map((endpoint) => endpoint[family]);
        await expectRefused(
          'peer',
          [...elsewhere, QUIET[family], ...OUTSIDE[family]].map((destination) =>
            vxlanGpe(inner({ destination })),
          ),
          'inbound-not-local',
        );
      });

      test('a partial checksum of a peer that announced none, or one that is not there', async () => {
        const source = QUIET[family];
        const unannounced = vxlanGpe(inner({ source }, 'partial'), PARTIAL[family]);
        await expectRefused('quiet', [unannounced], 'inbound-bad-header');
        const { reserved, lastByte } = PARTIAL[family];
        // No offset, TCP instead of UDP, other offsets: into the IP header, the payload, behind the packet.
        const wrong = [0, 0x80, lastByte & 0x7f, lastByte - 1, lastByte + 1, 0x80 | 2, 0x80 | 0x3f, 0xff];
        await expectRefused(
          'peer',
          wrong.map((value) => vxlanGpe(inner({}, 'partial'), { reserved, lastByte: value })),
          'inbound-bad-header',
        );
        const short = buildShort(inner({}, 'partial'), family);
        await expectRefused('peer', [vxlanGpe(short, PARTIAL[family])], 'inbound-bad-header');
      });
    });
  });
});

/** A packet whose IP header is in order and whose UDP header ends before the checksum. */
function buildShort(packet: Buffer, family: Family): Buffer {
  const ipBytes = family === 'ipv4' ? 20 : 40;
  const short = Buffer.from(packet.subarray(0, ipBytes + 6));
  if (family === 'ipv4') {
    short.writeUInt16BE(short.length, 2);
    // The header's checksum changes with the length, by the same amount the other way.
    const shorter = packet.length - short.length;
    short.writeUInt16BE((packet.readUInt16BE(10) + shorter) % 0xffff, 10);
  } else {
    short.writeUInt16BE(6, 4);
  }
  return short;
}
