/** Two Docker engines on two hosts of a lab: containers of one network reach each other, and nothing is left behind. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Lab } from '../../src/lab/lab.ts';
import { DockerHost, imageArchive } from '../helpers/docker-host.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { testScale } from '../helpers/scale.ts';

/** 50 with WARREN_TEST_SCALE=5. */
const AT_ONCE = 10 * testScale();
const IMAGE = 'box';
const PING = ['ping', '-n', '-c2', '-W5'] as const;
const SERVER = "require('net').createServer((s)=>s.end('hello')).listen(80)";

interface Endpoint {
  readonly IPAddress: string;
  readonly GlobalIPv6Address: string;
}

describeUnless(lacking('root', 'ip', 'nsenter', 'unshare', 'dockerd', 'docker', 'iptables'), 'Docker', () => {
  let lab: Lab;
  let folder: string;
  let a: DockerHost;
  let b: DockerHost;

  beforeAll(async () => {
    // Not in /tmp, which may be memory.
    folder = mkdtempSync('/var/tmp/warren-docker-');
    const archive = imageArchive(folder);
    lab = await Lab.up({ name: 'dockers', nodes: 2, pods: 0 });
    [a, b] = ['a', 'b'].map((name, i) => {
      mkdirSync(join(folder, name));
      return new DockerHost(lab.node(i), join(folder, name));
    }) as [DockerHost, DockerHost];
    for (const host of [a, b]) {
      host.enable();
      await host.start();
      host.done('import', archive, IMAGE);
    }
  }, 170_000);
  afterAll(async () => {
    for (const host of [a, b]) await host?.stop();
    await lab?.down();
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  function createNetwork(host: DockerHost, name: string, ...options: string[]): void {
    host.done('network', 'create', '-d', 'warren', '--ipam-driver', 'warren', ...options, name);
  }

  function endpoint(host: DockerHost, container: string, network: string): Endpoint {
    const shown = host.done(
      'inspect',
      '-f',
      `{{json (index .NetworkSettings.Networks "${network}")}}`,
      container,
    );
    return JSON.parse(shown) as Endpoint;
  }

  function attached(host: DockerHost): { readonly network: string; readonly id: string }[] {
    const text = readFileSync(join(host.node.folder, 'state', 'attachments.json'), 'utf8');
    return JSON.parse(text.slice(text.indexOf('\n'))).attachments;
  }

  function hostLinks(host: DockerHost): string {
    const shown = execFileSync('nsenter', [`--net=${host.node.netns}`, 'ip', '-o', 'link'], {
      encoding: 'utf8',
    });
    return shown.match(/\bw[pd][0-9a-f]{12}\b/g)?.join(' ') ?? '';
  }

  test('containers of one network reach each other on two hosts, in both families', () => {
    for (const host of [a, b]) createNetwork(host, 'app');
    a.done('run', '-d', '--name', 'web', '--network', 'app', '-p', '8080:80', IMAGE, 'node', '-e', SERVER);
    const web = endpoint(a, 'web', 'app');
    expect(attached(a)).toMatchObject([{ client: 'docker', network: 'app' }]);
    for (const address of [web.IPAddress, web.GlobalIPv6Address]) {
      expect(b.done('run', '--rm', '--network', 'app', IMAGE, ...PING, address)).toContain('0% packet loss');
    }
    a.done('run', '-d', '--name', 'near', '--network', 'app', IMAGE, 'sleep', '600');
    expect(a.done('exec', 'near', ...PING, web.IPAddress)).toContain('0% packet loss');
    expect(attached(b)).toEqual([]);
  });

  test('a published port answers on the host, and the container has a way out of it', () => {
    const get = "require('net').connect(8080,process.argv[1]).on('data',(d)=>console.log(String(d)))";
    const argv = [`--net=${b.node.netns}`, process.execPath, '-e', get, a.node.underlayAddress];
    expect(execFileSync('nsenter', argv, { encoding: 'utf8', timeout: 10_000 })).toContain('hello');
    expect(a.done('port', 'web')).toContain('8080');
    expect(a.done('exec', 'near', ...PING, b.node.underlayAddress)).toContain('0% packet loss');
  });

  test('--ip is honoured within the subnet of the node, and refused elsewhere', () => {
    createNetwork(a, 'fixed', '--subnet', '10.42.0.0/16');
    const { IPAddress } = endpoint(a, 'near', 'app');
    const wanted = IPAddress.replace(/\d+$/, '200');
    a.done('run', '-d', '--name', 'pinned', '--network', 'fixed', '--ip', wanted, IMAGE, 'sleep', '600');
    expect(endpoint(a, 'pinned', 'fixed').IPAddress).toBe(wanted);
    const run = ['run', '--rm', '--network', 'fixed', '--ip'] as const;
    expect(a.docker(...run, wanted, IMAGE, 'true').text).toMatch(/belongs to .* already/);
    expect(a.docker(...run, '10.42.250.9', IMAGE, 'true').text).toContain(
      'not an address for pods in this node',
    );
    expect(
      a.docker('network', 'create', '-d', 'warren', '--ipam-driver', 'warren', '--subnet', '10.9.0.0/16', 'x')
        .text,
    ).toContain('is not a pod range of this cluster');
    a.done('rm', '-f', 'pinned');
    a.done('network', 'rm', 'fixed');
  });

  test('an internal network has no way out; a container is connected and disconnected', () => {
    for (const host of [a, b]) createNetwork(host, 'inner', '--internal');
    a.done('run', '-d', '--name', 'db', '--network', 'inner', IMAGE, 'sleep', '600');
    const { IPAddress } = endpoint(a, 'db', 'inner');
    expect(b.done('run', '--rm', '--network', 'inner', IMAGE, ...PING, IPAddress)).toContain(
      '0% packet loss',
    );
    expect(a.docker('exec', 'db', 'ping', '-n', '-c1', '-W1', b.node.underlayAddress).code).not.toBe(0);
    a.done('run', '-d', '--name', 'plain', IMAGE, 'sleep', '600');
    a.done('network', 'connect', '--alias', 'other', 'inner', 'plain');
    expect(a.done('exec', 'plain', ...PING, IPAddress)).toContain('0% packet loss');
    expect(a.done('exec', 'db', ...PING, 'other')).toContain('0% packet loss');
    expect(a.docker('network', 'connect', 'app', 'plain').text).toContain('on a warren network already');
    a.done('network', 'disconnect', 'inner', 'plain');
    a.done('rm', '-f', 'plain', 'db');
    for (const host of [a, b]) host.done('network', 'rm', 'inner');
  });

  test('the agent and the engine are restarted, and running containers keep their addresses', async () => {
    const web = endpoint(a, 'web', 'app');
    await a.node.restart();
    await lab.ready();
    await a.end('SIGKILL');
    await a.start();
    expect(endpoint(a, 'web', 'app')).toEqual(web);
    expect(b.done('run', '--rm', '--network', 'app', IMAGE, ...PING, web.IPAddress)).toContain(
      '0% packet loss',
    );
    a.done('restart', '-t', '0', 'web');
    const { IPAddress } = endpoint(a, 'web', 'app');
    expect(b.done('run', '--rm', '--network', 'app', IMAGE, ...PING, IPAddress)).toContain('0% packet loss');
  });

  test('many containers come and go at once', async () => {
    const names = Array.from({ length: AT_ONCE }, (_, i) => `many-${i}`);
    const run = ['run', '-d', '--network', 'app', '--name'] as const;
    const started = await Promise.all(
      names.map((name) => b.dockerAtOnce(...run, name, IMAGE, 'sleep', '600')),
    );
    expect(started.filter(({ code }) => code !== 0)).toEqual([]);
    const addresses = names.map((name) => endpoint(b, name, 'app').IPAddress);
    expect(new Set(addresses).size).toBe(AT_ONCE);
    const removed = await Promise.all(names.map((name) => b.dockerAtOnce('rm', '-f', name)));
    expect(removed.filter(({ code }) => code !== 0)).toEqual([]);
    expect([attached(b), hostLinks(b)]).toEqual([[], '']);
  }, 120_000);

  test('nothing is left behind, and the driver goes', () => {
    a.done('rm', '-f', 'web', 'near');
    for (const host of [a, b]) host.done('network', 'rm', 'app');
    for (const host of [a, b]) {
      expect(attached(host)).toEqual([]);
      expect(hostLinks(host)).toBe('');
      expect(host.warren('disable')).toContain('The driver is gone');
    }
  });
});
