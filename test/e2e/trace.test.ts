/** `warren trace` on a lab of two nodes: faults are made one by one, on real kernels and agents, and each is named. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { namedNetnsPath } from '../../src/host/netns.ts';
import { LabNamespace, type LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { bridgeNamespace } from '../../src/lab/names.ts';
import { builtFile } from '../../src/package.ts';
import type { CheckReport } from '../../src/readmodel/check-reports.ts';
import type { TraceWishes } from '../../src/trace/messages.ts';
import type { Cause, TraceReport } from '../../src/trace/model.ts';
import { mustRun } from '../helpers/in-namespace.ts';
import { blocks, commands, readDocument } from '../helpers/markdown.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { comparable, Substitution } from '../helpers/shown-output.ts';
import { FrozenThread, NO_FREEZER, pollingThreads } from '../helpers/thread-freezer.ts';

/** Its nodes are those of docs/trace.md. */
const NAME = 'shop';
const [A, B] = [`${NAME}-a`, `${NAME}-b`];
const [WEB, DB] = [`web.${A}`, `db.${B}`];

describeUnless(lacking('root', 'ip', 'nsenter', 'ping', 'nft'), 'warren trace', () => {
  let lab: Lab;
  let web: LabPod;
  let db: LabPod;
  const here = () => lab.node(0);
  const there = () => lab.node(1);

  beforeAll(async () => {
    lab = await Lab.up({
      ...{ name: NAME, nodes: 2, pods: ['web', 'db'] },
      config: (node) => ({
        ...(node.name === A && {
          staticPeers: [
            {
              ...{ name: 'stranger', endpoint: '192.0.2.2:51820', subnets: ['10.99.0.0/24'] },
              publicKey: randomBytes(32).toString('base64'),
            },
          ],
        }),
      }),
    });
    web = await lab.pod(0, 'web');
    db = await lab.pod(1, 'db');
    gateways.push(await gateway(web), await gateway(db));
    // Others' pods are known some moments after their nodes.
    await known();
  });
  afterAll(() => lab?.down());

  async function known(): Promise<void> {
    const isKnown = async () =>
      (await here().client().inventory()).some(({ node, name }) => node === B && name === 'web');
    while (!(await isKnown())) await delay(50);
  }

  async function trace(wishes: Partial<TraceWishes> = {}): Promise<TraceReport> {
    const report = await here()
      .client()
      .trace({ source: WEB, destination: DB, ...wishes });
    if (process.env.SHOW)
      console.log(
        report.line,
        Math.round(performance.now()),
        process.env.SHOW === '2' ? JSON.stringify(report, null, 1) : '',
      );
    return report;
  }

  interface Fault {
    readonly what: string;
    /** One of several: how long a fault lasts decides. */
    readonly cause: Cause | readonly Cause[];
    /** Why it cannot be made here. */
    readonly lacks?: string | undefined;
    readonly node?: string | null;
    readonly says?: RegExp;
    readonly make: () => Promise<unknown>;
    readonly undo: () => Promise<unknown>;
    readonly wishes?: () => Partial<TraceWishes>;
  }

  const run = (on: LabNamespace, command: string) => mustRun(on, command.split(' '));
  const nft = (on: LabNamespace, hook: string, rule: string) =>
    mustRun(on, ['nft', '-f', '-'], {
      input: `add table inet fw\nadd chain inet fw c { type filter hook ${hook} priority 0; policy accept; }\nadd rule inet fw c ${rule}\n`,
    });
  const noNft = (on: LabNamespace) => run(on, 'nft delete table inet fw');
  const bridge = () => new LabNamespace(namedNetnsPath(bridgeNamespace(NAME)));

  let frozen: FrozenThread[] = [];
  const FAULTS: readonly Fault[] = [
    {
      ...{ what: 'the interface of the pod is down', cause: 'pod-interface-down', node: A },
      make: () => run(web, 'ip link set eth0 down'),
      undo: () => restore(web),
    },
    {
      ...{ what: 'the address of the pod is gone', cause: 'pod-address-missing', node: A },
      make: () => run(web, `ip address del ${web.address(4)}/32 dev eth0`),
      undo: () => restore(web),
    },
    {
      ...{ what: 'the default route of the pod is gone', cause: 'pod-route-missing', node: A },
      make: () => run(web, 'ip -4 route flush default'),
      undo: () => restore(web),
    },
    {
      ...{ what: 'a firewall within the pod', cause: 'pod-firewall', node: A },
      make: () => nft(web, 'output', 'drop'),
      undo: () => noNft(web),
    },
    {
      ...{ what: 'a source that is not the pod’s own', cause: 'source-check', node: A, says: /10\.66\.0\.1/ },
      make: async () => {
        await run(web, 'ip address add 10.66.0.1/32 dev eth0');
        await run(
          web,
          `ip route add ${db.address(4)}/32 via ${await gateway(web)} dev eth0 onlink src 10.66.0.1`,
        );
      },
      undo: async () => {
        await run(web, `ip route del ${db.address(4)}/32`);
        await run(web, 'ip address del 10.66.0.1/32 dev eth0');
        await run(web, 'ip neigh flush all');
      },
    },
    {
      ...{
        what: 'a firewall that drops what the sender forwards',
        cause: 'firewall',
        node: A,
        says: /hook forward: the rule "ip protocol icmp drop" of the chain inet fw c/,
      },
      make: () => nft(here(), 'forward', 'ip protocol icmp drop'),
      undo: () => noNft(here()),
    },
    {
      ...{
        what: 'a firewall that drops what the receiver forwards',
        cause: 'firewall',
        node: B,
        says: /hook forward/,
      },
      make: () => nft(there(), 'forward', 'ip protocol icmp reject'),
      undo: () => noNft(there()),
    },
    {
      ...{
        what: 'a firewall on the sender',
        cause: 'firewall',
        node: A,
        says: /datagram in the hook output: the rule "udp dport 51820 drop"/,
      },
      make: () => nft(here(), 'output', 'udp dport 51820 drop'),
      undo: () => noNft(here()),
    },
    {
      ...{
        what: 'a firewall on the receiver',
        cause: 'firewall',
        node: B,
        says: /datagram in the hook input: the rule "udp dport 51820 drop"/,
      },
      make: () => nft(there(), 'input', 'udp dport 51820 drop'),
      undo: () => noNft(there()),
    },
    {
      ...{ what: 'networks that are apart', cause: 'isolation', node: B },
      make: async () =>
        mustRun(there(), ['nft', '-f', '-'], {
          input: `add chain inet warren networks_test { type filter hook forward priority -20; policy accept; }\nadd rule inet warren networks_test oifname ${await hostEnd(B)} counter drop\n`,
        }),
      undo: () => run(there(), 'nft delete chain inet warren networks_test'),
    },
    {
      ...{ what: 'a full queue', cause: ['queue-full', 'path-stuck'], node: A, lacks: NO_FREEZER },
      make: async () => {
        frozen = (await pollingThreads(here().pid!)).map((tid) => new FrozenThread(tid));
        // More than fit, which nobody reads.
        await web.exec(['ping', '-q', '-l', '2000', '-c', '2000', '-w', '1', db.address(4)]);
      },
      undo: async () => {
        for (const one of frozen.splice(0)) one.thaw();
      },
    },
    {
      ...{ what: 'a route of the host that is in the way', cause: 'route-missing', node: A },
      make: () => run(here(), `ip rule add pref 10 to ${db.address(4)} unreachable`),
      undo: () => run(here(), 'ip rule del pref 10'),
    },
    {
      ...{ what: 'forwarding is off', cause: 'forwarding-off', node: A },
      make: async () => run(here(), `sysctl -qw net.ipv4.conf.${await hostEnd(A)}.forwarding=0`),
      undo: async () => run(here(), `sysctl -qw net.ipv4.conf.${await hostEnd(A)}.forwarding=1`),
    },
    {
      ...{ what: 'the reverse path filter', cause: 'reverse-path', node: B },
      make: async () => {
        await run(there(), 'sysctl -qw net.ipv4.conf.warren0.rp_filter=1');
        await run(there(), `ip route add ${web.address(4)}/32 via 192.0.2.1 dev eth0`);
      },
      undo: async () => {
        await run(there(), `ip route del ${web.address(4)}/32`);
        await run(there(), 'sysctl -qw net.ipv4.conf.warren0.rp_filter=0');
      },
    },
    {
      ...{ what: 'nobody has the subnet', cause: 'no-owner', node: A },
      ...{ make: nothing, undo: nothing, wishes: () => ({ destination: '10.42.254.9' }) },
    },
    {
      ...{ what: 'no such pod', cause: 'pod-not-attached', node: B },
      ...{
        make: nothing,
        undo: nothing,
        wishes: () => ({ destination: db.address(4).replace(/\d+$/, '99') }),
      },
    },
    {
      ...{ what: 'a wrong key', cause: 'no-session', node: A, says: /stranger/ },
      ...{ make: nothing, undo: nothing, wishes: () => ({ destination: '10.99.0.5' }) },
    },
    {
      ...{ what: 'longer than the interface takes', cause: 'too-big', node: A },
      ...{ make: nothing, undo: nothing, wishes: () => ({ bytes: 1441 }) },
    },
    {
      // The agent finds it too, and from then on says so by itself.
      ...{ what: 'a hole in the path', cause: ['mtu-hole', 'too-big'] },
      make: () => run(bridge(), 'ip link set port2 mtu 1300'),
      undo: () => run(bridge(), 'ip link set port2 mtu 1500'),
      wishes: () => ({ bytes: 1400 }),
    },
    {
      ...{ what: 'a firewall on the way', cause: 'underlay-lost', node: null },
      make: () =>
        mustRun(bridge(), ['nft', '-f', '-'], {
          input:
            'add table bridge fw\nadd chain bridge fw c { type filter hook forward priority 0; policy accept; }\nadd rule bridge fw c udp dport 51820 drop\n',
        }),
      undo: () => run(bridge(), 'nft delete table bridge fw'),
    },
    {
      ...{ what: 'the interface of the receiving pod is down', cause: 'pod-interface-down', node: B },
      make: () => run(db, 'ip link set eth0 down'),
      undo: () => restore(db),
    },
    {
      ...{ what: 'no route on the underlay', cause: 'underlay-route', node: A },
      make: () => run(here(), 'ip route add unreachable 192.0.2.2/32'),
      undo: () => run(here(), 'ip route del unreachable 192.0.2.2/32'),
    },
    {
      ...{ what: 'the link of the underlay is down', cause: 'underlay-link', node: A },
      make: () => run(here(), 'ip link set eth0 down'),
      undo: async () => {
        await run(here(), 'ip link set eth0 up');
        await here().waitFor('the other node', ({ peers }) =>
          peers.some(({ name, status }) => name === B && status === 'alive'),
        );
      },
    },
    {
      ...{ what: 'an agent that does not run', cause: 'peer-dead', node: B },
      make: () => there().kill('SIGKILL'),
      undo: nothing,
    },
  ];

  async function nothing(): Promise<void> {}
  /** By the agent, as it is when it begins: what was changed within a pod. */
  async function restore(pod: LabPod): Promise<void> {
    const gate = pod === web ? gateways[0]! : gateways[1]!;
    await run(pod, 'ip link set eth0 up');
    await run(pod, `ip address replace ${pod.address(4)}/32 dev eth0`);
    await run(pod, `ip route replace default via ${gate} dev eth0 onlink`);
  }
  const gateways: string[] = [];
  async function gateway(pod: LabPod): Promise<string> {
    return /via (\S+)/.exec(await run(pod, 'ip -4 route show default'))![1]!;
  }
  /** Of the end of the trace that is there. */
  async function hostEnd(node: string): Promise<string> {
    const [one, wanted] = node === A ? [here(), 'web'] : [there(), 'db'];
    return (await one.client().pods()).find(({ name }) => name === wanted)!.hostInterface;
  }

  test('a packet that arrives, from every kind of end to every kind', async () => {
    for (const wishes of [
      {},
      { source: DB, destination: WEB },
      { destination: `node:${B}` },
      { source: `node:${A}` },
      { destination: `db.${A}` },
      { destination: db.address(6) },
    ]) {
      const report = await trace(wishes);
      expect(report.line).toMatch(/arrives, and is answered$/);
    }
  });

  test('a port that is closed, and one that is open: both arrive', async () => {
    for (const protocol of ['tcp', 'udp'] as const) {
      const { verdict, line } = await trace({ protocol, port: 81 });
      expect(verdict, line).toMatchObject({ cause: 'port-closed', arrives: true });
    }
    const server = db.spawn([process.execPath, '-e', "require('net').createServer().listen(82)"]);
    try {
      const isOpen = async () =>
        (await trace({ protocol: 'tcp', port: 82 })).line.endsWith('TCP 82): arrives, and is answered');
      await expect.poll(isOpen, { timeout: 10_000 }).toBe(true);
    } finally {
      server.kill('SIGKILL');
    }
  });

  test('the command: steps, one line, exit codes; and nothing stays behind', async () => {
    const warren = (...argv: string[]) =>
      here().exec([process.execPath, builtFile('bin/warren'), ...argv, '-s', here().socket]);
    const whole = await warren('trace', 'web', DB, '--size', '1440');
    expect(whole).toMatchObject({ code: 0, stderr: '' });
    expect(whole.stdout).toMatch(/^node +step/);
    expect(whole.stdout.trimEnd().split('\n').at(-1)).toBe(
      `${WEB} -> ${DB} (ICMP): arrives, and is answered`,
    );
    const lost = await warren('trace', 'web', '10.42.254.9', '--tcp', '80', '--json');
    expect(lost.code).toBe(1);
    expect((JSON.parse(lost.stdout) as TraceReport).verdict.cause).toBe('no-owner');
    expect(await warren('trace', 'nobody', DB)).toMatchObject({ code: 2 });
    for (const node of [here(), there()])
      expect(await run(node, 'nft list tables')).not.toContain('warren_trace');
  });

  test('check shows the line of what does not answer', async () => {
    await nft(there(), 'forward', `ip daddr ${db.address(4)} icmp type echo-request drop`);
    try {
      const argv = [process.execPath, builtFile('bin/warren'), 'check', '--json', '-s', here().socket];
      const { code, stdout } = await here().exec(argv);
      expect(code).toBe(1);
      const failed = (JSON.parse(stdout) as CheckReport).results.filter(({ ok }) => !ok);
      // From the node and its two pods.
      expect(failed).toHaveLength(3);
      for (const { trace: traced } of failed) {
        expect(traced?.cause).toBe('firewall');
        expect(traced?.line).toContain(`dies on ${B}: a firewall drops the packet in the hook forward`);
      }
    } finally {
      await noNft(there());
    }
  });

  test('the commands of docs/trace.md, as they stand there', async () => {
    const real = new Substitution();
    const shown = blocks(readDocument('docs/trace.md')).filter(({ language }) => language === 'console');
    const lines = shown.flatMap((block) => commands(block));
    expect(lines.length).toBeGreaterThan(4);
    const firewall = 'tcp dport 5432 drop';
    for (const { line, output } of lines) {
      const dies = output.at(-1)?.includes(': dies ') ?? false;
      if (dies) await nft(there(), 'forward', firewall);
      const pings = line.includes('--live')
        ? web.spawn([...'ping -n -q -i 0.2'.split(' '), db.address(4)], { stdio: 'ignore' })
        : undefined;
      try {
        const argv = [
          process.execPath,
          builtFile('bin/warren'),
          ...real.apply(line).split(' ').slice(1),
          '-s',
          here().socket,
        ];
        const { code, stdout, stderr } = await here().exec(argv);
        expect(code, `${line}\n${stdout}${stderr}`).toBe(dies ? 1 : 0);
        if (output.length === 0) continue;
        const printed = stdout.trimEnd().split('\n');
        real.learn(output, printed);
        const steady = (some: readonly string[]) =>
          comparable(some).map((one) => one.replace(/\bwp[0-9a-f]+/, 'wp'));
        expect(steady(printed), line).toEqual(steady(output.map((one) => real.apply(one))));
      } finally {
        pings?.kill('SIGKILL');
        if (dies) await noNft(there());
      }
    }
  });

  test('real packets are followed, and none is sent', async () => {
    const quiet = await trace({ live: true, seconds: 0.5 });
    expect(quiet.verdict).toMatchObject({ cause: 'nothing-seen', arrives: false });
    const pings = web.spawn(['ping', '-n', '-q', '-i', '0.2', db.address(4)], { stdio: 'ignore' });
    try {
      expect((await trace({ live: true, seconds: 20 })).line).toMatch(/arrives, and is answered$/);
      await nft(there(), 'forward', 'ip protocol icmp drop');
      const { verdict } = await trace({ live: true, seconds: 20 });
      expect(verdict).toMatchObject({ cause: 'firewall', node: B });
    } finally {
      pings.kill('SIGKILL');
      await noNft(there()).catch(() => {});
    }
  });

  test.for(FAULTS)('$what: $cause', async ({ cause, node, says, lacks, make, undo, wishes }, context) => {
    if (lacks !== undefined) context.skip(lacks);
    try {
      await make();
      const report = await trace(wishes?.());
      const { verdict, line } = report;
      expect([cause].flat(), JSON.stringify(report, null, 1)).toContain(verdict.cause);
      expect(verdict).toMatchObject({ arrives: false, ...(node !== undefined && { node }) });
      if (says) expect(line).toMatch(says);
    } finally {
      await undo();
    }
  });

  test('what a trace needs of the kernel goes with the agent, however that ends', async () => {
    const tables = async () => (await run(here(), 'nft list tables')).match(/warren_trace_/g)?.length ?? 0;
    const running = trace({ live: true, seconds: 60 }).catch(() => {});
    await expect.poll(tables, { timeout: 20_000 }).toBe(1);
    await here().kill('SIGKILL');
    await running;
    await expect.poll(tables, { timeout: 20_000 }).toBe(0);
  });
});
