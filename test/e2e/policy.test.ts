/**
 * Network policies of agents, on real pods of two nodes: who reaches whom under a list of policies, ways around them, and what
 * restarts, floods of others and people see of them.
 */
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseAddress } from '../../src/ip/address.ts';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';
import { WARREN_PROGRAM } from '../../src/lab/program.ts';
import { parsePolicies } from '../../src/policy/documents.ts';
import type { NetworkPolicy } from '../../src/policy/schema.ts';
import type { PodReport } from '../../src/readmodel/reports.ts';
import { mustRun } from '../helpers/in-namespace.ts';
import { blocks, commands, readDocument } from '../helpers/markdown.ts';
import { oracleAllows, type PolicyCluster, type Question } from '../helpers/policy-oracle.ts';
import { promised } from '../helpers/promised.ts';
import { ANSWERED_PORTS, ReachProgram, type ReachQuestion } from '../helpers/reach-program.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { comparable } from '../helpers/shown-output.ts';
import { throwawayNetns } from '../helpers/throwaway-netns.ts';

const LAB = 'labpolicy';
const NAMESPACES = ['x', 'y', 'z'];
const NAMES = ['a', 'b', 'c'];
/** Longer than an answer on a busy machine takes in most cases; what is not as it should be is asked again. */
const WAIT_MS = 400;
const LIMIT_MS = 10_000;

interface Place {
  readonly namespace: string;
  readonly name: string;
  readonly node: LabNode;
  readonly report: PodReport;
  readonly program: ReachProgram;
}

const kind = 'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n';
const DENY_ALL = `${kind}metadata: {name: deny, namespace: x}\nspec: {policyTypes: [Ingress, Egress]}\n`;
/** Each is in force alone. */
const CASES: Readonly<Record<string, string>> = {
  'nothing at all': '',
  'all ways of a namespace closed': DENY_ALL,
  'what comes in closed, but for one pod of the namespace by its label': `${kind}metadata: {name: in, namespace: x}
spec: {ingress: [{from: [{podSelector: {matchLabels: {pod: b}}}]}]}\n`,
  'one pod open to another namespace, at one port': `${kind}metadata: {name: ns, namespace: x}
spec:
  podSelector: {matchLabels: {pod: a}}
  ingress:
    - from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: y}}}]
      ports: [{port: 80}]\n`,
  'pods and namespaces together, and by expressions, in a range of ports': `${kind}metadata: {name: both, namespace: y}
spec:
  podSelector: {matchExpressions: [{key: pod, operator: In, values: [a, c]}]}
  ingress:
    - from:
        - namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: NotIn, values: [z]}]}
          podSelector: {matchLabels: {pod: a}}
      ports: [{port: 60, endPort: 80, protocol: UDP}, {port: 81}]\n`,
  'ways out closed but for names, and into open pods': `${kind}metadata: {name: out, namespace: z}
spec:
  egress:
    - ports: [{port: 53, protocol: UDP}, {port: 53}]
    - to: [{namespaceSelector: {}, podSelector: {matchLabels: {pod: c}}}]
      ports: [{port: 81}]
  policyTypes: [Egress]
---
${kind}metadata: {name: in, namespace: x}
spec: {podSelector: {matchLabels: {pod: c}}, ingress: [{ports: [{port: 80}]}]}\n`,
  'a block without a part of it, beside what another policy lets in': `${kind}metadata: {name: block, namespace: x}
spec:
  podSelector: {matchLabels: {pod: b}}
  ingress: [{from: [{ipBlock: {cidr: 10.42.0.0/16, except: [EXCEPT]}}, {ipBlock: {cidr: "fd42::/48"}}]}]
---
${kind}metadata: {name: more, namespace: x}
spec: {podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: [{port: 53, protocol: UDP}]}]}\n`,
};

describeUnless(lacking('root', 'ip', 'nsenter', 'nft'), 'network policies', () => {
  let lab: Lab;
  let nodes: [LabNode, LabNode];
  const places: Place[] = [];

  beforeAll(async () => {
    lab = await Lab.up({ encapsulation: 'vxlan-gpe', name: LAB, nodes: 2, pods: 0 });
    nodes = lab.nodes as [LabNode, LabNode];
    await Promise.all(
      NAMESPACES.flatMap((namespace, i) =>
        NAMES.map(async (name, j) => {
          const node = nodes[(i + j) % 2]!;
          const labels = { 'warren.namespace': namespace, pod: name };
          const report = await node.client().addPod(`${namespace}-${name}`, { labels });
          const program = await ReachProgram.start(report.netns);
          places.push({ namespace, name, node, report, program });
        }),
      ),
    );
  });
  afterAll(async () => {
    for (const { program } of places) program.stop();
    await Lab.remove(LAB);
  });

  const place = (namespace: string, name: string) =>
    places.find((one) => one.namespace === namespace && one.name === name)!;
  const addressOf = ({ report }: Pick<Place, 'report'>, family: 4 | 6) =>
    report.addresses.find((address) => address.includes(':') === (family === 6))!;
  const within = (what: string, holds: () => Promise<boolean>, withinMs = LIMIT_MS) =>
    promised(holds, { withinMs, lookMs: 2 * WAIT_MS, otherwise: () => what });

  /** In place of all that there is, on both nodes. */
  async function enforce(text: string): Promise<NetworkPolicy[]> {
    const client = nodes[0].client();
    const known = (await client.policies()).policies.map(({ name }) => name);
    const apply = parsePolicies(text, 'case');
    const keys = apply.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
    const report = await client.changePolicies({
      ...{ apply, delete: known.filter((name) => !keys.includes(name)), all: true },
    });
    expect(report).toMatchObject({ sent: [nodes[1].name], unreachable: [] });
    return apply;
  }

  const reach = (from: Place, to: Place, question: Partial<ReachQuestion> & { family?: 4 | 6 } = {}) => {
    const { family = 4, ...rest } = question;
    const base = { protocol: 'UDP', port: 80, waitMs: WAIT_MS } as const;
    return from.program.ask({ ...base, ...rest, address: addressOf(to, family) });
  };
  const reaches = (from: Place, to: Place, question: Parameters<typeof reach>[2] = {}) =>
    within(`${from.report.name} reaches ${to.report.name}`, () => reach(from, to, question));
  const isCutOff = (from: Place, to: Place, question: Parameters<typeof reach>[2] = {}) =>
    within(
      `${from.report.name} does not reach ${to.report.name}`,
      async () => !(await reach(from, to, question)),
    );

  test.for(Object.entries(CASES))('let through what the documents allow: %s', async ([, text]) => {
    const except = addressOf(place('y', 'a'), 4);
    const policies = await enforce(text.replace('EXCEPT', `${except}/32`));
    if (text === '') {
      // Nothing is in the way of packets, and connection tracking is not switched on.
      for (const node of nodes)
        expect((await node.exec(['nft', 'list', 'ruleset'])).stdout).not.toMatch(/policy_|\bct /);
    }
    const cluster: PolicyCluster = {
      policies,
      namespaces: NAMESPACES.map((name) => ({ name, labels: {} })),
      pods: places.map(({ namespace, report, node }) => ({
        ...{ namespace, name: report.name, node: node.name, ports: [], hostNetwork: false },
        labels: report.labels!,
        addresses: report.addresses.map(parseAddress),
      })),
    };
    const ends = places.map((one, i) => ({
      ...{ name: one.report.name, pod: cluster.pods[i] },
      ...{ ipv4: addressOf(one, 4), ipv6: addressOf(one, 6) },
    }));
    let questions: (Question & { readonly expected: boolean })[] = [];
    for (const [i, from] of ends.entries())
      for (const [j, to] of ends.entries())
        for (const protocol of ['TCP', 'UDP'] as const)
          for (const port of ANSWERED_PORTS) {
            // Both families of each pair, over the ports.
            const question = { from, to, protocol, port, family: (i + j + port) % 2 ? 4 : 6 } as const;
            questions.push({ ...question, expected: oracleAllows(cluster, question) });
          }
    expect(questions).toHaveLength(486);
    const sinceMs = performance.now();
    // What is as it should be is; the other node's pods may not be known here yet, and the machine may be busy.
    for (;;) {
      const answers = await Promise.all(
        questions.map(({ from, to, protocol, port, family }) =>
          places
            .find(({ report }) => report.name === from.name)!
            .program.ask({
              ...{ protocol: protocol as 'TCP', port, waitMs: WAIT_MS },
              address: family === 4 ? to.ipv4! : to.ipv6!,
            }),
        ),
      );
      questions = questions.filter(({ expected }, i) => answers[i] !== expected);
      if (questions.length === 0 || performance.now() - sinceMs > LIMIT_MS) break;
    }
    expect(
      questions.map(({ from, to, protocol, port, family, expected }) => {
        return `${from.name} to ${to.name} IPv${family} ${protocol} ${port} should be ${expected ? 'allowed' : 'denied'}`;
      }),
    ).toEqual([]);
  });

  test('are what the documentation shows', async () => {
    await enforce('');
    const text = readDocument('docs/policy.md');
    const folder = mkdtempSync(join(tmpdir(), 'warren-policy-documents-'));
    writeFileSync(join(folder, 'warren'), `#!/bin/sh\nexec '${process.execPath}' '${WARREN_PROGRAM}' "$@"\n`);
    chmodSync(join(folder, 'warren'), 0o755);
    writeFileSync(join(folder, 'db.yaml'), blocks(text).find(({ language }) => language === 'yaml')!.text);
    try {
      for (const { line, output } of blocks(text)
        .filter(({ language }) => language === 'console')
        .flatMap(commands)) {
        const { code, stdout, stderr } = await nodes[0].exec(['sh', '-c', `cd ${folder}; ${line}`], {
          env: { ...process.env, PATH: `${folder}:${process.env.PATH}`, WARREN_SOCKET: nodes[0].socket },
        });
        expect(code, `${line}\n${stdout}${stderr}`).toBe(0);
        if (output.length === 0) continue;
        const printed = stdout.trimEnd().split('\n');
        // Addresses stand in brackets there.
        const plain = (lines: readonly string[]) =>
          comparable(
            lines.map((one) => one.replace(/\([0-9.]+\)/g, '(ADDRESS)').replaceAll(`${LAB}-`, 'node-')),
          );
        expect(plain(printed), line).toEqual(plain(output));
      }
    } finally {
      rmSync(folder, { recursive: true });
      for (const name of ['web', 'db']) await nodes[0].client().removePod(name);
    }
  });

  test('say what the kernel did with packets, and count what staged ones would deny', async () => {
    const [web, db] = [place('y', 'b'), place('x', 'a')];
    await enforce(CASES['one pod open to another namespace, at one port']!);
    const tcp = (port: number) => ({ protocol: 'TCP', port }) as const;
    await reaches(web, db, tcp(80));
    await isCutOff(web, db, tcp(81));
    const client = db.node.client();
    const ask = (port: number, node = db.node) =>
      node.client().explainPolicies({ source: 'y/y-b', destination: 'x/x-a', protocol: 'tcp', port });
    const through = await ask(80);
    expect(through).toMatchObject({ verdict: 'allowed', ends: [{}, { by: { rule: 'x/ns ingress[0]' } }] });
    expect(through.ends[1]!.kernel!.rules[0]!.packets).toBeGreaterThan(0);
    // Asked on either node, of the one that has the pod.
    for (const node of nodes) {
      const denied = await ask(81, node);
      expect(denied).toMatchObject({
        verdict: 'denied',
        ends: [{ verdict: 'allowed' }, { node: db.node.name }],
      });
      expect(denied.ends[1]!.kernel!.denied!.packets).toBeGreaterThan(0);
      expect(denied.ends[1]!.kernel!.denied!.ageSeconds).toBeLessThan(60);
    }
    const packets = async (isStaged: boolean) =>
      ((await client.status()).policies?.denied ?? [])
        .filter((one) => one.policy === 'x/ns' && one.isStaged === isStaged)
        .reduce((sum, one) => sum + one.packets, 0);
    const before = await packets(false);
    expect(before).toBeGreaterThan(0);
    await within('the first denial is logged', async () =>
      /network policies deny packets/.test(db.node.log()),
    );
    await enforce(
      CASES['one pod open to another namespace, at one port']!.replace(
        'namespace: x}',
        'namespace: x, annotations: {warren.io/staged: "true"}}',
      ),
    );
    await reaches(web, db, tcp(81));
    expect(await ask(81)).toMatchObject({
      ...{ verdict: 'allowed' },
      ends: [{}, { staged: { verdict: 'denied', policies: ['x/ns'] } }],
    });
    expect((await ask(81)).ends[1]!.kernel!.trial!.packets).toBeGreaterThan(0);
    expect(await packets(true)).toBeGreaterThan(0);
    expect(await packets(false)).toBe(before);
  });

  test('cannot be passed by a false source, by fragments or by extension headers', async () => {
    const [web, db, other] = [place('x', 'b'), place('x', 'a'), place('y', 'a')];
    await enforce(CASES['what comes in closed, but for one pod of the namespace by its label']!);
    await reaches(web, db);
    await isCutOff(other, db);
    db.program.seen.clear();
    for (const family of [4, 6] as const) {
      // Datagrams that are cut into three.
      await reaches(web, db, { family, bytes: 4000 });
      expect(await reach(other, db, { family, bytes: 4000 })).toBe(false);
      // From the address of a pod that may.
      const source = addressOf(web, family);
      const inOther = async (...argv: string[]) => {
        const done = spawn('nsenter', [`--net=${other.report.netns}`, '--', ...argv], { stdio: 'inherit' });
        await new Promise((resolve) => done.on('close', resolve));
      };
      const prefix = `${source}/${family === 4 ? 32 : 128}`;
      await inOther('ip', 'address', 'add', prefix, 'dev', 'lo', ...(family === 6 ? ['nodad'] : []));
      expect(await reach(other, db, { family, source })).toBe(false);
      expect(await reach(other, db, { family, source, protocol: 'TCP' })).toBe(false);
      await inOther('ip', 'address', 'delete', prefix, 'dev', 'lo');
    }
    expect([...db.program.seen].sort()).toEqual(web.report.addresses.toSorted());
  });

  test('have no way around them in services: not from localhost of another node, and not for others', async () => {
    const [db, other] = [place('x', 'a'), place('y', 'a')];
    const pod = addressOf(db, 4);
    const service = '10.96.0.9';
    // What kube-proxy does: of a service, of a node's port on localhost, and for what has to come back.
    const rules = `table ip services {
      chain prerouting { type nat hook prerouting priority -100; ip daddr ${service} udp dport 80 dnat to ${pod}:80; }
      chain output { type nat hook output priority -100; ip daddr 127.0.0.1 udp dport 30080 dnat to ${pod}:80; }
      chain postrouting { type nat hook postrouting priority 100;
        ip saddr ${pod} ip daddr ${pod} masquerade; ip saddr 127.0.0.0/8 oifname != "lo" masquerade; }
    }`;
    const script = `const socket = require('node:dgram').createSocket('udp4');
      socket.on('message', () => process.exit(0)); socket.send('?', 30080, '127.0.0.1');
      setTimeout(() => process.exit(1), ${WAIT_MS});`;
    const fromLocalhost = async (node: LabNode) =>
      (await node.exec([process.execPath, '-e', script])).code === 0;
    try {
      for (const node of nodes) {
        const load = 'echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet; exec nft -f -';
        await mustRun(node, ['sh', '-c', `printf '%s' '${rules}' | { ${load}; }`]);
      }
      const ask = async () => ({
        itself: await db.program.ask({ protocol: 'UDP', port: 80, address: service, waitMs: WAIT_MS }),
        other: await other.program.ask({ protocol: 'UDP', port: 80, address: service, waitMs: WAIT_MS }),
        ownNode: await fromLocalhost(nodes[0]),
        otherNode: await fromLocalhost(nodes[1]),
      });
      const are = (expected: Awaited<ReturnType<typeof ask>>) =>
        expect.poll(ask, { timeout: LIMIT_MS }).toEqual(expected);
      await enforce('');
      await are({ itself: true, other: true, ownNode: true, otherNode: true });
      await enforce(DENY_ALL);
      await are({ itself: true, other: false, ownNode: true, otherNode: false });
    } finally {
      for (const node of nodes) await node.exec(['nft', 'delete', 'table', 'ip', 'services']);
    }
  });

  test.skipIf(lacking('python3') !== undefined)('ask the packet behind extension headers', async () => {
    const [web, db, other] = [place('x', 'b'), place('x', 'a'), place('y', 'a')];
    await enforce(CASES['what comes in closed, but for one pod of the namespace by its label']!);
    await reaches(web, db, { family: 6 });
    // IPV6_HOPOPTS (54) and IPV6_DSTOPTS (59): a header of 8 bytes with padding alone.
    const send = (from: Place, option: number) =>
      new Promise<string>((resolve) => {
        const text = `import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.settimeout(0.4)
s.setsockopt(41, ${option}, bytes([0, 0, 1, 4, 0, 0, 0, 0]))
answer = ''
for i in range(3):
    s.sendto(b'?', ('${addressOf(db, 6)}', 80))
    try: answer = s.recv(9).decode(); break
    except TimeoutError: pass
print(answer)`;
        const argv = [`--net=${from.report.netns}`, '--', 'python3', '-c', text];
        const child = spawn('nsenter', argv, { stdio: ['ignore', 'pipe', 'inherit'] });
        let said = '';
        child.stdout.on('data', (chunk) => (said += chunk));
        child.on('close', () => resolve(said.trim()));
      });
    for (const option of [54, 59]) {
      expect(await send(other, option)).toBe('');
      await within(
        `extension headers of ${option} pass where they may`,
        async () => (await send(web, option)) === '?',
      );
    }
  });

  test('hold for a pod from its first moment on', async () => {
    await enforce(DENY_ALL);
    const netns = throwawayNetns();
    const program = await ReachProgram.start(netns.path);
    try {
      const node = nodes[0];
      const asker = places.find((one) => one.namespace === 'y' && one.node === node)!;
      // The next address of the node, as it gives them out one after the other.
      const first = await node.client().addPod('first', { labels: { 'warren.namespace': 'y' } });
      const next = addressOf({ report: first }, 4).replace(/\d+$/, (last) => String(Number(last) + 1));
      const asked = Promise.all(
        Array.from({ length: 40 }, async (_, i) => {
          await delay(i * 15);
          return asker.program.ask({ protocol: 'UDP', port: 80, address: next, waitMs: 1000 });
        }),
      );
      const labels = { 'warren.namespace': 'x', pod: 'new' };
      const born = await node.client().addPod('new', { netns: netns.path, labels });
      expect(addressOf({ report: born }, 4)).toBe(next);
      expect(await asked).not.toContain(true);
      expect([...program.seen]).toEqual([]);
      for (const name of ['new', 'first']) await node.client().removePod(name);
    } finally {
      program.stop();
      netns.remove();
    }
  });

  test('end what they deny within a second, and nothing else: not by a restart, nor by a flush', async () => {
    const [from, to] = [place('y', 'b'), place('y', 'a')];
    const node = to.node;
    await enforce(CASES['all ways of a namespace closed']!);
    const open = parsePolicies(`${kind}metadata: {name: y, namespace: y}\nspec: {ingress: [{}]}\n`, 'open');
    await node.client().changePolicies({ apply: open });
    // TCP both ways, and datagrams that go one way after the first one: what is denied of them are answers alone.
    const run = (netns: string, text: string) =>
      spawn('nsenter', [`--net=${netns}`, '--', process.execPath, '-e', text], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
    const server = run(
      to.report.netns,
      `const tick = (send) => { const timer = setInterval(send, 20); return () => clearInterval(timer); };
       const udp = require('node:dgram').createSocket('udp6');
       udp.on('message', (_, { port, address }) => tick(() => udp.send('tick', port, address, () => {}))).bind(9000, '::');
       require('node:net').createServer((s) => s.on('error', () => {}).on('data', () => {}).on('close', tick(() => s.write('tick')))).listen(9000, '::', () => console.log('ready'));`,
    );
    await new Promise((resolve) => server.stdout.once('data', resolve));
    const flow = run(
      from.report.netns,
      `const s = require('node:net').connect(9000, '${addressOf(to, 4)}');
       s.on('data', () => console.log('tcp')).on('close', () => console.log('closed')).on('error', () => {});
       const udp = require('node:dgram').createSocket('udp6');
       udp.on('message', () => console.log('udp')).bind(0, '::', () => udp.send('?', 9000, '${addressOf(to, 6)}'));`,
    );
    const ticks = { tcp: 0, udp: 0 };
    let isClosed = false;
    createInterface({ input: flow.stdout }).on('line', (line) => {
      if (line === 'closed') isClosed = true;
      else ticks[line as 'tcp' | 'udp']++;
    });
    const goesOn = async (limitMs = LIMIT_MS) => {
      const { tcp, udp } = ticks;
      await within('both go on', async () => ticks.tcp > tcp + 3 && ticks.udp > udp + 3, limitMs);
      expect(isClosed).toBe(false);
    };
    try {
      await goesOn();
      await node.restart();
      await goesOn();
      await within(
        'the agent answers',
        async () =>
          (await node
            .client()
            .policies()
            .catch(() => undefined)) !== undefined,
      );
      const repaired = async () => (await node.client().status()).repairs.rule!;
      const before = await repaired();
      await node.exec(['nft', 'delete', 'table', 'inet', 'warren']);
      await within('the rules are there again', async () => (await repaired()) > before, 2500);
      await goesOn();
      expect(await reach(place('z', 'a'), place('x', 'a'))).toBe(false);
      const shut = parsePolicies(`${kind}metadata: {name: y, namespace: y}\nspec: {ingress: []}\n`, 'shut');
      await node.client().changePolicies({ apply: shut });
      await within(
        'both have ended',
        async () => {
          const { tcp, udp } = ticks;
          await delay(200);
          return ticks.tcp === tcp && ticks.udp === udp;
        },
        1500,
      );
      await node.client().changePolicies({ apply: open });
      await goesOn();
    } finally {
      flow.kill('SIGKILL');
      server.kill('SIGKILL');
    }
  });
});
