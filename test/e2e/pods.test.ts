/** Named pods on real namespaces; the interfaces are made by a thread of the build. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { enableForwarding } from '../../src/host/forwarding.ts';
import { parsePrefix } from '../../src/ip/prefix.ts';
import { type RealPods, type RealPodsOptions, realPods } from '../helpers/pods.ts';
import { NO_NETNS, type ThrowawayNetns, throwawayNetns } from '../helpers/throwaway-netns.ts';

const inPod = (netns: string, ...argv: string[]) =>
  execFileSync('nsenter', [`--net=${netns}`, '--', ...argv], { encoding: 'utf8', stdio: 'pipe' });

describe.skipIf(NO_NETNS)(`pods${NO_NETNS ? ` (skipped: ${NO_NETNS})` : ''}`, () => {
  let node: ThrowawayNetns;
  let stateDir: string;
  const extra: ThrowawayNetns[] = [];
  const opened: RealPods[] = [];

  beforeEach(async () => {
    node = throwawayNetns();
    stateDir = mkdtempSync(join(tmpdir(), 'warren-pods-test-'));
    // What the agent does before it makes pods: its own overlay address, and forwarding.
    node.run('ip', 'link', 'set', 'dev', 'lo', 'up');
    node.run('ip', 'address', 'add', '10.42.3.1/32', 'dev', 'lo');
    node.run('ip', 'address', 'add', 'fd42:0:0:3::1/128', 'dev', 'lo', 'nodad');
    await enableForwarding(new Set([4, 6]), 'lo', { netns: node.path });
  });

  afterEach(async () => {
    await build().attachments.deleteAll();
    for (const one of opened.splice(0)) await one.close();
    for (const ns of extra.splice(0)) ns.remove();
    node.remove();
    rmSync(stateDir, { recursive: true });
  });

  const build = (options: Partial<RealPodsOptions> = {}): RealPods => {
    const made = realPods({
      node: node.name,
      stateDir,
      subnets: [parsePrefix('10.42.3.0/24'), parsePrefix('fd42:0:0:3::/64')],
      netns: node.path,
      ...options,
    });
    opened.push(made);
    return made;
  };
  const manager = (options: Partial<RealPodsOptions> = {}) => build(options).pods;

  it('reach the node and each other over both families at once, without address checks that take time', async () => {
    const pods = manager();
    const [web, db] = await Promise.all([pods.add('web'), pods.add('db')]);
    expect(web).toMatchObject({
      name: 'web',
      addresses: ['10.42.3.2', 'fd42:0:0:3::2'],
      netns: `/run/netns/warren-${node.name}-web`,
      status: 'ready',
      static: false,
    });
    expect(db.addresses).toEqual(['10.42.3.3', 'fd42:0:0:3::3']);
    expect(web.hostInterface).toMatch(/^wp[0-9a-f]{12}$/);
    expect(pods.list()).toEqual([web, db]);
    for (const target of ['10.42.3.1', 'fd42:0:0:3::1', ...db.addresses]) {
      expect(inPod(web.netns, 'ping', '-n', '-c1', '-W2', target)).toContain(' 0% packet loss');
    }
    for (const target of db.addresses) {
      expect(node.run('ping', '-n', '-c1', '-W2', target)).toContain(' 0% packet loss');
    }
    // The node shows its pods its overlay address, whatever other addresses it has.
    expect(node.run('ip', 'route', 'show', '10.42.3.2')).toContain(' src 10.42.3.1 ');
    expect(inPod(web.netns, 'ip', 'link', 'show', 'dev', 'eth0')).toContain(' mtu 1400 ');
    const hostEnd = `/proc/sys/net/ipv6/conf/${web.hostInterface}/accept_ra`;
    expect(node.run('cat', hostEnd, `/proc/sys/net/ipv4/conf/${web.hostInterface}/rp_filter`)).toBe('0\n1\n');
    expect(inPod(web.netns, 'cat', '/proc/sys/net/ipv6/conf/eth0/accept_ra')).toBe('0\n');
  });

  it('cannot send from an IPv4 address that is not their own', async () => {
    const pods = manager();
    const web = await pods.add('web');
    inPod(web.netns, 'ip', 'address', 'add', '10.42.3.99/32', 'dev', 'eth0');
    const ping = (source: string) => inPod(web.netns, 'ping', '-n', '-c1', '-W1', '-I', source, '10.42.3.1');
    expect(ping('10.42.3.2')).toContain(' 0% packet loss');
    expect(() => ping('10.42.3.99')).toThrow();
  });

  it('are left untouched by a restart, down to the interface and its addresses', async () => {
    const web = await manager().add('web');
    // The kernel takes the mark off the link's own address when it gets to it.
    const look = (): unknown =>
      JSON.parse(inPod(web.netns, 'ip', '-json', 'address', 'show', 'dev', 'eth0'), (key, value) =>
        key === 'tentative' ? undefined : value,
      );
    const before = look();
    const restarted = manager();
    await restarted.restore();
    expect(restarted.list()).toEqual([web]);
    expect(look()).toEqual(before);
    expect(node.run('ip', 'route', 'get', '10.42.3.2')).toContain(web.hostInterface);
  });

  it('are repaired where something is missing', async () => {
    const first = manager();
    const web = await first.add('web');
    const db = await first.add('db');
    const cache = await first.add('cache');
    node.run('ip', 'link', 'delete', 'dev', web.hostInterface);
    execFileSync('ip', ['netns', 'delete', `warren-${node.name}-db`]);
    // What a reboot leaves of a namespace: a file that is none.
    writeFileSync(db.netns, '');
    inPod(cache.netns, 'ip', 'route', 'flush', 'default');
    inPod(cache.netns, 'ip', 'address', 'add', '10.42.3.77/32', 'dev', 'eth0');
    expect(
      manager()
        .list()
        .map(({ status }) => status),
    ).toEqual(['ready', 'missing', 'ready']);
    const again = manager();
    await again.restore();
    expect(again.list()).toEqual([web, db, cache]);
    for (const pod of [web, db, cache]) {
      for (const target of ['10.42.3.1', 'fd42:0:0:3::1']) {
        expect(inPod(pod.netns, 'ping', '-n', '-c1', '-W2', target)).toContain(' 0% packet loss');
      }
    }
    expect(inPod(cache.netns, 'ip', 'address', 'show', 'dev', 'eth0')).not.toContain('10.42.3.77');
  });

  it('keep an open TCP connection over a restart', async () => {
    const web = await manager().add('web');
    const script = (code: string) => ['-e', code];
    const listener = `require('net').createServer(s => s.pipe(s)).listen(7, '0.0.0.0', () => console.log('up'))`;
    const server = spawn('nsenter', [`--net=${web.netns}`, process.execPath, ...script(listener)]);
    await new Promise((resolve) => server.stdout.once('data', resolve));
    const client = spawn('nsenter', [
      `--net=${node.path}`,
      process.execPath,
      ...script(
        `const s = require('net').connect(7, '10.42.3.2'); process.stdin.pipe(s).pipe(process.stdout)`,
      ),
    ]);
    const echo = async (text: string) => {
      const answer = new Promise((resolve) => client.stdout.once('data', (data) => resolve(String(data))));
      client.stdin.write(text);
      return answer;
    };
    try {
      expect(await echo('before')).toBe('before');
      await manager().restore();
      expect(await echo('after')).toBe('after');
    } finally {
      server.kill();
      client.kill();
    }
  });

  it('get the next address, not the one just freed, also after a restart', async () => {
    const pods = manager();
    await pods.add('a');
    await pods.remove('a');
    expect(existsSync(`/run/netns/warren-${node.name}-a`)).toBe(false);
    expect((await pods.add('b')).addresses).toEqual(['10.42.3.3', 'fd42:0:0:3::3']);
    await pods.remove('b');
    expect((await manager().add('c')).addresses).toEqual(['10.42.3.4', 'fd42:0:0:3::4']);
  });

  it('take a namespace that exists, and leave it there', async () => {
    const ns = throwawayNetns();
    extra.push(ns);
    const pods = manager();
    const pod = await pods.add('given', { netns: ns.path });
    expect(pod.netns).toBe(ns.path);
    expect(ns.run('ping', '-n', '-c1', '-W2', '10.42.3.1')).toContain(' 0% packet loss');
    await expect(pods.add('twice', { netns: ns.path })).rejects.toMatchObject({ code: 'POD_NETNS_TAKEN' });
    await pods.remove('given');
    expect(() => ns.run('ip', 'link', 'show', 'dev', 'eth0')).toThrow(/does not exist/);
  });

  it('whose given namespace is gone are missing, and keep their addresses', async () => {
    const ns = throwawayNetns();
    await manager().add('given', { netns: ns.path });
    ns.remove();
    const pods = manager();
    await pods.restore();
    expect(pods.list()).toMatchObject([
      { name: 'given', status: 'missing', addresses: ['10.42.3.2', 'fd42:0:0:3::2'] },
    ]);
    expect((await pods.add('next')).addresses[0]).toBe('10.42.3.3');
    await pods.remove('given');
    expect(pods.list().map(({ name }) => name)).toEqual(['next']);
  });

  it('are refused with a reason, and leave nothing behind', async () => {
    const pods = manager();
    const ns = throwawayNetns();
    extra.push(ns);
    ns.run('ip', 'link', 'add', 'name', 'eth0', 'type', 'bridge');
    const stray = `/run/netns/warren-${node.name}-stray`;
    execFileSync('ip', ['netns', 'add', `warren-${node.name}-stray`]);
    try {
      await pods.add('web');
      const refused: [string, string | undefined, string][] = [
        ['web', undefined, 'POD_EXISTS'],
        ['Web', undefined, 'POD_NAME_INVALID'],
        ['-', undefined, 'POD_NAME_INVALID'],
        ['../x', undefined, 'POD_NAME_INVALID'],
        ['a'.repeat(64), undefined, 'POD_NAME_INVALID'],
        ['x', 'relative', 'POD_NETNS_MISSING'],
        ['x', '/no/such/path', 'POD_NETNS_MISSING'],
        ['x', '/etc/passwd', 'POD_NETNS_MISSING'],
        ['x', node.path, 'POD_NETNS_IS_NODE'],
        ['x', ns.path, 'POD_INTERFACE_EXISTS'],
        ['stray', undefined, 'POD_NETNS_EXISTS'],
      ];
      const before = node.run('ip', '-o', 'link');
      for (const [name, netns, code] of refused) {
        await expect(pods.add(name, { netns })).rejects.toMatchObject({ code });
      }
      expect(node.run('ip', '-o', 'link')).toBe(before);
      expect(pods.list().map(({ name }) => name)).toEqual(['web']);
      expect(readFileSync(join(stateDir, 'attachments.json'), 'utf8')).not.toContain('"x"');
      expect(existsSync(stray)).toBe(true);
      await expect(pods.remove('x')).rejects.toMatchObject({ code: 'POD_UNKNOWN' });
    } finally {
      execFileSync('ip', ['netns', 'delete', `warren-${node.name}-stray`]);
    }
  });

  it('roll back what was made when a later step fails', async () => {
    // The namespace is made first; then an interface of this size is refused.
    const pods = manager({ limits: { mtu: 70_000, gsoMaxSegments: 44 } });
    await expect(pods.add('big')).rejects.toMatchObject({ code: 'HOST_NETLINK_FAILED' });
    expect(pods.list()).toEqual([]);
    expect(existsSync(`/run/netns/warren-${node.name}-big`)).toBe(false);
    expect(manager().list()).toEqual([]);
  });

  it('end where the subnet does, with all addresses named as taken', async () => {
    const pods = manager({ subnets: [parsePrefix('10.42.3.0/30')] });
    expect((await pods.add('only')).addresses).toEqual(['10.42.3.2']);
    await expect(pods.add('more')).rejects.toMatchObject({
      code: 'POD_SUBNET_EXHAUSTED',
      message: expect.stringContaining('10.42.3.0/30 has no free address: all 1 are taken'),
    });
    await expect(manager({ subnets: [] }).add('none')).rejects.toMatchObject({ code: 'POD_NO_SUBNET' });
  });

  it('of the configuration are made, kept, and go when they are no longer listed', async () => {
    const pods = manager({ staticPods: ['web', 'db'] });
    await pods.restore();
    expect(pods.list().map((pod) => [pod.name, pod.static, pod.status])).toEqual([
      ['web', true, 'ready'],
      ['db', true, 'ready'],
    ]);
    await expect(pods.remove('web')).rejects.toMatchObject({ code: 'POD_STATIC' });
    const later = manager({ staticPods: ['db'] });
    await later.restore();
    expect(later.list().map((pod) => pod.name)).toEqual(['db']);
    expect(existsSync(`/run/netns/warren-${node.name}-web`)).toBe(false);
  });

  it('move where the node has other subnets', async () => {
    await manager().add('web');
    node.run('ip', 'address', 'add', '10.42.9.1/32', 'dev', 'lo');
    const moved = manager({ subnets: [parsePrefix('10.42.9.0/24')] });
    await moved.restore();
    expect(moved.list()[0]?.addresses).toEqual(['10.42.9.2']);
    const netns = moved.list()[0]!.netns;
    const addresses = inPod(netns, 'ip', 'address', 'show', 'dev', 'eth0', 'scope', 'global');
    expect(addresses).toContain('10.42.9.2/32');
    expect(addresses).not.toContain('10.42.3.2');
    expect(addresses).not.toContain('fd42');
    expect(node.run('ip', 'route', 'show', 'proto', '87').trim().split('\n')).toEqual([
      expect.stringMatching(/^10\.42\.9\.2 /),
    ]);
    expect(node.run('ip', '-6', 'route', 'show', 'proto', '87')).toBe('');
  });
});
