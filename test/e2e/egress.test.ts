/** Pods on their way out of the overlay: under their node's address, and back. */
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import type { LabHost, LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';
import { cleanUp } from '../helpers/agent-cleanup.ts';
import { mustRun } from '../helpers/in-namespace.ts';
import { PATIENTLY } from '../helpers/overlay-endpoints.ts';
import { promised } from '../helpers/promised.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const NAME = 'labegress';
const PROMISED_MS = 2_000;

/** Answers each datagram with the address that it came from. */
const MIRROR = `
const socket = require('node:dgram').createSocket({type: 'udp6'});
socket.on('message', (_bytes, {address, port}) => socket.send(address.replace('::ffff:', ''), port, address));
socket.bind(7, '::', () => console.log('ready'));
`;
/** Asks the mirror at argv[1], from the address argv[2] if there is one, and prints what it says. */
const ASK = `
const [target, source] = process.argv.slice(1);
const socket = require('node:dgram').createSocket(target.includes(':') ? 'udp6' : 'udp4');
socket.on('message', (bytes) => { console.log(String(bytes)); process.exit(0); });
socket.bind(0, source, () => socket.send('?', 7, target));
setTimeout(() => process.exit(1), 15_000);
`;

describeUnless(lacking('root', 'ip', 'ping', 'nsenter', 'nft'), 'the way out of the overlay', () => {
  let lab: Lab;
  let outside: LabHost;
  let friend: LabHost;
  let node: LabNode;
  let other: LabNode;
  let pod: LabPod;
  let far: LabPod;
  const mirrors: ChildProcess[] = [];

  beforeAll(async () => {
    lab = await Lab.up({
      name: NAME,
      nodes: 2,
      pods: 2,
      config: () => ({
        egress: { masquerade: true, except: ['192.0.2.202/32', '2001:db8:0:1::ca/128'] },
      }),
    });
    outside = await lab.addHost('outside');
    friend = await lab.addHost('friend');
    [node, other] = lab.nodes as [LabNode, LabNode];
    pod = await lab.pod(0, 'pod-1');
    far = await lab.pod(1, 'pod-1');
    for (const place of [outside, friend, other, pod, far, await lab.pod(0, 'pod-2')]) {
      const mirror = place.spawn([process.execPath, '-e', MIRROR], { stdio: ['ignore', 'pipe', 'inherit'] });
      mirrors.push(mirror);
      await new Promise((resolve) => mirror.stdout!.once('data', resolve));
    }
    // Who is asked without masquerading needs a route back.
    await mustRun(friend, ['ip', 'route', 'add', '10.42.0.0/16', 'via', node.addresses.ipv4]);
    await mustRun(friend, ['ip', 'route', 'add', 'fd42::/48', 'via', node.addresses.ipv6]);
  });
  afterAll(async () => {
    for (const mirror of mirrors) mirror.kill('SIGKILL');
    await Lab.remove(NAME);
  });

  const seenBy = async (target: string, from: LabPod | LabNode = pod, source?: string) =>
    (
      await from.exec([process.execPath, '-e', ASK, target, ...(source === undefined ? [] : [source])])
    ).stdout.trim();
  const pings = (from: LabPod | LabNode, address: string, wait: readonly string[] = PATIENTLY) =>
    from.exec(['ping', '-n', '-c1', ...wait, address]);
  const ruleset = async (where: LabNode = node) => (await where.exec(['nft', 'list', 'ruleset'])).stdout;

  test('a pod is seen outside under the address of its node, in both families', async () => {
    expect(await seenBy(outside.addresses.ipv4)).toBe(node.addresses.ipv4);
    expect(await seenBy(outside.addresses.ipv6)).toBe(node.addresses.ipv6);
  });

  test("another node's underlay addresses answer a pod", async () => {
    for (const address of Object.values(other.addresses)) expect((await pings(pod, address)).code).toBe(0);
    expect(await seenBy(other.addresses.ipv4)).toBe(node.addresses.ipv4);
    expect(await seenBy(other.addresses.ipv6)).toBe(node.addresses.ipv6);
  });

  test('what is excepted sees the pod', async () => {
    expect(await seenBy(friend.addresses.ipv4)).toBe(pod.address(4));
    expect(await seenBy(friend.addresses.ipv6)).toBe(pod.address(6));
  });

  test('pods see each other, on one node and between two', async () => {
    const near = await lab.pod(0, 'pod-2');
    for (const target of [near, far]) {
      expect(await seenBy(target.address(4))).toBe(pod.address(4));
      expect(await seenBy(target.address(6))).toBe(pod.address(6));
    }
  });

  test('what a node sends to a pod from its underlay address arrives from its overlay address', async () => {
    const { subnets } = (await node.client().status()).lease;
    const own = subnets.map((subnet) => subnet.replace(/0\/24$|\/64$/, '1'));
    expect(own).toContain(await seenBy(far.address(4), node, node.addresses.ipv4));
    expect(own).toContain(await seenBy(far.address(6), node, node.addresses.ipv6));
  });

  /** What kube-proxy writes for services on `node`; with `isTold` it knows the pods' range (--cluster-cidr). */
  const kubeProxy = async (isTold: boolean) => {
    for (const family of ['4', '6'] as const) {
      const [words, [net, bits], pods] =
        family === '4'
          ? ['iptables-nft-restore', ['10.96.0.', '32'], '10.42.0.0/16']
          : ['ip6tables-nft-restore', ['fd96::', '128'], 'fd42::/48'];
      const underlay = (one: LabNode) => (family === '4' ? one.addresses.ipv4 : one.addresses.ipv6);
      const endpoints = [
        [`${net}1/${bits}`, far.address(Number(family) as 4 | 6)],
        [`${net}2/${bits}`, pod.address(Number(family) as 4 | 6)],
        [`${net}3/${bits}`, underlay(other)],
      ] as const;
      const services = endpoints.flatMap(([service, endpoint]) => [
        // A pod that is sent to itself would drop what has its own address.
        `-A KUBE-SERVICES -s ${endpoint} -d ${service} -j KUBE-MARK-MASQ`,
        ...(isTold ? [`-A KUBE-SERVICES ! -s ${pods} -d ${service} -j KUBE-MARK-MASQ`] : []),
        `-A KUBE-SERVICES -d ${service} -j KUBE-DNAT-${endpoint.replaceAll(/[:.]/g, '-').slice(-18)}`,
      ]);
      const targets = endpoints.map(([, endpoint]) => endpoint);
      const chain = (endpoint: string) => `KUBE-DNAT-${endpoint.replaceAll(/[:.]/g, '-').slice(-18)}`;
      const at = (address: string) => (family === '4' ? `${address}:7` : `[${address}]:7`);
      const text = [
        '*nat',
        ...['SERVICES', 'MARK-MASQ', 'POSTROUTING', 'NODEPORTS'].map((name) => `:KUBE-${name} - [0:0]`),
        ...targets.map((endpoint) => `:${chain(endpoint)} - [0:0]`),
        '-A PREROUTING -j KUBE-SERVICES',
        '-A OUTPUT -j KUBE-SERVICES',
        '-A POSTROUTING -j KUBE-POSTROUTING',
        '-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000',
        '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
        '-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000',
        '-A KUBE-POSTROUTING -j MASQUERADE --random-fully',
        ...targets.map(
          (endpoint) => `-A ${chain(endpoint)} -p udp --dport 7 -j DNAT --to-destination ${at(endpoint)}`,
        ),
        ...services,
        // Two ports of the node: one service has endpoints elsewhere, of the other the clients' addresses are kept.
        `-A KUBE-SERVICES -p udp -d ${underlay(node)} --dport 7 -j KUBE-NODEPORTS`,
        `-A KUBE-NODEPORTS -s ${family === '4' ? friend.addresses.ipv4 : friend.addresses.ipv6} -j ${chain(targets[1]!)}`,
        '-A KUBE-NODEPORTS -j KUBE-MARK-MASQ',
        `-A KUBE-NODEPORTS -j ${chain(targets[0]!)}`,
        'COMMIT',
        '',
      ].join('\n');
      await mustRun(node, ['sh', '-c', `printf '%s' '${text}' | ${words}`]);
    }
  };

  test.skipIf(lacking('iptables-nft'))(
    'services of Kubernetes: only what leaves the pods or has to come back is translated',
    async () => {
      await mustRun(node, ['ip', 'route', 'replace', '10.96.0.0/24', 'via', outside.addresses.ipv4]);
      await mustRun(node, ['ip', 'route', 'replace', 'fd96::/64', 'via', outside.addresses.ipv6]);
      const { subnets } = (await node.client().status()).lease;
      const own = subnets.map((subnet) => subnet.replace(/0\/24$|\/64$/, '1'));
      const seen = async (service: string) => ({
        elsewhere: await seenBy(`${service}1`),
        itself: (await seenBy(`${service}2`)) !== '',
        hostNetwork: await seenBy(`${service}3`),
        fromNode: own.includes(await seenBy(`${service}1`, node)),
        fromNodeToOwnPod: (await seenBy(`${service}2`, node)) !== '',
      });
      for (const [isTold, rpFilter] of [
        [false, '1'],
        [true, '2'],
      ] as const) {
        await mustRun(node, ['sysctl', '-qw', `net.ipv4.conf.all.rp_filter=${rpFilter}`]);
        await kubeProxy(isTold);
        for (const [family, service] of [
          [4, '10.96.0.'],
          [6, 'fd96::'],
        ] as const) {
          const ip = family === 4 ? 'ipv4' : 'ipv6';
          expect(
            await seen(service),
            `--cluster-cidr ${isTold}, rp_filter ${rpFilter}, IPv${family}`,
          ).toEqual({
            elsewhere: pod.address(family),
            itself: true,
            hostNetwork: node.addresses[ip],
            fromNode: true,
            fromNodeToOwnPod: true,
          });
          // Probes of a node, of its own pods and of others.
          for (const target of [pod, far]) expect((await pings(node, target.address(family))).code).toBe(0);
          expect(own).toContain(
            (await outside.exec([process.execPath, '-e', ASK, node.addresses[ip]])).stdout.trim(),
          );
          expect((await friend.exec([process.execPath, '-e', ASK, node.addresses[ip]])).stdout.trim()).toBe(
            friend.addresses[ip],
          );
        }
        // Whoever else uses marks finds them as they were.
        expect(await ruleset()).not.toMatch(/egress_warren0[^}]*mark/);
        for (const family of ['ip', 'ip6']) await mustRun(node, ['nft', 'delete', 'table', family, 'nat']);
      }
    },
  );

  test.each([
    ['the chain is flushed', ['flush', 'chain', 'inet', 'warren', 'egress_warren0']],
    ['the table is deleted', ['delete', 'table', 'inet', 'warren']],
    ['all rules are flushed', ['flush', 'ruleset']],
    ['a rule comes first', ['insert', 'rule', 'inet', 'warren', 'egress_warren0', 'accept']],
  ] as const)('when %s it is back within 2 s', async (_what, command) => {
    const before = await ruleset();
    const { rule } = (await node.client().status()).repairs;
    await mustRun(node, ['nft', ...command]);
    const plain = (text: string) =>
      text
        .replaceAll(/packets \d+ bytes \d+/g, '')
        .split('\n')
        .toSorted();
    const isBack = async () =>
      plain(await ruleset()).join() === plain(before).join() &&
      (await node.client().status()).repairs.rule! > rule!;
    await promised(isBack, { withinMs: PROMISED_MS, otherwise: ruleset });
    expect(await seenBy(outside.addresses.ipv4)).toBe(node.addresses.ipv4);
    expect(await seenBy(outside.addresses.ipv6)).toBe(node.addresses.ipv6);
  });

  test("--cleanup leaves another agent's way out, as long as that has its device", async () => {
    const chain = 'inet warren egress_warren1';
    await mustRun(other, ['ip', 'tuntap', 'add', 'warren1', 'mode', 'tun']);
    await mustRun(other, ['nft', `add chain ${chain} { type nat hook postrouting priority 100; }`]);
    await mustRun(other, ['nft', `add rule ${chain} oifname "warren1" masquerade`]);
    await other.stop();
    await cleanUp(other);
    const left = await ruleset(other);
    expect(left).toContain('oifname "warren1" masquerade');
    expect(left).not.toContain('egress_warren0');
    await mustRun(other, ['ip', 'link', 'delete', 'warren1']);
    await cleanUp(other);
    expect(await ruleset(other)).toBe('');
    other.start();
    await lab.ready();
    far = await lab.pod(1, 'pod-1');
  });

  test('without it nothing tracks connections, and --cleanup leaves no rules', async () => {
    await other.stop();
    const config = parse(readFileSync(other.configFile, 'utf8'));
    other.writeConfig({ ...config, egress: { masquerade: false } });
    other.start();
    await lab.ready();
    const isGone = async () => !(await ruleset(other)).includes('nat');
    await promised(isGone, { withinMs: PROMISED_MS, otherwise: () => ruleset(other) });
    expect(await ruleset(other)).toContain('source_check');
    // Its pods then hear nothing from another node's underlay address: no rule over there can help an answer.
    expect((await pings(far, node.addresses.ipv4, ['-W1'])).code).not.toBe(0);
    for (const one of [other, node]) {
      await one.stop();
      await cleanUp(one);
      expect(await ruleset(one)).toBe('');
    }
  });
});
