/**
 * wireguard-go as a static peer of agents: a second implementation of the protocol and of the wire, which begins handshakes
 * and answers them, with and without a pre-shared key, over restarts of either side.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { generateWireguardKeys } from '../../src/bench/wireguard-control.ts';
import type { LabHost, LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { underlayAddresses } from '../../src/lab/underlay.ts';
import { mustRun } from '../helpers/in-namespace.ts';
import { ping } from '../helpers/overlay-endpoints.ts';
import { Probe } from '../helpers/probe.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { testScale } from '../helpers/scale.ts';
import { WireguardGo } from '../helpers/wireguard-go.ts';

/** The number of a lab's first host without an agent. */
const OTHER_NUMBER = 201;
const OTHER = { 4: '10.43.0.1', 6: 'fd43::1' } as const;
const OTHER_SUBNETS = ['10.43.0.0/24', 'fd43::/64'];
const FAMILIES = [4, 6] as const;
const PORT = 51_820;
const TRANSFER_BYTES = 125_000_000 * testScale();
/** Of one, which takes 2 s or so; others may have the processors meanwhile. */
const TRANSFER_TIMEOUT_MS = 55_000 * testScale();

describeUnless(lacking('root', 'ip', 'ping', 'nsenter', 'wireguard-go'), 'wireguard-go', () => {
  describe.each([
    ['ipv4', 'no pre-shared key', undefined],
    ['ipv6', 'a pre-shared key', randomBytes(32)],
  ] as const)('over an %s underlay, with %s', (underlay, _, presharedKey) => {
    const device = `wgp-${underlay}`;
    const keys = generateWireguardKeys();
    const probes: Probe[] = [];
    let lab: Lab;
    let other: LabHost;
    let peer: WireguardGo;
    let pod: LabPod;

    beforeAll(async () => {
      const address = underlayAddresses(OTHER_NUMBER)[underlay];
      const endpoint = underlay === 'ipv4' ? `${address}:${PORT}` : `[${address}]:${PORT}`;
      lab = await Lab.up({
        name: `wgpeers${underlay}`,
        nodes: 2,
        pods: 1,
        underlay,
        config: () => ({
          encapsulation: { type: 'wireguard' },
          tun: { mtu: 1420 },
          staticPeers: [
            {
              name: 'other',
              endpoint,
              subnets: OTHER_SUBNETS,
              publicKey: Buffer.from(keys.publicKey, 'hex').toString('base64'),
              ...(presharedKey && { presharedKey: presharedKey.toString('base64') }),
            },
          ],
        }),
      });
      pod = await lab.pod(0, 'pod-1');
      other = await lab.addHost('other');
      peer = await started();
    });
    afterAll(async () => {
      for (const probe of probes) probe.stop();
      await peer?.stop();
      await lab?.down();
    });

    /** One that knows both nodes. */
    async function started(): Promise<WireguardGo> {
      const go = await WireguardGo.start({ path: other.netns }, device);
      await go.configure(`private_key=${keys.privateKey}`, `listen_port=${PORT}`);
      for (const node of lab.nodes) {
        const { status } = await node.view();
        const at = node.addresses[underlay];
        await go.configure(
          `public_key=${Buffer.from(status.encapsulation.publicKey!, 'base64').toString('hex')}`,
          ...(presharedKey ? [`preshared_key=${presharedKey.toString('hex')}`] : []),
          `endpoint=${underlay === 'ipv4' ? at : `[${at}]`}:${PORT}`,
          ...status.lease.subnets.map((subnet) => `allowed_ip=${subnet}`),
        );
      }
      await mustRun(other, ['ip', 'link', 'set', device, 'mtu', '1420', 'up']);
      await mustRun(other, ['ip', 'address', 'add', `${OTHER[4]}/32`, 'dev', device]);
      await mustRun(other, ['ip', 'address', 'add', `${OTHER[6]}/128`, 'dev', device, 'nodad']);
      for (const [range, source] of [
        ['10.42.0.0/16', OTHER[4]],
        ['fd42::/48', OTHER[6]],
      ] as const)
        await mustRun(other, ['ip', 'route', 'add', range, 'dev', device, 'src', source]);
      return go;
    }

    function startProbe(namespace: LabHost | LabPod): Probe {
      const probe = new Probe(namespace);
      probes.push(probe);
      return probe;
    }

    async function pings(from: LabHost | LabPod, to: string): Promise<void> {
      const { code, stdout } = await ping(from, to);
      expect(code, stdout).toBe(0);
    }

    test.each(FAMILIES)('is asked for keys, and both reach each other: IPv%i', async (family) => {
      await pings(pod, OTHER[family]);
      await pings(other, pod.address(family));
      const peers = await lab.node(0).client().peers();
      expect(peers.find(({ name }) => name === 'other')!.sessionAgeSeconds).toBeLessThan(60);
    });

    test('asks for keys itself', async () => {
      await pings(other, (await lab.pod(1, 'pod-1')).address(4));
    });

    test.each(FAMILIES)('streams both ways arrive whole: IPv%i', async (family) => {
      const there = await startProbe(other).receiver(OTHER[family]);
      const sent = await startProbe(pod).transfer(there, TRANSFER_BYTES, 'there', TRANSFER_TIMEOUT_MS);
      expect(sent.receipt).toMatchObject({ bytes: TRANSFER_BYTES, sha256: sent.sha256 });
      const here = await startProbe(pod).receiver(pod.address(family));
      const back = await startProbe(other).transfer(here, TRANSFER_BYTES, 'back', TRANSFER_TIMEOUT_MS);
      expect(back.receipt).toMatchObject({ bytes: TRANSFER_BYTES, sha256: back.sha256 });
    });

    test.each(FAMILIES)('datagrams of all sizes come back: IPv%i', async (family) => {
      const echo = await startProbe(other).udpEcho(OTHER[family]);
      const probe = startProbe(pod);
      const sizes = [1, 2, 15, 16, 17, 100, 1000, 1300, 1370, 2000, 9001];
      expect(await probe.udpExchange(pod.address(family), echo, sizes, 1)).toEqual({ wrong: [], lost: [] });
      expect(await probe.udpSegments(pod.address(family), echo, 40, 1200)).toBe(40);
    });

    test('is started anew, and begins', async () => {
      await peer.stop();
      peer = await started();
      await pings(other, pod.address(4));
      await pings(pod, OTHER[6]);
    });

    test('an agent is started anew, and begins', async () => {
      const [node] = lab.nodes;
      await node!.stop();
      node!.start();
      await lab.ready();
      await pings(pod, OTHER[4]);
      await pings(other, pod.address(6));
    });

    test('nothing was refused', async () => {
      const { drops } = (await lab.node(1).view()).status.datapath;
      // Who has no time to answer is asked again after 250 ms, and its first answer is of no use then.
      const mayBe = 'inbound-handshake-refused';
      const refused = Object.entries(drops).filter(
        ([name, count]) => name.startsWith('inbound') && name !== mayBe && count > 0,
      );
      expect(refused).toEqual([]);
    });
  });
});
