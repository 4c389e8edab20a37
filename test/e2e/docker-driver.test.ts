/** Two Docker engines on two hosts of a lab: containers of one network reach each other, and nothing is left behind. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Lab } from '../../src/lab/lab.ts';
import { WARREN_PROGRAM } from '../../src/lab/program.ts';
import { CONFIG, DockerHost, imageArchive } from '../helpers/docker-host.ts';
import { blocks, commands, ROOT, readDocument, section, shellWords } from '../helpers/markdown.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

/** For what comes a moment later, be the machine busy. */
const WAIT = { timeout: 30_000 };
/** For tests of a hundred commands: 30 s where nothing else runs. */
const MANY_COMMANDS_MS = 300_000;
const AT_ONCE = 50;
const IMAGE = 'box';
/** Once, or again while the other node has not heard of the sender yet: what no inventory lists is not let through. */
const REACHES = 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do ping -n -c1 -W1 $0 && exit 0; done; exit 1';
const PING = ['sh', '-c', REACHES] as const;
const PING_ONCE = ['ping', '-n', '-c1', '-W1'] as const;
const SERVER = "require('net').createServer((s)=>s.end('hello')).listen(80)";

/** Says who answers under each of these names, or why nobody does; asks again until all or none of them are there, as is wanted. */
const ASK = `
const { lookup } = require('node:dns').promises;
const { connect } = require('node:net');
const [isThere, ...names] = process.argv.slice(1);
const once = (name) => lookup(name, { all: true }).then(
  (all) => new Promise((resolve) => {
    const socket = connect({ host: name, port: 80, timeout: 2000 });
    socket.on('data', (data) => resolve(all.map(({ address }) => address).sort().join() + ' ' + data));
    socket.on('timeout', () => socket.destroy(Object.assign(new Error(), { code: 'ETIMEDOUT' })));
    socket.on('error', ({ code }) => resolve(code));
  }),
  ({ code }) => code,
);
const until = Date.now() + 40_000;
const ask = async (name) => {
  const said = await once(name);
  // A question that the news overtakes has the addresses of one family alone, or one that nothing leads to any more.
  const isAsWanted = isThere === 'there' ? /,.* hello$/.test(said) : said === 'ENOTFOUND';
  if (isAsWanted || Date.now() > until) return said;
  await new Promise((resolve) => setTimeout(resolve, 300));
  return ask(name);
};
Promise.all(names.map((name) => ask(name))).then((all) => console.log(JSON.stringify(all)));
`;

const ORDERS = [
  ['agent', 'engine', 'container'],
  ['agent', 'container', 'engine'],
  ['engine', 'agent', 'container'],
  ['engine', 'container', 'agent'],
  ['container', 'agent', 'engine'],
  ['container', 'engine', 'agent'],
] as const;

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

  function attached(host: DockerHost): { readonly network: string; readonly name: string }[] {
    const text = readFileSync(join(host.node.folder, 'state', 'attachments.json'), 'utf8');
    return JSON.parse(text.slice(text.indexOf('\n'))).attachments;
  }

  function hostLinks(host: DockerHost): string {
    const shown = execFileSync('nsenter', [`--net=${host.node.netns}`, 'ip', '-o', 'link'], {
      encoding: 'utf8',
    });
    return shown.match(/\bw[pd][0-9a-f]{12}\b/g)?.join(' ') ?? '';
  }

  // Whatever a test has had no time to take away is not to make the others fail.
  afterEach(({ task }) => {
    if (task.result?.state !== 'fail') return;
    for (const host of [a, b]) {
      const own = (all: string) => all.split('\n').filter((name) => !['', 'web', 'near'].includes(name));
      const containers = own(host.docker('ps', '-a', '--format', '{{.Names}}').text);
      if (containers.length > 0) host.docker('rm', '-f', ...containers);
      const networks = host.docker(
        'network',
        'ls',
        '--filter',
        'driver=warren',
        '--format',
        '{{.Name}}',
      ).text;
      for (const name of own(networks)) if (name !== 'app') host.docker('network', 'rm', name);
    }
  });

  test('containers of one network reach each other on two hosts, in both families', () => {
    for (const host of [a, b]) createNetwork(host, 'app');
    a.done('run', '-d', '--name', 'web', '--network', 'app', '-p', '8080:80', IMAGE, 'node', '-e', SERVER);
    const web = endpoint(a, 'web', 'app');
    for (const address of [web.IPAddress, web.GlobalIPv6Address]) {
      expect(b.done('run', '--rm', '--network', 'app', IMAGE, ...PING, address)).toContain(' 0% packet loss');
    }
    a.done('run', '-d', '--name', 'near', '--network', 'app', IMAGE, 'sleep', '600');
    expect(a.done('exec', 'near', ...PING, web.IPAddress)).toContain(' 0% packet loss');
    expect(attached(b)).toEqual([]);
  });

  test('a published port answers on the host, and the container has a way out of it', async () => {
    const get = "require('net').connect(8080,process.argv[1]).on('data',(d)=>console.log(String(d)))";
    const argv = [`--net=${b.node.netns}`, process.execPath, '-e', get, a.node.underlayAddress];
    // The container runs a moment before its server listens.
    const said = () => spawnSync('nsenter', argv, { encoding: 'utf8', timeout: 10_000 }).stdout;
    await expect.poll(said, WAIT).toContain('hello');
    expect(a.done('port', 'web')).toContain('8080');
    expect(a.done('exec', 'near', ...PING, b.node.underlayAddress)).toContain(' 0% packet loss');
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
      ' 0% packet loss',
    );
    expect(a.docker('exec', 'db', 'ping', '-n', '-c1', '-W1', b.node.underlayAddress).code).not.toBe(0);
    a.done('run', '-d', '--name', 'plain', IMAGE, 'sleep', '600');
    a.done('network', 'connect', '--alias', 'other', 'inner', 'plain');
    expect(a.done('exec', 'plain', ...PING, IPAddress)).toContain(' 0% packet loss');
    expect(a.done('exec', 'db', ...PING, 'other')).toContain(' 0% packet loss');
    expect(a.docker('network', 'connect', 'app', 'plain').text).toContain('on a warren network already');
    a.done('network', 'disconnect', 'inner', 'plain');
    a.done('rm', '-f', 'plain', 'db');
    for (const host of [a, b]) host.done('network', 'rm', 'inner');
  });

  test('a container that ends is started again by its policy, and networks that nobody uses are pruned', async () => {
    const script = ['sh', '-c', 'sleep 0.3; exit 1'];
    a.done('run', '-d', '--name', 'failing', '--restart', 'always', '--network', 'app', IMAGE, ...script);
    const restarts = () => Number(a.done('inspect', '-f', '{{.RestartCount}}', 'failing'));
    await expect.poll(restarts, { ...WAIT, interval: 300 }).toBeGreaterThan(1);
    a.done('rm', '-f', 'failing');
    createNetwork(a, 'unused');
    expect(a.done('network', 'prune', '-f')).toContain('unused');
    expect(a.done('network', 'ls')).toContain('app');
  });

  test('two networks reach each other neither on a host nor across hosts, unless both are to', async () => {
    const web = endpoint(a, 'web', 'app');
    for (const host of [a, b]) createNetwork(host, 'apart');
    createNetwork(a, 'left', '--opt', 'warren.reach=right');
    createNetwork(a, 'half', '--opt', 'warren.reach=app');
    createNetwork(b, 'right', '--opt', 'warren.reach=left,other');
    const run = ['run', '-d', '--name'] as const;
    const on = (host: DockerHost, name: string, network: string) =>
      host.done(...run, name, '--network', network, IMAGE, 'sleep', '600');
    on(a, 'apart-a', 'apart');
    on(b, 'apart-b', 'apart');
    on(b, 'app-b', 'app');
    on(a, 'half-a', 'half');
    on(a, 'left-a', 'left');
    on(b, 'right-b', 'right');
    // Each is on the air: those of its own network reach it.
    expect(a.docker('exec', 'apart-a', ...PING, endpoint(b, 'apart-b', 'apart').IPAddress).code).toBe(0);
    expect(b.docker('exec', 'app-b', ...PING, web.IPAddress).code).toBe(0);
    expect(a.docker('exec', 'left-a', ...PING, endpoint(b, 'right-b', 'right').IPAddress).code).toBe(0);
    const refused = [
      a.dockerAtOnce('exec', 'apart-a', ...PING_ONCE, web.IPAddress),
      a.dockerAtOnce('exec', 'apart-a', ...PING_ONCE, web.GlobalIPv6Address),
      a.dockerAtOnce('exec', 'apart-a', ...PING_ONCE, endpoint(b, 'app-b', 'app').IPAddress),
      b.dockerAtOnce('exec', 'apart-b', ...PING_ONCE, web.IPAddress),
      b.dockerAtOnce('exec', 'apart-b', ...PING_ONCE, web.GlobalIPv6Address),
      a.dockerAtOnce('exec', 'left-a', ...PING_ONCE, web.IPAddress),
      a.dockerAtOnce('exec', 'half-a', ...PING_ONCE, web.IPAddress),
    ];
    expect((await Promise.all(refused)).map(({ code }) => code)).toEqual(refused.map(() => 1));
    // An address that nobody lists: the other node's own.
    const fromNode = [`--net=${b.node.netns}`, ...PING_ONCE, web.IPAddress];
    expect(spawnSync('nsenter', fromNode).status).toBe(1);
    for (const [host, names] of [
      [a, ['apart-a', 'half-a', 'left-a']],
      [b, ['apart-b', 'app-b', 'right-b']],
    ] as const)
      host.done('rm', '-f', ...names);
    for (const name of ['apart', 'left', 'half']) a.done('network', 'rm', name);
    for (const name of ['apart', 'right']) b.done('network', 'rm', name);
  });

  test('every node knows what a container is called, and its service', async () => {
    const labels = ['com.docker.compose.project=shop', 'com.docker.compose.service=db'];
    const marks = labels.flatMap((label) => ['--label', label]);
    const on = ['--network', 'app', '--network-alias', 'store'];
    a.done('run', '-d', '--name', 'shop_db_1', ...marks, ...on, IMAGE, 'sleep', '600');
    const known = () => {
      const argv = [WARREN_PROGRAM, 'pods', '--all', '--json', '--socket', b.node.socket];
      const all = JSON.parse(execFileSync(process.execPath, argv, { encoding: 'utf8' }));
      return (all as { name: string }[]).find(({ name }) => name === 'shop_db_1');
    };
    await expect.poll(known, WAIT).toMatchObject({
      network: 'app',
      labels: {
        'com.docker.compose.project': 'shop',
        'com.docker.compose.service': 'db',
        'docker.aliases': 'store',
      },
    });
    a.done('rm', '-f', 'shop_db_1');
    await expect.poll(known, WAIT).toBeUndefined();
  });

  test('containers find those of other hosts by name', () => {
    const marks = ['--label', 'com.docker.compose.service=db', '--network-alias', 'store'];
    const names = ['db', 'store', 'db.app.warren', `shop_db_1.${a.node.name}.warren`];
    const ask = (container: string, ...argv: string[]) =>
      JSON.parse(b.done('exec', container, 'node', '-e', ASK, ...argv));
    createNetwork(b, 'apart');
    for (const [name, network] of [
      ['caller', 'app'],
      ['stranger', 'apart'],
    ] as const)
      b.done('run', '-d', '--name', name, '--network', network, IMAGE, 'sleep', '600');
    a.done('run', '-d', '--name', 'shop_db_1', ...marks, '--network', 'app', IMAGE, 'node', '-e', SERVER);
    const { IPAddress, GlobalIPv6Address } = endpoint(a, 'shop_db_1', 'app');
    const said = `${IPAddress},${GlobalIPv6Address} hello`;
    expect(ask('caller', 'there', ...names)).toEqual(names.map(() => said));
    expect(ask('stranger', 'gone', 'db', 'store')).toEqual(['ENOTFOUND', 'ENOTFOUND']);
    a.done('rm', '-f', 'shop_db_1');
    expect(ask('caller', 'gone', ...names)).toEqual(names.map(() => 'ENOTFOUND'));
    b.done('rm', '-f', 'caller', 'stranger');
    b.done('network', 'rm', 'apart');
  });

  test(
    'agent, engine and container are restarted in every order, and are found as before',
    async () => {
      const restarts = {
        agent: async () => {
          await a.node.restart();
          await lab.ready();
        },
        engine: async () => {
          await a.end('SIGKILL');
          await a.start();
        },
        container: async () => void a.done('restart', '-t', '0', 'web'),
      };
      b.done('run', '-d', '--name', 'caller', '--network', 'app', IMAGE, 'sleep', '600');
      for (const order of ORDERS) {
        for (const what of order) await restarts[what]();
        const { IPAddress } = endpoint(a, 'web', 'app');
        const where = order.join(', ');
        expect(b.docker('exec', 'caller', ...PING, IPAddress).code, where).toBe(0);
        expect(a.docker('exec', 'near', ...PING, IPAddress).code, where).toBe(0);
        const named = () => attached(a).map(({ name }) => name);
        await expect.poll(named, { ...WAIT, message: where }).toEqual(['near', 'web']);
      }
    },
    MANY_COMMANDS_MS,
  );

  test('an engine and an agent that start at the same time do not wait for each other', async () => {
    const web = endpoint(a, 'web', 'app');
    await a.end('SIGKILL');
    await a.node.stop();
    a.node.start();
    await a.start();
    await lab.ready();
    expect(endpoint(a, 'web', 'app')).toEqual(web);
    expect(b.docker('exec', 'caller', ...PING, web.IPAddress).code).toBe(0);
    expect(a.docker('run', '--rm', '--network', 'app', IMAGE, ...PING, web.IPAddress).code).toBe(0);
    b.done('rm', '-f', 'caller');
  });

  const noCompose = lacking('docker-compose');
  const named = (name: string) => (noCompose === undefined ? name : `${name} (${noCompose})`);
  test.skipIf(noCompose)(named('a web server finds its database on the other host'), () => {
    const shown = blocks(section(readDocument('README.md'), 'Docker Compose on two hosts'));
    const lines = shown.filter(({ language }) => language === 'console').flatMap(commands);
    expect(lines.length).toBe(2);
    const engines = { 'ssh://root@node-a': a.engine, 'ssh://root@node-b': b.engine };
    const run = (line: string) => {
      const argv = shellWords(line).map((word) => engines[word as keyof typeof engines] ?? word);
      const said = spawnSync(argv[0]!, argv.slice(1), {
        cwd: ROOT,
        env: { ...process.env, IMAGE },
        encoding: 'utf8',
      });
      return { code: said.status, text: `${said.stdout}${said.stderr}` };
    };
    for (const { line, output } of lines) {
      const { code, text } = run(line);
      expect({ code, text }).toEqual({ code: 0, text: expect.stringContaining(output.join('\n')) });
    }
    expect(attached(a).map(({ network }) => network)).toContain('app');
    const stopped = run(lines[0]!.line.replace('/start', '/stop'));
    expect(stopped.code, stopped.text).toBe(0);
  });

  test(
    'many containers come and go at once',
    async () => {
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
    },
    MANY_COMMANDS_MS,
  );

  test('nothing is left behind, and the driver goes', async () => {
    a.done('rm', '-f', 'web', 'near');
    for (const host of [a, b]) {
      const shown = host.done('network', 'inspect', '-f', '{{json .Containers}}', 'app');
      expect(shown, host.node.name).toBe('{}');
      // Where many come and go at once it miscounts the endpoints of networks, its own bridge's too ("inconsistent endpoint_cnt" in its
      // log), and counts them anew when it starts.
      await host.end('SIGTERM');
      await host.start();
      host.done('network', 'rm', 'app');
    }
    for (const host of [a, b]) {
      expect(attached(host)).toEqual([]);
      expect(hostLinks(host)).toBe('');
      expect(host.warren('disable')).toContain('The driver is gone');
      expect(readFileSync(host.configFile, 'utf8')).toBe(CONFIG);
    }
  });
});
