/**
 * The TUN device over an agent's life: what an agent lacks it says at once, what it made stays across a restart,
 * and `agent --cleanup` takes it away.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { Lab } from '../../src/lab/lab.ts';
import { builtFile } from '../../src/package.ts';
import { output } from '../helpers/command.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const warren = builtFile('bin/warren');

describeUnless(
  lacking('root', 'ip', 'nsenter', 'unshare', 'setpriv'),
  'an agent that cannot have its devices',
  () => {
    let folder: string;
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'warren-tun-test-'));
    });
    afterEach(() => rmSync(folder, { recursive: true }));

    /** Runs an agent in a network namespace of its own that has a link with an address, behind `prefix`. */
    function runAgent(options: { prefix?: string[]; before?: string; config?: string } = {}) {
      const file = join(folder, 'config.yaml');
      const config = [
        `node: {name: tun-test, stateDir: ${folder}/state, socket: ${folder}/agent.sock}`,
        'cluster: {podCidrs: [10.42.0.0/16]}',
        'underlay: {address: 192.0.2.1}',
        'encapsulation: {type: vxlan-gpe}',
        options.config ?? '',
      ];
      writeFileSync(file, `${config.join('\n')}\n`);
      const setUp =
        'ip link set lo up && ip link add e0 type veth peer name e1 && ip address add 192.0.2.1/24 dev e0 && ip link set e0 up';
      const script = `${setUp} && ${options.before ?? 'true'} && exec "$@"`;
      const agent = [...(options.prefix ?? []), process.execPath, warren, 'agent', '-c', file];
      return spawnSync('unshare', ['--net', '--mount', 'sh', '-c', script, 'sh', ...agent], {
        encoding: 'utf8',
        timeout: 20_000,
      });
    }

    it.each([
      [
        'no /dev/net/tun',
        { before: 'mount -t tmpfs none /dev/net' },
        /\/dev\/net\/tun\).*ENOENT/,
        /modprobe tun.*--device/,
      ],
      [
        'no CAP_NET_ADMIN',
        { prefix: ['setpriv', '--inh-caps=-net_admin', '--bounding-set=-net_admin'] },
        /EPERM/,
        /CAP_NET_ADMIN|NET_ADMIN/,
      ],
      [
        'a device of that name that is no TUN',
        { before: 'ip link add warren0 type bridge' },
        /TUN device warren0.*TUNSETIFF.*EINVAL/,
        /ip link delete.*tun\.name/,
      ],
    ])('says so: %s', (_what, options, message, hint) => {
      const { status, stderr } = runAgent(options);
      expect(stderr).toMatch(message);
      expect(stderr).toMatch(hint);
      expect(stderr).not.toMatch(/^\s+at /m);
      expect(status).toBe(1);
    });

    it('says so: another user than root', () => {
      chmodSync(folder, 0o755);
      const { status, stderr } = runAgent({
        prefix: ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'],
      });
      expect(stderr).toMatch(/cannot make the state folder .*EACCES/);
      expect(stderr).toMatch(/Run as root.*node\.stateDir/);
      expect(stderr).not.toMatch(/bug|^\s+at /m);
      expect(status).toBe(1);
    });

    it('says so: the port is taken', () => {
      const holder = `require('dgram').createSocket('udp4').bind(4790, '192.0.2.1', () => console.log('bound'))`;
      const { status, stderr } = runAgent({
        before: `{ ${process.execPath} -e "${holder}" > ${folder}/holder & } && until grep -q bound ${folder}/holder; do :; done && trap 'kill $!' EXIT && "$@"; exit`,
      });
      expect(stderr).toMatch(/underlay socket to 192\.0\.2\.1:4790.*EADDRINUSE/);
      expect(stderr).toMatch(/encapsulation\.port/);
      expect(status).toBe(1);
    });
  },
);

describeUnless(lacking('root', 'ip', 'ping', 'nsenter'), 'the TUN device', () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.up({
      name: 'tundevice',
      nodes: 2,
      pods: 1,
      config: () => ({ datapath: { workers: 2 } }),
    });
  });
  afterAll(() => lab?.down());

  async function link(): Promise<{ ifindex: number; mtu: number }> {
    return JSON.parse(
      await output(['ip', '-json', '-n', 'warrenlab-tundevice-a', 'link', 'show', 'dev', 'warren0']),
    )[0];
  }

  it('refuses router advertisements, as every interface that was made does', async () => {
    const node = lab.node(0);
    const pod = await lab.pod(node.name, 'pod-1');
    const names = (JSON.parse((await node.exec(['ip', '-json', 'link'])).stdout) as { ifname: string }[])
      .map(({ ifname }) => ifname)
      .filter((name) => /^(warren0|wp)/.test(name));
    expect(names).toHaveLength(2);
    for (const name of names) {
      expect(
        (await node.exec(['cat', `/proc/sys/net/ipv6/conf/${name}/accept_ra`])).stdout.trim(),
        name,
      ).toBe('0');
    }
    expect((await pod.exec(['cat', '/proc/sys/net/ipv6/conf/eth0/accept_ra'])).stdout.trim()).toBe('0');
  });

  it('has one agent: a second one of that network namespace is refused, and so is its --cleanup', async () => {
    const node = lab.node(0);
    const folder = mkdtempSync(join(tmpdir(), 'warren-tun-test-'));
    try {
      const file = join(folder, 'config.yaml');
      // All its own, but for the name of the device.
      const config = [
        `node: {name: second, stateDir: ${folder}/state, socket: ${folder}/agent.sock}`,
        'cluster: {podCidrs: [10.99.0.0/16]}',
        'underlay: {address: 192.0.2.1, gossipPort: 7999}',
        'encapsulation: {type: vxlan-gpe, port: 4999}',
      ];
      writeFileSync(file, `${config.join('\n')}\n`);
      const before = await link();
      for (const flags of [[], ['--cleanup']]) {
        const second = await node.exec([process.execPath, warren, 'agent', '-c', file, ...flags]);
        expect(second.stderr).toMatch(/another agent holds the TUN device warren0/);
        expect(second.stderr).toMatch(/tun\.name/);
        expect(second.code).toBe(1);
      }
      expect(await link()).toEqual(before);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('stays when the agent ends, with addresses and routes, and is taken over by the next one', async () => {
    const node = lab.node(0);
    const before = await link();
    const routes = () => output(['ip', '-n', 'warrenlab-tundevice-a', 'route', 'show', 'proto', '87']);
    const routesBefore = await routes();
    await node.stop();
    expect((await link()).ifindex).toBe(before.ifindex);
    expect((await routes()).replaceAll(' linkdown', '')).toBe(routesBefore);
    await node.start();
    await lab.ready();
    expect(await link()).toMatchObject({ ifindex: before.ifindex, mtu: before.mtu });
    const [first, second] = await Promise.all(lab.nodes.map(({ name }) => lab.pod(name, 'pod-1')));
    for (const family of [4, 6] as const) {
      expect((await first!.exec(['ping', '-c', '1', '-W', '2', second!.address(family)])).code).toBe(0);
    }
  });

  it('is removed by agent --cleanup, with pods and routes; not while an agent runs', async () => {
    const node = lab.node(0);
    const cleanup = () => node.exec([process.execPath, warren, 'agent', '-c', node.configFile, '--cleanup']);
    const refused = await cleanup();
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/an agent is running/);
    await node.stop();
    expect(await cleanup()).toMatchObject({ code: 0, stderr: expect.not.stringMatching(/error/i) });
    expect(await output(['ip', '-n', 'warrenlab-tundevice-a', '-br', 'link'])).not.toMatch(
      /warren0|wp[0-9a-f]/,
    );
    expect(await output(['ip', '-n', 'warrenlab-tundevice-a', 'route', 'show', 'proto', '87'])).toBe('');
    expect(await output(['ip', 'netns'])).not.toContain('warren-tundevice-a-pod-1');
    const subnets = (await lab.node(1).view()).peers.map((peer) => peer.subnets);
    await node.start();
    await lab.ready();
    expect((await lab.node(1).view()).peers.map((peer) => peer.subnets)).toEqual(subnets);
  });
});
