/** Whatever others do to the TUN device, its addresses, its routes and the underlay: the agent puts it right. */
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { setSysctls } from '../../src/host/sysctl.ts';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';
import { promised } from '../helpers/promised.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const NAME = 'labrepair';
/** What the agent promises. */
const PROMISED_MS = 2_000;
/** Two pings, each of which may be lost. */
const LOOK_MS = 700;

describeUnless(lacking('root', 'ip', 'ping', 'nsenter'), 'a host changed from outside', () => {
  let lab: Lab;
  let node: LabNode;
  let other: LabNode;

  beforeAll(async () => {
    lab = await Lab.up({
      encapsulation: 'vxlan-gpe',
      name: NAME,
      nodes: 3,
      pods: 1,
      config: (_node, nodes) => ({
        underlay: { address: 'auto' },
        cluster: { seeds: nodes.map(({ underlayAddress }) => `${underlayAddress}:7946`) },
      }),
    });
    [node, other] = lab.nodes as [LabNode, LabNode];
  });
  afterAll(() => Lab.remove(NAME));

  async function ip(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await node.exec(['ip', ...args]);
    expect(code, `ip ${args.join(' ')}: ${stderr}`).toBe(0);
    return stdout;
  }

  const within = (withinMs: number, what: string, holds: () => Promise<boolean>): Promise<number> =>
    promised(holds, {
      ...{ withinMs, lookMs: LOOK_MS },
      otherwise: () => `${what}\n${node.log().split('\n').slice(-20).join('\n')}`,
    });

  // A lost ping is waited for no longer than this, so that what is measured is the repair and not the ping.
  const podPings = async (): Promise<boolean> => {
    const pod = await lab.pod(0, 'pod-1');
    for (const address of (await lab.pod(1, 'pod-1')).addresses) {
      if ((await pod.exec(['ping', '-c1', '-W0.25', address])).code !== 0) return false;
    }
    return true;
  };
  const repairs = async (kind: string) => (await node.client().status()).repairs[kind]!;
  const onTun = async () => {
    const addresses = await ip('-brief', 'address', 'show', 'dev', 'warren0');
    const routes = await ip('route', 'show', 'table', 'all', 'dev', 'warren0');
    const link = await ip('-oneline', 'link', 'show', 'dev', 'warren0');
    return `${/mtu \d+/.exec(link)}\n${addresses}${routes}`.replaceAll(/ +/g, ' ');
  };

  test.each([
    ['an address', 'address', ['address', 'flush', 'dev', 'warren0']],
    ['a route', 'route', ['route', 'delete', '10.42.0.0/16', 'dev', 'warren0']],
    ['an IPv6 route', 'route', ['-6', 'route', 'delete', 'fd42::/48', 'dev', 'warren0']],
    ['the link, set down', 'link', ['link', 'set', 'warren0', 'down']],
    ['its MTU', 'link', ['link', 'set', 'warren0', 'mtu', '1300']],
    ['a strange address', 'address', ['address', 'add', '10.42.250.1/32', 'dev', 'warren0']],
  ] as const)('puts back %s', async (_what, kind, command) => {
    const before = await onTun();
    const counted = await repairs(kind);
    await ip(...command);
    await within(PROMISED_MS, `${before}\nis there again, and counted`, async () => {
      return (await onTun()) === before && (await repairs(kind)) > counted;
    });
    await within(PROMISED_MS, 'pods reach each other', podPings);
  });

  test.each(['route', 'link', 'interface'] as const)('puts back the %s of a pod', async (what) => {
    const [pod] = await node.client().pods();
    const { hostInterface, addresses } = pod!;
    const routes = async () =>
      `${await ip('route', 'show', 'dev', hostInterface)}${await ip('-6', 'route', 'show', 'dev', hostInterface)}`;
    const before = await routes();
    const counted = await repairs('pod');
    if (what === 'route') await ip('route', 'delete', addresses[0]!, 'dev', hostInterface);
    else if (what === 'link') await ip('link', 'set', hostInterface, 'down');
    else await ip('link', 'delete', hostInterface);
    await within(PROMISED_MS, 'it is counted', async () => (await repairs('pod')) > counted);
    expect(await routes()).toBe(before);
    await within(PROMISED_MS, 'pods reach each other', podPings);
  });

  test('makes a deleted TUN device anew, and the packet path with it', async () => {
    const before = await onTun();
    const { pid } = node;
    await ip('link', 'delete', 'warren0');
    const exists = async () => (await node.exec(['ip', 'link', 'show', 'warren0'])).code === 0;
    await within(
      PROMISED_MS,
      'the device and all on it',
      async () => (await exists()) && (await onTun()) === before,
    );
    await within(PROMISED_MS, 'pods reach each other', podPings);
    await within(PROMISED_MS, 'it is counted', async () => (await repairs('device')) === 1);
    expect(node.pid).toBe(pid);
  });

  test('lets the MTU of the link reach the TUN device, the pods and the other nodes', async () => {
    const pod = await lab.pod(0, 'pod-1');
    const { hostInterface } = (await node.client().pods())[0]!;
    const id = (await node.client().status()).node.id;
    const follow = async (mtu: number) => {
      const overlay = mtu - 36;
      await ip('link', 'set', 'eth0', 'mtu', String(mtu));
      await within(PROMISED_MS, `an overlay MTU of ${overlay} everywhere`, async () => {
        const tun = await ip('-oneline', '-details', 'link', 'show', 'dev', 'warren0');
        const outer = await ip('-oneline', 'link', 'show', 'dev', hostInterface);
        const inner = await pod.exec(['ip', '-oneline', '-details', 'link', 'show', 'dev', 'eth0']);
        const segments = Math.floor(65_507 / (overlay + 8));
        const { underlay, tun: reported } = await node.client().status();
        const seen = (await other.client().peers()).find((peer) => peer.id === id)?.mtu;
        return (
          [tun, outer, inner.stdout].every((link) => link.includes(`mtu ${overlay} `)) &&
          [tun, inner.stdout].every((link) => link.includes(`gso_max_segs ${segments} `)) &&
          underlay.mtu === mtu &&
          reported.mtu === overlay &&
          seen === overlay
        );
      });
      await within(PROMISED_MS, 'pods reach each other', podPings);
    };
    await follow(1440);
    // The other way too, what the other node sends there is cut to what its link takes.
    const far = await lab.pod(1, 'pod-1');
    const big = await far.exec([
      'ping',
      '-c1',
      '-W1',
      '-M',
      'do',
      '-s',
      String(1405 - 28),
      pod.addresses[0]!,
    ]);
    expect(big.code, big.stdout).not.toBe(0);
    expect(big.stdout + big.stderr).toMatch(/mtu ?= ?1404/);
    await follow(1500);
  });

  test('goes on watching when the program that watches is killed', async () => {
    const children = await node.exec(['cat', `/proc/${node.pid}/task/${node.pid}/children`]);
    const monitors: number[] = [];
    for (const pid of children.stdout.trim().split(/\s+/).map(Number)) {
      const program = (await node.exec(['cat', `/proc/${pid}/cmdline`])).stdout;
      if (program.includes('monitor')) monitors.push(pid);
    }
    expect(monitors).toHaveLength(1);
    process.kill(monitors[0]!, 'SIGKILL');
    const before = await onTun();
    await ip('route', 'delete', '10.42.0.0/16', 'dev', 'warren0');
    await within(2 * PROMISED_MS, 'the route', async () => (await onTun()) === before);
  });

  test('moves to another underlay address as the same node with the same lease and pods', async () => {
    const before = await node.view();
    const id = before.status.node.id;
    await ip('address', 'add', '192.0.2.77/24', 'dev', 'eth0');
    await ip('address', 'delete', '192.0.2.1/24', 'dev', 'eth0');
    // The second address of a subnet goes with the first.
    await node.exec(['ip', 'address', 'add', '192.0.2.77/24', 'dev', 'eth0']);
    const tookMs = await within(PROMISED_MS, 'pods reach each other', podPings);
    const back = await other.waitFor(
      'the peer at its new address',
      ({ peers }) => peers.some((peer) => peer.id === id && peer.endpoint === '192.0.2.77:4790'),
      { timeoutMs: PROMISED_MS },
    );
    expect(back.peers.find((peer) => peer.id === id)!.status).toBe('alive');
    const after = await node.view();
    expect(after.status.lease).toEqual(before.status.lease);
    expect(after.pods).toEqual(before.pods);
    expect(after.status.underlay.address).toBe('192.0.2.77');
    await within(PROMISED_MS, 'it is counted', async () => (await repairs('underlay')) === 1);
    console.log(`reachable again ${Math.round(tookMs)} ms after its address changed`);
    await noNodeIsMissed();
  });

  test('moves in the end when the new address cannot be used at first', async () => {
    // Another program has the port at the address that is to come.
    await setSysctls(['net/ipv4/ip_nonlocal_bind'], '1', { netns: node.netns });
    const program = `require('dgram').createSocket('udp4').bind(4790, '192.0.2.78', () => console.log('bound'))`;
    const holder = node.spawn([process.execPath, '-e', program]);
    await once(holder.stdout!, 'data');
    await ip('address', 'add', '192.0.2.78/24', 'dev', 'eth0');
    await ip('address', 'delete', '192.0.2.77/24', 'dev', 'eth0');
    await node.exec(['ip', 'address', 'add', '192.0.2.78/24', 'dev', 'eth0']);
    await within(2 * PROMISED_MS, 'the agent says what is in its way', async () =>
      node.log().includes('192.0.2.78:4790: bind failed with EADDRINUSE'),
    );
    holder.kill('SIGKILL');
    await within(2 * PROMISED_MS, 'pods reach each other', podPings);
    expect(await repairs('underlay')).toBe(2);
    await noNodeIsMissed();
  });

  /** Everybody has probed everybody several times over, and nobody holds anybody for dead. */
  async function noNodeIsMissed(): Promise<void> {
    const gossip = async () =>
      Promise.all(lab.nodes.map(async (one) => (await one.client().status()).gossip));
    const before = await gossip();
    await within(20_000, 'everybody has probed', async () =>
      (await gossip()).every(({ probes }, i) => probes! >= before[i]!.probes! + 10),
    );
    expect((await gossip()).map(({ deaths }) => deaths)).toEqual(lab.nodes.map(() => 0));
    for (const one of lab.nodes) {
      expect((await one.client().peers()).map(({ status }) => status)).toEqual(['alive', 'alive']);
    }
  }
});
