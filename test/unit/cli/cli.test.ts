import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { watch } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ApiServer, startApiServer } from '../../../src/api/server.ts';
import { sectionBlock } from '../../../src/capture/pcapng.ts';
import { qrCode } from '../../../src/cli/qr-code.ts';
import { parseKeyRing } from '../../../src/link/key-ring.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { builtFile } from '../../../src/package.ts';
import type { CheckReport } from '../../../src/readmodel/check-reports.ts';
import type { PodReport } from '../../../src/readmodel/reports.ts';
import { diagnose } from '../../../src/trace/diagnose.ts';
import { cli } from '../../helpers/cli.ts';
import { FakeAgent, fakePeers, fakeStatus } from '../../helpers/fake-agent.ts';
import { NO_NETNS, type ThrowawayNetns, throwawayNetns } from '../../helpers/throwaway-netns.ts';
import { observed } from '../trace/observed.ts';

let folder: string;
let socket: string;
let agent: FakeAgent;
let server: ApiServer;

function startServer(): Promise<ApiServer> {
  const options = { path: socket, gid: undefined, model: agent, commands: agent, log: silentLogger };
  return startApiServer(options);
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'warren-cli-test-'));
  socket = join(folder, 'agent.sock');
  agent = new FakeAgent();
  server = await startServer();
});
afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

describe('sysdump', () => {
  it('writes one archive that only its owner may read, and never over another file', async () => {
    const path = join(folder, 'dump.tar.gz');
    const { code, stdout, stderr } = await cli(['sysdump', '--all', '-o', path, '-s', socket]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: 'node-b is missing: no answer\n' });
    expect(stdout).toMatch(/dump\.tar\.gz: 1 nodes, \d+ bytes\n$/);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const listed = execFileSync('tar', ['-tzf', path], { encoding: 'utf8' });
    expect(listed).toBe('warren-sysdump/node-a/log.txt\nwarren-sysdump/unreachable.txt\n');
    const again = await cli(['sysdump', '-o', path, '-s', socket]);
    expect(again.code).toBe(1);
    expect(again.stderr).toContain('with --output');
  });
});

describe('trace', () => {
  const trace = (...words: string[]) => cli(['trace', 'web', 'db.node-b', '-s', socket, ...words]);

  it('shows the steps and one line, and its exit code tells', async () => {
    agent.traceReport = diagnose(observed());
    const { code, stdout, stderr } = await trace();
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const lines = stdout.split('\n');
    expect(lines[0]).toMatch(/^node +step/);
    expect(lines.slice(1, 9).map((line) => line.split(/ {2,}/).slice(0, 3).join(' | '))).toEqual([
      'node-a | pod web | ok',
      'node-a | routing and rules | ok',
      'node-a | packet path | ok',
      'node-a | underlay | ok',
      'node-b | underlay | ok',
      'node-b | packet path | ok',
      'node-b | routing and rules | ok',
      'node-b | pod db | ok',
    ]);
    expect(lines.slice(-3)).toEqual(['', 'web.node-a -> db.node-b (ICMP): arrives, and is answered', '']);
    agent.traceReport = diagnose(
      observed({ until: 'host-end', source: { blind: 'no nft\u001b[2J', inner: null } }),
    );
    const lost = await trace();
    expect(lost.code).toBe(1);
    expect(lost.stdout).toContain("node-a: the kernel's rules could not be looked at: no nft [2J\n");
    expect(lost.stdout).toMatch(/ DIES/);
    expect(JSON.parse((await trace('--json')).stdout)).toMatchObject({ arrives: false });
  });

  it('asks for what the options say', async () => {
    agent.traceReport = diagnose(observed());
    const asked = async (...words: string[]) => {
      expect((await trace(...words)).stderr).toBe('');
      return agent.traceRequests.at(-1);
    };
    expect(await asked()).toEqual({
      ...{ source: 'web', destination: 'db.node-b', protocol: 'icmp', port: 0, live: false, seconds: 10 },
    });
    expect(await asked('--tcp', '80', '--size', '1400')).toMatchObject({
      protocol: 'tcp',
      port: 80,
      bytes: 1400,
    });
    expect(await asked('--udp', '53', '--live', '--seconds', '3')).toMatchObject({
      protocol: 'udp',
      live: true,
      seconds: 3,
    });
    expect(await asked('--icmp')).toMatchObject({ protocol: 'icmp' });
  });

  it('is written wrong, or cannot be tried: 2', async () => {
    const wrong = [
      ['--tcp', '0'],
      ['--tcp', '80', '--udp', '53'],
      ['--tcp', '80', '--icmp'],
      ['--size', 'x'],
      ['--size', '9', '--live'],
      ['--seconds', '0'],
    ];
    for (const words of wrong) expect((await trace(...words)).code, words.join(' ')).toBe(2);
    const unknown = await trace();
    expect(unknown.code).toBe(2);
    expect(unknown.stderr).toContain('there is no pod "web" on any node');
  });
});

describe('capture', () => {
  const file = sectionBlock('test');

  it('writes whole blocks to a file that only its owner may read', async () => {
    const path = join(folder, 'some.pcapng');
    agent.captured = [file.subarray(0, 5), file.subarray(5), file.subarray(0, 9)];
    const argv = ['capture', '--all', '--pod', 'web', '--pod', 'db', '--protocol', 'icmp', '--port', '53'];
    const { code, stderr } = await cli([...argv, '--bytes', '2k', '-w', path, '-s', socket]);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: `nöde-b is missing: no answer\n${path}: ${file.length} bytes\n`,
    });
    expect([...readFileSync(path)]).toEqual([...file]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(agent.captureRequests.at(-1)).toMatchObject({
      ...{ all: true, pods: ['web', 'db'], protocols: [1, 58], ports: [53], bytes: 2048, seconds: 60 },
      sides: ['inner', 'outer', 'dropped'],
    });
    await cli(['capture', '--drop-reason', 'inbound-not-local', '-w', path, '-s', socket]);
    expect(agent.captureRequests.at(-1)).toMatchObject({
      sides: ['dropped'],
      reasons: ['inbound-not-local'],
    });
  });

  it('says what is wrong with options and files', async () => {
    for (const [argv, text] of [
      [['--side', 'middle', '-w', 'x'], 'inner, outer, dropped'],
      [['--bytes', '1X', '-w', 'x'], 'number of bytes'],
      [['-w', join(folder, 'none', 'x')], 'cannot write'],
    ] as const) {
      const { code, stderr } = await cli(['capture', ...argv, '-s', socket]);
      expect(code).toBeGreaterThan(0);
      expect(stderr).toContain(text);
    }
  });
});

describe('reports', () => {
  it('print JSON as the agent gives it', async () => {
    for (const [name, value] of [
      ['status', fakeStatus],
      ['peers', fakePeers],
      ['routes', agent.routes()],
      ['pods', agent.podReports],
    ] as const) {
      const { code, stdout, stderr } = await cli([name, '--json', '-s', socket]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(JSON.parse(stdout)).toEqual(value);
    }
    expect(JSON.parse((await cli(['pods', '--all', '--json', '-s', socket])).stdout)).toEqual(
      agent.inventoryReports,
    );
  });

  it('find the socket in WARREN_SOCKET', async () => {
    expect((await cli(['pods', '--json'], { env: { WARREN_SOCKET: socket } })).code).toBe(0);
  });

  it('show the status to a person', async () => {
    agent.statusReport = {
      ...fakeStatus,
      cluster: { ...fakeStatus.cluster, sealed: false, problems: ['192.0.2.1:7946: another key'] },
    };
    expect((await cli(['status', '-s', socket])).stdout).toBe(
      `node      node-a (a1b2c3), pid 4711, up 1d 2h, warren 0.1.0
lease     active  10.42.3.0/24  fd42:0:0:3::/64
cluster   test: 2 alive, 1 dead; gossip not sealed
admits    everyone who has the cluster key (cluster.admission: open)
problem   192.0.2.1:7946: another key
underlay  198.51.100.1 on eth0, MTU 1500, gossip port 7946
tunnel    vxlan-gpe (not encrypted), UDP port 4790, VNI 42, 36 bytes a packet
overlay   warren0, MTU 1464  10.42.3.1  fd42:0:0:3::1
offloads  tso; off: checksum
pods      1
names     answered on 10.42.3.1
repairs   route 2
outbound  1200 packets, 1.5 MB
inbound   7 packets, 588 B
drops     inbound-unknown-source 3
`,
    );
  });

  it('line up their tables', async () => {
    expect((await cli(['peers', '-s', socket])).stdout).toBe(
      `NAME     STATUS  ENDPOINT           SUBNETS                        MTU  OUTBOUND  INBOUND
node-b   alive   198.51.100.2:4790  10.42.7.0/24 fd42:0:0:7::/64  1464     500 B    600 B
leg"acy  static  198.51.100.9:4790  10.43.9.0/24                     -       0 B      0 B
`,
    );
    expect((await cli(['routes', '-s', socket])).stdout).toBe(
      `PREFIX        VIA     ENDPOINT
10.42.3.0/24  local   -
10.42.7.0/24  node-b  198.51.100.2:4790
`,
    );
    expect((await cli(['pods', '-s', socket])).stdout).toMatch(
      /^NAME {2}STATUS {2}ADDRESSES .*\nweb {3}ready {3}10/,
    );
    agent.podReports = [];
    expect((await cli(['pods', '-s', socket])).stdout).toBe('No pods.\n');
    expect((await cli(['pods', '--all', '-s', socket])).stdout).toBe(
      `NODE    STATUS  POD  ADDRESSES                LABELS
node-a  alive   web  10.42.1.2 fd42:0:0:1::2  app=shop tier=front
node-b  dead    db   10.42.2.2                -
`,
    );
    agent.inventoryReports = [];
    expect((await cli(['pods', '-a', '-s', socket])).stdout).toBe('No pods.\n');
  });

  it('are printed again and again with --watch, until the interrupt', async () => {
    const lines = (text: string) => text.split('\n').length - 1;
    const { code, stdout } = await cli(['status', '--json', '--watch', '0.1', '-s', socket], {
      onOutput: (text, interrupt) => {
        if (lines(text) === 2) interrupt.abort();
      },
    });
    expect(code).toBe(0);
    for (const line of stdout.trimEnd().split('\n')) expect(JSON.parse(line)).toEqual(fakeStatus);
    expect(lines(stdout)).toBe(2);
  });

  it('are printed at once when something changes', async () => {
    const printed: string[] = [];
    const { code } = await cli(['pods', '--json', '--watch', '3600', '-s', socket], {
      onOutput: (text, interrupt) => {
        const lines = text.trimEnd().split('\n');
        printed.splice(0, printed.length, ...lines);
        if (lines.length === 1) void agent.addPod('db', {});
        else interrupt.abort();
      },
    });
    expect(code).toBe(0);
    const names = printed.map((line) => (JSON.parse(line) as PodReport[]).map(({ name }) => name));
    expect(names).toEqual([['web'], ['web', 'db']]);
  });

  it.each(['routes', 'pods', 'peers'])(
    '%s are printed as often as -w says although nothing changes',
    async (name) => {
      const { stdout } = await cli([name, '--json', '-w', '0.1', '-s', socket], {
        onOutput: (text, interrupt) => {
          if (text.split('\n').length > 3) interrupt.abort();
        },
      });
      const lines = stdout.trimEnd().split('\n');
      expect(lines).toHaveLength(3);
      expect(new Set(lines).size).toBe(1);
    },
  );

  it('show an agent that went away, and go on when it is back', async () => {
    const steps: string[] = [];
    const { code, stdout } = await cli(['routes', '-w', '0.1', '-s', socket], {
      onOutput: (text, interrupt) => {
        const step = `${steps.length}`;
        if (steps.length === 0 && text.includes('node-b')) {
          steps.push(step);
          void server.close();
        } else if (steps.length === 1 && text.includes('there is no control socket')) {
          steps.push(step);
          void startServer().then((again) => {
            server = again;
          });
        } else if (steps.length === 2 && /no control socket[\s\S]*node-b/.test(text)) interrupt.abort();
      },
    });
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^PREFIX[\s\S]*node-b.*\n(the agent on .*\n)?(there is no control socket .*\n)+PREFIX/,
    );
  });

  it('go on watching while the agent is away', async () => {
    agent.failure = new Error('restarting');
    const { code, stdout } = await cli(['status', '-w', '0.1', '-s', socket], {
      onOutput: (text, interrupt) => {
        if (text.includes('bug in warren')) agent.failure = undefined;
        if (text.includes('node-a')) interrupt.abort();
      },
    });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^the agent failed to answer.*\nnode /);
  });
});

describe('WireGuard peers', () => {
  const FILE = '# phone\n[Interface]\nPrivateKey = x\n\n[Peer]\nPublicKey = y\n';

  it('are added with what is asked for, and their file is all of standard output', async () => {
    const words =
      '--dns 10.42.0.53 cluster.local --node-endpoint vpn.example.org --label app=vpn --label a=b';
    const added = await cli(['peer', 'add', 'phone', '--wireguard', ...words.split(' '), '-s', socket]);
    expect(added).toEqual({
      code: 0,
      stdout: FILE,
      stderr: 'Its private key is kept nowhere: this file is shown once.\n',
    });
    expect(agent.wireguardRequest).toEqual({
      ...{ name: 'phone', dns: ['10.42.0.53', 'cluster.local'], nodeEndpoint: 'vpn.example.org' },
      labels: { app: 'vpn', a: 'b' },
    });
    expect((await cli(['peer', 'add', 'phone', '-s', socket])).stderr).toMatch(/--wireguard/);
    const given = ['--public-key', 'abc', '--endpoint', '192.0.2.7:1'];
    const own = await cli(['peer', 'add', 'office', '--wireguard', ...given, '-s', socket], {
      isTerminal: true,
    });
    expect(own.stderr).toBe('Put its private key into this file.\n');
    expect(own.stdout).not.toMatch(/[█▀▄]/);
    expect(agent.wireguardRequest).toEqual({ name: 'office', publicKey: 'abc', endpoint: '192.0.2.7:1' });
  });

  it('have a QR code on a terminal, without comments', async () => {
    const argv = ['peer', 'add', 'phone', '--wireguard', '-s', socket];
    const { stdout } = await cli(argv, { isTerminal: true });
    const code = await qrCode('[Interface]\nPrivateKey = x\n[Peer]\nPublicKey = y', {});
    expect(stdout).toBe(`${FILE}\n${code}\n`);
    expect((await cli([...argv, '--no-qr'], { isTerminal: true })).stdout).toBe(FILE);
  });

  it('stand beside the nodes, and all have their last handshake where any has one', async () => {
    const [node] = fakePeers;
    const laptop = {
      ...node!,
      name: 'laptop',
      kind: 'wireguard',
      status: 'wireguard',
      endpoint: '',
    } as const;
    agent.peerReports = [{ ...node!, handshakeAgeSeconds: 65 }, laptop];
    const rows = (await cli(['peers', '-s', socket])).stdout.split('\n').map((line) => line.split(/ {2,}/));
    const column = rows[0]!.indexOf('HANDSHAKE');
    expect(rows.slice(1, 3).map((row) => [row[0], row[1], row[2], row[column]])).toEqual([
      [node!.name, node!.status, node!.endpoint, '1m 5s ago'],
      ['laptop', 'wireguard', '-', '-'],
    ]);
    agent.peerReports = fakePeers;
    expect((await cli(['peers', '-s', socket])).stdout).not.toContain('HANDSHAKE');
  });

  it('are listed, shown and removed', async () => {
    expect((await cli(['peer', 'list', '-s', socket])).stdout).toBe('No WireGuard peers.\n');
    const json = await cli(['peer', 'add', 'phone', '--wireguard', '--json', '-s', socket]);
    expect(JSON.parse(json.stdout)).toMatchObject({ name: 'phone', file: FILE, isComplete: true });
    expect((await cli(['peer', 'list', '-s', socket])).stdout).toBe(
      'NAME   ADDRESSES  ENDPOINT   HANDSHAKE  OUTBOUND  INBOUND  PUBLIC KEY\n' +
        'phone  10.42.3.9  -         1m 15s ago    1.5 kB    300 B  cHVibGlj\n',
    );
    expect((await cli(['peer', 'show', 'phone', '-s', socket])).stdout).toBe(FILE);
    expect((await cli(['peer', 'show', 'other', '-s', socket])).stderr).toBe(
      'warren: there is no peer other on this node\n',
    );
    expect((await cli(['peer', 'rm', 'phone', '-s', socket])).stdout).toBe('phone is removed.\n');
    expect((await cli(['peer', 'rm', 'phone', '-s', socket])).code).toBe(1);
    expect(JSON.parse((await cli(['peer', 'list', '--json', '-s', socket])).stdout)).toEqual([]);
  });
});

describe('pods', () => {
  it('are added and removed', async () => {
    const added = await cli(['pod', 'add', 'db', '-s', socket]);
    expect(added).toEqual({ code: 0, stdout: 'db  10.42.3.3  /run/netns/warren-node-a-db\n', stderr: '' });
    const removed = await cli(['pod', 'rm', 'db', '--json', '-s', socket]);
    expect(JSON.parse(removed.stdout)).toMatchObject({ name: 'db' });
    expect(agent.podReports.map(({ name }) => name)).toEqual(['web']);
  });

  it('may be given a namespace, whose path the agent gets in full', async () => {
    await cli(['pod', 'add', 'db', '--netns', 'some/netns', '-s', socket]);
    expect(agent.podReports[1]?.netns).toBe(join(process.cwd(), 'some/netns'));
  });

  it('may be given labels, a later value of a key in place of an earlier one', async () => {
    const labels = ['--label', 'app=web', '--label', 'tier=a', '--label', 'tier=b=c', '--label', 'empty='];
    const added = await cli(['pod', 'add', 'db', ...labels, '--json', '-s', socket]);
    expect(JSON.parse(added.stdout)).toMatchObject({ labels: { app: 'web', tier: 'b=c', empty: '' } });
    for (const wrong of ['app', '=web', '']) {
      const refused = await cli(['pod', 'add', 'x', '--label', wrong, '-s', socket]);
      expect(refused.code).not.toBe(0);
      expect(refused.stderr).toContain('It must be a key and a value, such as app=web.');
    }
  });

  it('that are refused say why and what to do, in two lines', async () => {
    expect(await cli(['pod', 'add', 'web', '-s', socket])).toEqual({
      code: 1,
      stdout: '',
      stderr: 'warren: pod web exists already\nChoose another name.\n',
    });
  });
});

describe.skipIf(NO_NETNS)(`exec and check${NO_NETNS ? ` (skipped: ${NO_NETNS})` : ''}`, () => {
  let ns: ThrowawayNetns;
  beforeAll(() => {
    ns = throwawayNetns();
    ns.run('ip', 'link', 'set', 'dev', 'lo', 'up');
    ns.run('ip', 'address', 'add', '10.42.3.2/32', 'dev', 'lo');
    ns.run('ip', '-6', 'address', 'add', 'fd42:0:0:3::2/128', 'dev', 'lo', 'nodad');
  });
  afterAll(() => ns?.remove());
  beforeEach(() => {
    agent.podReports = [{ ...agent.podReports[0]!, netns: ns.path }];
  });

  it('exec runs a command in the pod and gives its exit code', async () => {
    const exec = (...argv: string[]) => cli(['exec', '-s', socket, 'web', ...argv]);
    expect((await exec('--', 'ping', '-n', '-c1', '-q', '10.42.3.2')).code).toBe(0);
    // Options after the pod are the command's own, with `--` or without.
    expect((await exec(process.execPath, '-e', 'process.exit(42)')).code).toBe(42);
    expect((await exec('--', process.execPath, '-e', 'process.kill(process.pid, "SIGTERM")')).code).toBe(143);
    expect((await exec('--', 'no-such-program')).code).toBe(127);
    expect((await exec('--', folder)).code).toBe(126);
  });

  it('exec hands signals on to the command', async () => {
    const handlers = process.listenerCount('SIGTERM');
    const ready = join(folder, 'ready');
    const script = `
      process.on('SIGTERM', () => process.exit(7));
      require('fs').writeFileSync(${JSON.stringify(ready)}, '');
      setInterval(() => {}, 1000)`;
    const stop = new AbortController();
    const watched = (async () => {
      for await (const { filename } of watch(folder, { signal: stop.signal }))
        if (filename === 'ready') return;
    })();
    const result = cli(['exec', '-s', socket, 'web', '--', process.execPath, '-e', script]);
    await watched;
    process.emit('SIGTERM', 'SIGTERM');
    expect((await result).code).toBe(7);
    expect(process.listenerCount('SIGTERM')).toBe(handlers);
  });

  it('exec says that there is no such pod, or that it is gone', async () => {
    expect(await cli(['exec', 'db', '-s', socket, '--', 'true'])).toMatchObject({ code: 1 });
    expect((await cli(['exec', '-s', socket, 'db', 'true'])).stderr).toBe(
      'warren: there is no pod db on this node\n`warren pods` lists them.\n',
    );
    agent.podReports = [{ ...agent.podReports[0]!, status: 'missing' }];
    expect((await cli(['exec', '-s', socket, 'web', 'true'])).stderr).toMatch(
      /of pod web is gone\n.*warren pod rm web/,
    );
    expect((await cli(['exec', '-s', socket, 'web', '--'])).code).toBe(2);
  });

  const everything = {
    targets: [
      {
        node: 'node-a',
        addresses: ['127.0.0.1'],
        pods: [{ name: 'web', addresses: ['10.42.3.2', 'fd42:0:0:3::2'] }],
      },
    ],
    unreachable: [],
  };

  it('check prints a matrix of each family, and its exit code tells', async () => {
    // From the pod all of these are its own addresses; from here, only one is.
    agent.everyTarget = everything;
    agent.traceReport = { ...diagnose(observed()), line: 'node -> web: dies' };
    const { code, stdout } = await cli(['check', '-s', socket]);
    expect(code).toBe(1);
    expect(stdout.replace(/\d+\.\d\d\b/g, 'n.nn')).toBe(
      `IPv4, ms
from \\ to   node-a  node-a/web
node-a        n.nn        FAIL
node-a/web    n.nn        n.nn

IPv6, ms
from \\ to   node-a/web
node-a            FAIL
node-a/web        n.nn

2 of 6 did not answer.
node -> web: dies
node -> web: dies
`,
    );
    expect(agent.traceRequests.map(({ source, destination }) => [source, destination])).toEqual([
      ['node:node-a', '10.42.3.2'],
      ['node:node-a', 'fd42:0:0:3::2'],
    ]);
    const narrow = await cli(['check', '-s', socket], { columns: 20 });
    expect(narrow.stdout.replace(/\d+\.\d\d\b/g, 'n.nn')).toContain(`to \\ from   node-a  node-a/web
node-a        n.nn        n.nn
node-a/web    FAIL        n.nn
`);
  });

  it('check is content when all answer, as JSON too', async () => {
    agent.everyTarget = { ...everything, targets: [{ node: 'node-a', addresses: ['127.0.0.1'], pods: [] }] };
    const { code, stdout } = await cli(['check', '--json', '-s', socket]);
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as CheckReport;
    expect(report).toMatchObject({ node: 'node-a', ok: true, problems: [], unreachable: [] });
    expect(report.results).toEqual([
      {
        from: 'node',
        toNode: 'node-a',
        toPod: null,
        address: '127.0.0.1',
        ok: true,
        rttMs: expect.any(Number),
      },
      {
        from: 'web',
        toNode: 'node-a',
        toPod: null,
        address: '127.0.0.1',
        ok: true,
        rttMs: expect.any(Number),
      },
    ]);
  });

  it('check fails when a node cannot be asked or a pod is gone', async () => {
    agent.everyTarget = {
      targets: [{ node: 'node-a', addresses: ['127.0.0.1'], pods: [] }],
      unreachable: [{ node: 'node-b', reason: 'no answer' }],
    };
    const { code, stdout } = await cli(['check', '-s', socket]);
    expect(code).toBe(1);
    expect(stdout).toContain('node-b did not say what pods it has: no answer');
    agent.everyTarget = { ...agent.everyTarget, unreachable: [] };
    agent.podReports = [{ ...agent.podReports[0]!, status: 'missing' }];
    const missing = await cli(['check', '-s', socket]);
    expect(missing).toMatchObject({ code: 1, stdout: expect.stringContaining('pod web is missing') });
  });

  it('check fails on a node without a subnet, which has nothing to ping', async () => {
    agent.everyTarget = { targets: [{ node: 'node-a', addresses: [], pods: [] }], unreachable: [] };
    agent.podReports = [];
    agent.statusReport = { ...agent.statusReport, lease: { status: 'joining', subnets: [] } };
    const { code, stdout } = await cli(['check', '-s', socket]);
    expect(code).toBe(1);
    expect(stdout).toContain('its lease is joining');
  });
});

describe('without an agent', () => {
  it('check could not run: 2; the others failed: 1', async () => {
    const gone = join(folder, 'gone.sock');
    expect((await cli(['check', '-s', gone])).code).toBe(2);
    for (const argv of [['status'], ['pod', 'add', 'x'], ['pod', 'rm', 'x'], ['exec', 'x', 'true']]) {
      const at = argv[0] === 'exec' ? ['exec', '-s', gone, 'x', 'true'] : [...argv, '-s', gone];
      const { code, stdout, stderr } = await cli(at);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toMatch(
        /^warren: there is no control socket .*\nIs the agent running\? .*warren agent -c FILE.*\n$/,
      );
    }
  });

  it('forget tells what is free again, or that there is no such node', async () => {
    expect(await cli(['forget', 'node-b', '-s', socket])).toEqual({
      code: 0,
      stdout: 'node-b is forgotten; free again: 10.42.7.0/24\n',
      stderr: '',
    });
    const { code, stderr } = await cli(['forget', 'nobody', '-s', socket]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'warren: there is no node nobody\n' });
  });

  it('reload tells what has changed, and what needs a restart', async () => {
    expect(await cli(['reload', '-s', socket])).toEqual({
      code: 0,
      stdout: 'log.level: changed\ntun.name: needs a restart of the agent\n',
      stderr: '',
    });
    expect(JSON.parse((await cli(['reload', '--json', '-s', socket])).stdout)).toEqual(agent.reloadReport);
    agent.reloadReport = { changed: [], needsRestart: [] };
    expect((await cli(['reload', '-s', socket])).stdout).toBe('nothing has changed\n');
  });

  it('leave tells what is free again, and is refused while there are pods', async () => {
    const refused = await cli(['leave', '-s', socket]);
    expect(refused).toEqual({ code: 1, stdout: '', stderr: 'warren: this node has pods\n' });
    // A moment after it has answered.
    agent.onLeave = () => setTimeout(() => server.close(), 100);
    const { code, stdout } = await cli(['leave', '--force', '-s', socket]);
    expect(existsSync(socket)).toBe(false);
    server = await startServer();
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: 'node-a leaves the cluster; free again: 10.42.3.0/24\n',
    });
    expect(JSON.parse((await cli(['leave', '--force', '--json', '-s', socket])).stdout)).toEqual({
      name: 'node-a',
      subnets: ['10.42.3.0/24'],
    });
  });

  it('key list, add, use and remove ask the agent', async () => {
    expect((await cli(['key', 'list', '-s', socket])).stdout).toBe(
      `KEY                        NODES   SEALED BY
aabbccddeeff0011  primary  2 of 2  2 of 2
00112233445566aa           1 of 2  0 of 2
no answer from: node-c
`,
    );
    const added = await cli(['key', 'add', '-s', socket]);
    const [text, line] = added.stdout.split('\n');
    expect(parseKeyRing(text!, 'key').keys).toHaveLength(1);
    expect(line).toBe('added as 00112233445566aa; keep the line above secret');
    await cli(['key', 'use', '00112233445566aa', '-s', socket]);
    await cli(['key', 'remove', 'aabbccddeeff0011', '--force', '-s', socket]);
    expect(agent.keyChanges).toEqual([
      { action: 'add', key: text },
      { action: 'use', fingerprint: '00112233445566aa', force: false },
      { action: 'remove', fingerprint: 'aabbccddeeff0011', force: true },
    ]);
  });

  it('node list, approve and revoke ask the agent', async () => {
    const [aId, bId] = ['a1'.repeat(16), 'b2'.repeat(16)];
    expect((await cli(['node', 'list', '-s', socket])).stdout).toBe(
      `NODE      ID                                STATUS  ADMISSION
node-a *  ${aId}  alive   approved, approver
node-b    ${bId}  alive   approved by node-a at 2026-11-27T12:00:00.000Z
admission: allowlist, only approved nodes take part
`,
    );
    expect((await cli(['node', 'approve', 'node-b', '-s', socket])).stdout).toBe(
      `node-b (${bId}) is approved\n`,
    );
    expect((await cli(['node', 'approve', '--all', '-s', socket])).stdout).toBe('nothing to do\n');
    expect((await cli(['node', 'revoke', bId, '-s', socket])).stdout).toBe(`node-b (${bId}) is revoked\n`);
    expect((await cli(['node', 'approve', '-s', socket])).code).toBe(2);
    expect(agent.nodeChanges).toEqual([
      { action: 'approve', nodes: ['node-b'], all: false },
      { action: 'approve', nodes: [], all: true },
      { action: 'revoke', nodes: [bId] },
    ]);
  });

  it('key generate prints a key, or writes it to a new file of its own', async () => {
    const { code, stdout } = await cli(['key', 'generate']);
    expect(code).toBe(0);
    expect(parseKeyRing(stdout, 'key').keys).toHaveLength(1);
    const path = join(folder, 'cluster.key');
    expect(await cli(['key', 'generate', '-o', path])).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const text = readFileSync(path, 'utf8');
    expect(text).not.toBe(stdout);
    expect(await cli(['key', 'generate', '-o', path])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`${path} exists already`),
    });
    expect(readFileSync(path, 'utf8')).toBe(text);
    expect((await cli(['key', 'generate', '-o', join(folder, 'no/such/folder')])).code).toBe(1);
  });

  it('config check prints the whole configuration, or all that is wrong', async () => {
    const path = join(folder, 'c.yaml');
    writeFileSync(path, 'cluster: {podCidrs: [10.42.0.0/16]}\nnode: {name: a}\n');
    const { code, stdout } = await cli(['config', 'check', path]);
    expect(code).toBe(0);
    expect(stdout).toContain('  podCidrs:\n    - 10.42.0.0/16\n  nodePrefixLengths:\n    - 24\n');
    expect(JSON.parse((await cli(['config', 'check', path, '--json'])).stdout)).toMatchObject({
      node: { name: 'a' },
    });
    writeFileSync(path, 'cluster: {podCidrs: [10.42.0.0/16], nmae: a}\nlog: {level: loud}\n');
    expect(await cli(['config', 'check', path])).toEqual({
      code: 1,
      stdout: '',
      stderr:
        `warren: ${path}:1:37: cluster.nmae: unknown key (did you mean name?)\n` +
        `${path}:2:14: log.level: must be one of trace, debug, info, warn, error, silent, not "loud"\n`,
    });
  });

  it('agent refuses a wrong configuration before it does anything', async () => {
    expect(await cli(['agent', '-c', join(folder, 'nothing.yaml')])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no such file'),
    });
  });
});

describe('wrong usage is one line, a hint, and exit code 2', () => {
  it.each([
    [['stauts'], "warren: unknown command 'stauts'\n(Did you mean status?)\n"],
    [['status', '--jsno'], "warren: unknown option '--jsno'\n(Did you mean --json?)\n"],
    [['status', 'extra'], 'warren: too many arguments'],
    [['status', '--watch', 'often'], "argument 'often' is invalid. It must be a number of seconds"],
    [['pod', 'add'], "warren: missing required argument 'name'\n"],
    [['pod', 'ad', 'web'], "warren: unknown command 'ad'\n(Did you mean add?)\n"],
    [['agent'], "warren: required option '-c, --config <file>' not specified\n"],
    [['exec', 'web'], "warren: missing required argument 'command'\n"],
  ])('%j', async (argv, expected) => {
    const { code, stdout, stderr } = await cli(argv);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(expected);
    expect(stderr).toMatch(/\(add --help for what is possible\)\n$/);
    expect(stderr).not.toMatch(/\n {4}at /);
  });

  it('no command at all shows what there is', async () => {
    const { code, stdout, stderr } = await cli([]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    for (const name of ['agent', 'status', 'pod', 'exec', 'check', 'key', 'config', 'lab', 'demo']) {
      expect(stderr).toMatch(new RegExp(`^ {2}${name}\\b`, 'm'));
    }
  });

  it('help and version are answers, not errors', async () => {
    for (const argv of [['--help'], ['help'], ['status', '--help'], ['pod', 'add', '-h'], ['help', 'exec']]) {
      const { code, stdout, stderr } = await cli(argv);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toMatch(/^Usage: warren/);
    }
    expect(await cli(['--version'])).toEqual({ code: 0, stdout: `${fakeStatus.version}\n`, stderr: '' });
  });
});

describe('a bug', () => {
  it('is one line and how to learn more; the trace comes with WARREN_DEBUG', async () => {
    // A status without its parts makes the renderer fail.
    agent.statusReport = {} as never;
    const { code, stderr } = await cli(['status', '-s', socket]);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^warren: unexpected failure: .*\nThis is a bug in warren\. WARREN_DEBUG=1 shows .*\n$/,
    );
    const debug = await cli(['status', '-s', socket], { env: { WARREN_DEBUG: '1' } });
    expect(debug.stderr).toMatch(/\n {4}at /);
  });
});

const built = builtFile('bin/warren');
const isBuilt = statSync(built, { throwIfNoEntry: false }) !== undefined;

describe.skipIf(!isBuilt)(`the built program${isBuilt ? '' : ' (skipped: needs npm run build)'}`, () => {
  it('passes its arguments in and the exit code out', () => {
    expect(execFileSync(process.execPath, [built, '--version'], { encoding: 'utf8' })).toBe(
      `${fakeStatus.version}\n`,
    );
    expect(() => execFileSync(process.execPath, [built, 'nonsense'], { stdio: 'pipe' })).toThrow(
      expect.objectContaining({ status: 2 }) as Error,
    );
  });
});
