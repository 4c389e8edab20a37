/**
 * A laptop behind a translator of addresses, with wireguard-go and the file that `warren peer add` prints: it reaches pods of both
 * nodes and is reached by them, over a restart of its home node's agent, until it is removed.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type LabHost, LabNamespace, type LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';
import { cli } from '../helpers/cli.ts';
import { mustRun, stackCounters } from '../helpers/in-namespace.ts';
import { readQuickFile } from '../helpers/memory-wireguard.ts';
import { ping } from '../helpers/overlay-endpoints.ts';
import { Probe } from '../helpers/probe.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { type ThrowawayNetns, throwawayNetns } from '../helpers/throwaway-netns.ts';
import { WireguardGo } from '../helpers/wireguard-go.ts';

const DEVICE = 'wgguest0';
const [ROUTER, LAPTOP] = ['192.168.77.1', '192.168.77.2'];
const FAMILIES = [4, 6] as const;
const TRANSFER_BYTES = 30_000_000;

describeUnless(
  lacking('root', 'ip', 'ping', 'nsenter', 'nft', 'wg', 'wg-quick', 'wireguard-go'),
  'a laptop with wireguard-go behind a translator',
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'warren-guests-'));
    const probes: Probe[] = [];
    let lab: Lab;
    let router: LabHost;
    let netns: ThrowawayNetns;
    let laptop: LabNamespace;
    let wireguard: WireguardGo | undefined;
    let home: LabNode;
    let pods: readonly LabPod[];
    let addresses: readonly string[];

    beforeAll(async () => {
      lab = await Lab.up({
        ...{ name: 'guests', nodes: 2, pods: 1 },
        config: () => ({ encapsulation: { type: 'wireguard' } }),
      });
      home = lab.nodes[0]!;
      pods = await Promise.all(lab.nodes.map(({ name }) => lab.pod(name, 'pod-1')));
      router = await lab.addHost('router');
      netns = throwawayNetns();
      laptop = new LabNamespace(netns.path);
      await behindTranslator();
    });
    afterAll(async () => {
      for (const probe of probes) probe.stop();
      await wireguard?.stop();
      netns?.remove();
      await lab?.down();
      rmSync(folder, { recursive: true });
    });

    async function behindTranslator(): Promise<void> {
      const link = [
        'ip',
        'link',
        'add',
        'inside',
        'type',
        'veth',
        'peer',
        'name',
        'up0',
        'netns',
        netns.path,
      ];
      await mustRun(router, link);
      for (const [where, name, address] of [
        [router, 'inside', ROUTER],
        [laptop, 'up0', LAPTOP],
      ] as const) {
        await mustRun(where, ['ip', 'address', 'add', `${address}/24`, 'dev', name]);
        await mustRun(where, ['ip', 'link', 'set', name, 'up']);
      }
      await mustRun(laptop, ['ip', 'link', 'set', 'lo', 'up']);
      await mustRun(laptop, ['ip', 'route', 'add', 'default', 'via', ROUTER!]);
      await mustRun(router, ['sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
      const rules =
        'table ip nat { chain post { type nat hook postrouting priority 100; oifname "eth0" masquerade; }; }';
      await mustRun(router, ['nft', rules]);
    }

    /** What `wg-quick up` does with the file, by the program that is to run there. */
    async function up(file: string): Promise<void> {
      const path = join(folder, `${DEVICE}.conf`);
      writeFileSync(path, file, { mode: 0o600 });
      wireguard = await WireguardGo.start(netns, DEVICE);
      const stripped = join(folder, 'stripped.conf');
      writeFileSync(stripped, await mustRun(laptop, ['wg-quick', 'strip', path]), { mode: 0o600 });
      await mustRun(laptop, ['wg', 'setconf', DEVICE, stripped]);
      const values = readQuickFile(file);
      await mustRun(laptop, ['ip', 'link', 'set', DEVICE, 'mtu', values['Interface.MTU']!, 'up']);
      for (const address of values['Interface.Address']!.split(', '))
        await mustRun(laptop, [
          'ip',
          'address',
          'add',
          address,
          'dev',
          DEVICE,
          ...(address.includes(':') ? ['nodad'] : []),
        ]);
      for (const range of values['Peer.AllowedIPs']!.split(', '))
        await mustRun(laptop, ['ip', 'route', 'add', range, 'dev', DEVICE]);
    }

    const warren = (...argv: readonly string[]) => cli([...argv, '-s', home.socket]);

    async function reaches(from: LabNamespace, to: string): Promise<void> {
      const { code, stdout } = await ping(from, to);
      expect(code, `${to}: ${stdout}`).toBe(0);
    }

    /** The nodes agree on keys anew meanwhile, too. The laptop would find out by itself after fifteen seconds. */
    async function reachesSoon(from: LabNamespace, to: string): Promise<void> {
      const isAnswered = async () => (await ping(from, to, ['-W', '1'])).code;
      await expect.poll(isAnswered, { timeout: 6_000, interval: 100 }).toBe(0);
    }

    test('comes up with the file as it is printed', async () => {
      const { code, stdout, stderr } = await warren('peer', 'add', 'laptop', '--wireguard');
      expect(code, stderr).toBe(0);
      addresses = readQuickFile(stdout)
        ['Interface.Address']!.split(', ')
        .map((one) => one.split('/')[0]!);
      await up(stdout);
    });

    test.each(FAMILIES)('reaches pods of both nodes, and they reach it: IPv%i', async (family) => {
      for (const pod of pods) await reaches(laptop, pod.address(family));
      for (const pod of pods) await reaches(pod, addresses[family === 4 ? 0 : 1]!);
    });

    test('is shown with its last handshake, where it is and what went there', async () => {
      const peers = await home.client().peers();
      const found = peers.find(({ name }) => name === 'laptop')!;
      expect(found).toMatchObject({ kind: 'wireguard', mtu: 1420 });
      expect(found.endpoint).toMatch(new RegExp(`^${router.addresses.ipv4}:\\d+$`));
      expect(found.handshakeAgeSeconds).toBeLessThan(60);
      expect(found.inbound.packets).toBeGreaterThanOrEqual(8);
      expect((await warren('peers')).stdout).toMatch(/^laptop +wireguard .* \d+s ago /m);
    });

    test.each(FAMILIES)('streams with a pod of the other node arrive whole: IPv%i', async (family) => {
      const own = addresses[family === 4 ? 0 : 1]!;
      const probe = (where: LabNamespace) => {
        const made = new Probe(where);
        probes.push(made);
        return made;
      };
      const there = await probe(pods[1]!).receiver(pods[1]!.address(family));
      const sent = await probe(laptop).transfer(there, TRANSFER_BYTES, 'there');
      expect(sent.receipt).toMatchObject({ bytes: TRANSFER_BYTES, sha256: sent.sha256 });
      const here = await probe(laptop).receiver(own);
      const back = await probe(pods[1]!).transfer(here, TRANSFER_BYTES, 'back');
      expect(back.receipt).toMatchObject({ bytes: TRANSFER_BYTES, sha256: back.sha256 });
    });

    test('its home node sends nobody a redirect, and dropped nothing', async () => {
      expect(await stackCounters(home, 'IcmpOutRedirects', 'Icmp6OutRedirects')).toEqual({
        ...{ IcmpOutRedirects: 0, Icmp6OutRedirects: 0 },
      });
      const { drops } = (await home.view()).status.datapath;
      const refused = ['inbound-foreign-source', 'inbound-not-local', 'outbound-foreign-source'];
      expect(refused.map((name) => drops[name])).toEqual([0, 0, 0]);
    });

    test('is there again after a restart of the agent, though it says nothing first', async () => {
      await home.restart();
      await lab.ready();
      for (const pod of pods) for (const address of addresses) await reachesSoon(pod, address);
      for (const pod of pods) await reaches(laptop, pod.address(4));
      expect((await warren('peer', 'list', '--json')).stdout).toContain(addresses[0]);
    });

    test('is out within a second of its removal', async () => {
      const removed = await warren('peer', 'rm', 'laptop');
      expect(removed).toMatchObject({ code: 0, stdout: 'laptop is removed.\n' });
      const answers = await Promise.all([
        ...pods.map((pod) => ping(laptop, pod.address(4), ['-W', '1'])),
        ...pods.map((pod) => ping(pod, addresses[0]!, ['-W', '1'])),
      ]);
      expect(answers.map(({ code }) => code)).toEqual([1, 1, 1, 1]);
      const { status, peers } = await home.view();
      expect(status.datapath.drops['inbound-no-session']).toBeGreaterThan(0);
      expect(peers.map(({ name }) => name)).toEqual([lab.nodes[1]!.name]);
      const route = await home.exec(['ip', 'route', 'get', addresses[0]!]);
      expect(route.stderr).toMatch(/No route to host/);
    });
  },
);
