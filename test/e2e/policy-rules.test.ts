/** Rendered policies in the kernel's hands: real packets between pods, their node and the outside, held to the oracle. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { difference, type RenderedState } from '../../src/host/rules/nft-difference.ts';
import { parseAddress } from '../../src/ip/address.ts';
import { parsePrefix } from '../../src/ip/prefix.ts';
import { compilePolicies } from '../../src/policy/compile.ts';
import { renderRules } from '../../src/policy/nft/render.ts';
import { NODES, OUTSIDE, policyClusters, questions } from '../helpers/policy-clusters.ts';
import { attachmentsOf } from '../helpers/policy-evaluator.ts';
import { addressOf, oracleAllows, type PolicyCluster, type Question } from '../helpers/policy-oracle.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { type ThrowawayNetns, throwawayNetns } from '../helpers/throwaway-netns.ts';

const PODS = 4;
const CLUSTERS = 8;
const SEED = 20;
const OPTIONS = { tunName: 'warren0', podRanges: ['10.42.0.0/16', 'fd42::/16'].map(parsePrefix) };
/** An answer that is due may be late on a busy machine; one that is not is not waited for so long. */
const WAIT_MS = { allowed: 10_000, denied: 700 } as const;

/** Answers on some ports, and asks what it is told to: a line for each question, and for each answer. */
const PROGRAM = `
const net = require('node:net'), dgram = require('node:dgram');
for (const port of [53, 80, 81]) {
  net.createServer((socket) => { socket.on('error', () => {}); socket.end(); }).listen(port, '::');
  const udp = dgram.createSocket('udp6');
  udp.on('message', (bytes, from) => udp.send(bytes, from.port, from.address));
  udp.bind(port, '::');
}
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, address, protocol, port, waitMs } = JSON.parse(line);
  let close;
  const done = (reached) => { clearTimeout(timer); close(); close = () => {}; console.log(id, reached); };
  const timer = setTimeout(() => { const end = close; close = () => {}; end(); console.log(id, false); }, waitMs);
  if (protocol === 'TCP') {
    const socket = net.connect({ host: address, port });
    close = () => socket.destroy();
    socket.on('connect', () => done(true)).on('error', () => {});
  } else {
    const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
    close = () => socket.close();
    socket.on('message', () => done(true)).on('error', () => {});
    socket.send('?', port, address, () => {});
  }
});
console.log('ready');
`;

describeUnless(lacking('root', 'ip', 'nsenter', 'nft'), 'policies in nftables', () => {
  const places = new Map<string, { netns: ThrowawayNetns; program?: ChildProcess }>();
  const answers = new Map<string, (reached: boolean) => void>();
  let node: ThrowawayNetns;
  let loaded: RenderedState = { sets: new Map(), chains: new Map() };

  const load = (state: RenderedState): void => {
    const input = difference(loaded, state);
    execFileSync('nsenter', [`--net=${node.path}`, '--', 'nft', '-f', '-'], { input, stdio: 'pipe' });
    loaded = state;
  };

  beforeAll(async () => {
    node = throwawayNetns();
    places.set(NODES.n1.name, { netns: node });
    node.run('ip', 'link', 'set', 'lo', 'up');
    node.run(
      'sh',
      '-c',
      'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding',
    );
    const others = Array.from({ length: PODS }, (_, i) => [
      `pod-${i}`,
      `10.42.1.${i + 2}`,
      `fd42:1::${i + 2}`,
    ]);
    for (const [name, ipv4, ipv6] of [...others, [OUTSIDE.name, OUTSIDE.ipv4, OUTSIDE.ipv6]] as string[][]) {
      const netns = throwawayNetns();
      places.set(name!, { netns });
      const outer = name!;
      node.run('ip', 'link', 'add', outer, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns.name);
      node.run('ip', 'link', 'set', outer, 'up');
      netns.run('ip', 'link', 'set', 'lo', 'up');
      netns.run('ip', 'link', 'set', 'eth0', 'up');
      for (const [own, gateway, bits] of [
        [ipv4!, NODES.n1.ipv4, 32],
        [ipv6!, NODES.n1.ipv6, 128],
      ] as const) {
        const nodad = bits === 128 ? ['nodad'] : [];
        node.run('ip', 'addr', 'add', `${gateway}/${bits}`, 'dev', outer, ...nodad);
        node.run('ip', 'route', 'add', own, 'dev', outer);
        netns.run('ip', 'addr', 'add', `${own}/${bits}`, 'dev', 'eth0', ...nodad);
        netns.run('ip', 'route', 'add', gateway, 'dev', 'eth0');
        netns.run('ip', 'route', 'add', 'default', 'via', gateway, 'dev', 'eth0', 'onlink');
      }
    }
    for (const place of places.values()) {
      const argv = [`--net=${place.netns.path}`, '--', process.execPath, '-e', PROGRAM];
      place.program = spawn('nsenter', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
      await new Promise<void>((resolve) => {
        createInterface({ input: place.program!.stdout! }).on('line', (line) => {
          const [id, reached] = line.split(' ') as [string, string];
          if (id === 'ready') resolve();
          else answers.get(id)?.(reached === 'true');
        });
      });
    }
  });
  afterAll(() => {
    for (const { netns, program } of places.values()) {
      program?.kill('SIGKILL');
      netns.remove();
    }
  });

  const ask = ({ from, to, family, protocol, port }: Question, isAllowed: boolean): Promise<boolean> =>
    new Promise((resolve) => {
      const id = String(answers.size);
      answers.set(id, resolve);
      const waitMs = WAIT_MS[isAllowed ? 'allowed' : 'denied'];
      const question = { id, address: addressOf(to, family), protocol, port, waitMs };
      places.get(from.name)!.program!.stdin!.write(`${JSON.stringify(question)}\n`);
    });

  const onOneNode = (cluster: PolicyCluster): PolicyCluster => ({
    ...cluster,
    pods: cluster.pods.slice(0, PODS).map((pod, i) => ({
      ...pod,
      node: 'n1',
      hostNetwork: false,
      addresses: [`10.42.1.${i + 2}`, `fd42:1::${i + 2}`].map(parseAddress),
    })),
  });
  const asked = (cluster: PolicyCluster): Question[] =>
    [...questions(cluster)].filter(
      ({ from, to, protocol, port }) =>
        from.name !== to.name &&
        from.node !== 'n2' &&
        to.node !== 'n2' &&
        (from.pod !== undefined || to.pod !== undefined) &&
        (protocol === 'TCP' || protocol === 'UDP') &&
        port !== 8080,
    );

  test('let through what the documents allow, and nothing else, from one cluster to the next', async () => {
    const clusters = fc.sample(policyClusters, { numRuns: CLUSTERS, seed: SEED }).map(onOneNode);
    let denied = 0;
    for (const [i, cluster] of clusters.entries()) {
      const model = compilePolicies(cluster, attachmentsOf(cluster, 'n1'));
      load(renderRules(model, OPTIONS));
      const all = asked(cluster);
      const expected = all.map((question) => oracleAllows(cluster, question));
      const reached = await Promise.all(all.map((question, j) => ask(question, expected[j]!)));
      const wrong = all
        .map((question, j) => ({ question, expected: expected[j], reached: reached[j] }))
        .filter((one) => one.expected !== one.reached)
        .map(({ question: { from, to, family, protocol, port }, expected }) => {
          return `${from.name} to ${to.name} IPv${family} ${protocol} ${port} should be ${expected ? 'allowed' : 'denied'}`;
        });
      expect(wrong, `cluster ${i} of seed ${SEED}`).toEqual([]);
      denied += reached.filter((one) => !one).length;
    }
    expect(denied).toBeGreaterThan(100);
  });

  test('let errors of ICMP through, and end what is established when it is denied', async () => {
    const pod = places.get('pod-0')!.netns;
    const cluster = (policies: PolicyCluster['policies']): PolicyCluster => ({
      namespaces: [],
      policies,
      pods: [0, 1].map((i) => ({
        ...{ namespace: 'a', labels: {}, node: 'n1', hostNetwork: false, ports: [], name: `pod-${i}` },
        addresses: [parseAddress(`10.42.1.${i + 2}`), parseAddress(`fd42:1::${i + 2}`)],
      })),
    });
    const enforce = (spec: object): void => {
      const kind = { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' } as const;
      const one = cluster([{ ...kind, metadata: { name: 'x', namespace: 'a' }, spec }]);
      load(renderRules(compilePolicies(one, attachmentsOf(one, 'n1')), OPTIONS));
    };
    // Only UDP 9 may be asked for, where nobody listens: the answer is an error of ICMP, to a pod that nothing may come to.
    enforce({
      ingress: [{ ports: [{ port: 9, protocol: 'UDP' }] }],
      egress: [{ ports: [{ port: 9, protocol: 'UDP' }] }],
    });
    for (const address of ['10.42.1.3', 'fd42:1::3']) {
      const family = address.includes(':') ? 'udp6' : 'udp4';
      const text = `const s = require('dgram').createSocket('${family}'); s.on('error', (e) => { console.log(e.code); process.exit(); });
        s.connect(9, '${address}', () => s.send('?')); setTimeout(() => { console.log('nothing'); process.exit(); }, 10_000);`;
      expect(pod.run(process.execPath, '-e', text).trim()).toBe('ECONNREFUSED');
    }
    // A flow that began while it might ends at once when it may not any more.
    enforce({ ingress: [{ ports: [{ port: 53, protocol: 'UDP' }] }] });
    const flow = spawn(
      'nsenter',
      [
        ...[`--net=${pod.path}`, '--', process.execPath, '-e'],
        `const s = require('dgram').createSocket('udp4'); s.on('message', () => console.log('answer'));
         setInterval(() => s.send('?', 53, '10.42.1.3'), 20);`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let answered = 0;
    createInterface({ input: flow.stdout }).on('line', () => answered++);
    const answersWithin = async (ms: number): Promise<number> => {
      const before = answered;
      await delay(ms);
      return answered - before;
    };
    try {
      await expect.poll(() => answered, { timeout: 5_000 }).toBeGreaterThan(2);
      enforce({ ingress: [] });
      await expect.poll(() => answersWithin(100), { timeout: 2_000 }).toBe(0);
      expect(await answersWithin(300)).toBe(0);
      enforce({ ingress: [{ ports: [{ port: 53, protocol: 'UDP' }] }] });
      await expect.poll(() => answersWithin(100), { timeout: 5_000 }).toBeGreaterThan(1);
    } finally {
      flow.kill('SIGKILL');
    }
  });

  test('do not take a host for the pod whose address it forges', async () => {
    const outside = places.get(OUTSIDE.name)!.netns;
    const [pod, forged] = ['pod-0', 'pod-1'].map((name) => places.get(name)!.netns) as [
      ThrowawayNetns,
      ThrowawayNetns,
    ];
    const pods = [0, 1].map((i) => ({
      ...{ namespace: 'a', labels: {}, node: 'n1', hostNetwork: false, ports: [], name: `pod-${i}` },
      addresses: [parseAddress(`10.42.1.${i + 2}`), parseAddress(`fd42:1::${i + 2}`)],
    }));
    const kind = { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' } as const;
    const policy = {
      ...kind,
      metadata: { name: 'x', namespace: 'a' },
      spec: { ingress: [{ from: [{ podSelector: {} }] }] },
    };
    const cluster: PolicyCluster = { namespaces: [], policies: [policy], pods };
    load(renderRules(compilePolicies(cluster, attachmentsOf(cluster, 'n1')), OPTIONS));
    for (const [family, own, from] of [
      ['udp4', '10.42.1.2', '10.42.1.3'],
      ['udp6', 'fd42:1::2', 'fd42:1::3'],
    ] as const) {
      const heard: string[] = [];
      const listen = `const s = require('dgram').createSocket('${family}'); s.bind(9000, () => console.log('ready'));
        s.on('message', (text) => console.log(String(text)));`;
      const listener = spawn('nsenter', [`--net=${pod.path}`, '--', process.execPath, '-e', listen], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      createInterface({ input: listener.stdout }).on('line', (line) => heard.push(line));
      const say = (where: ThrowawayNetns, text: string) =>
        where.run(
          process.execPath,
          '-e',
          `const s = require('dgram').createSocket('${family}');
           s.bind(0, '${from}', () => s.send('${text}', 9000, '${own}', () => s.close()));`,
        );
      try {
        await expect.poll(() => heard, { timeout: 5_000 }).toEqual(['ready']);
        outside.run(
          'ip',
          'addr',
          'add',
          `${from}/${family === 'udp4' ? 32 : 128}`,
          'dev',
          'lo',
          ...(family === 'udp6' ? ['nodad'] : []),
        );
        say(outside, 'forged');
        say(forged, 'true');
        await expect.poll(() => heard, { timeout: 5_000 }).toEqual(['ready', 'true']);
      } finally {
        listener.kill('SIGKILL');
      }
    }
  });

  test('leave nothing in the table when the last policy goes', () => {
    load({ sets: new Map(), chains: new Map() });
    expect(node.run('nft', 'list', 'table', 'inet', 'warren')).toBe('table inet warren {\n}\n');
  });

  test('load as they are when everything changes at once, with tiers and names of any length', () => {
    const rule = { action: 'pass' as const, peer: { kind: 'any' as const }, ports: 'any' as const };
    const tier = {
      name: 'x',
      rules: [{ ...rule, source: 'a'.repeat(400) }],
      otherwise: 'pass' as const,
      policies: ['a/b'],
    };
    const attachment = {
      interfaceName: 'wp-2.1_a',
      ingress: [tier, tier],
      egress: [tier],
      staged: { ingress: [], egress: [tier] },
    };
    const sets = { podSets: new Map(), blockSets: new Map() };
    load(renderRules({ attachments: [attachment], ...sets }, { ...OPTIONS, tunName: 'tunnel-0.1_long' }));
    load({ sets: new Map(), chains: new Map() });
  });
});
