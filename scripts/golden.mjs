/**
 * Makes the golden files of a release anew: `node scripts/golden.mjs CHECKOUT FOLDER` runs the agents that stand built
 * in CHECKOUT (a checkout of the release, after `npm run build`) in a lab of network namespaces, once sealed over IPv4
 * and once in clear text over IPv6, and leaves in FOLDER what they wrote:
 *
 *     state/             the state folder of one node, as it was when its agent had ended
 *     state/reports/     what the agent said of itself just before, to hold the files against
 *     gossip/            every frame on the underlay's port 7946 (TCP segments without data left out), and the cluster keys
 *                        that open the sealed ones
 *     gossip.proto       the messages as the release knew them
 *
 * What happens meanwhile: nodes join and claim subnets, pods come, `warren check`, the cluster's key is changed, a node
 * loses UDP for a while, dies and is forgotten, another restarts, one leaves. All addresses are from the ranges for
 * documentation (RFC 5737, RFC 3849). The keys in FOLDER have never guarded anything.
 *
 * Needs root, ip, nsenter, nft, tcpdump and gzip. About a minute and a half.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

const LAB = 'golden';
/** A namespace that is not warren's own, for a pod. */
const BOX = `${LAB}-box`;
const GOSSIP_PORT = 7946;
const STATE_FILES = ['identity.json', 'lease.json', 'pods.json', 'membership.json', 'keys.json'];
const WAIT_MS = 30_000;
/** What news needs to be with all, at the pace of cluster.timing: local. */
const SPREAD_MS = 800;
/** TCP segments without data, which make up half of a capture: by their size, with a timestamp option. */
const BARE_ACK = { ipv4: '(tcp and len == 66)', ipv6: '(tcp and len == 86)' };
const run = promisify(execFile);

const [checkout, folder] = process.argv.slice(2).map((path) => resolve(path));
if (!checkout || !folder) {
  console.error('usage: node scripts/golden.mjs CHECKOUT FOLDER');
  process.exit(2);
}
const WARREN = join(checkout, 'dist/bin/warren.js');

/** @type {import('node:child_process').ChildProcess[]} */
const children = [];
try {
  for (const part of ['state/reports', 'gossip']) mkdirSync(join(folder, part), { recursive: true });
  copyFileSync(join(checkout, 'proto/gossip.proto'), join(folder, 'gossip.proto'));
  await withLab('ipv4', 4, sealed);
  await withLab('ipv6', 3, clear);
} finally {
  for (const child of children) if (child.exitCode === null) child.kill('SIGKILL');
}

/** A whole life of a cluster with a key. */
async function sealed(nodes) {
  const [a, b, c, d] = nodes;
  const key = (await warren(['key', 'generate'])).trim();
  const keyFile = join(a.folder, '..', 'cluster.key');
  writeFileSync(keyFile, `${key}\n`, { mode: 0o600 });
  for (const node of nodes) configure(node, nodes, { keyFile, staticPods: node === a ? ['web'] : [] });

  const capture = await startCapture('gossip/sealed.pcap', 'ipv4');
  start(a);
  await waitFor(a, 'it has a subnet', ({ lease }) => lease.status === 'active');
  start(b);
  start(c);
  for (const node of [a, b, c]) await settled(node, 3);
  start(d);
  for (const node of nodes) await settled(node, 4);

  await run('ip', ['netns', 'add', BOX]);
  await ask(a, ['pod', 'add', 'db']);
  await ask(a, ['pod', 'add', 'box', '--netns', `/run/netns/${BOX}`]);
  await ask(b, ['check'], { mayFail: true });

  const added = join(a.folder, 'added.key');
  writeFileSync(added, `${(await warren(['key', 'generate'])).trim()}\n`, { mode: 0o600 });
  const { fingerprint } = JSON.parse(await ask(b, ['key', 'add', added, '--json']));
  const [{ fingerprint: old }] = (await report(b, ['key', 'list'])).keys.filter(({ primary }) => primary);
  await delay(SPREAD_MS);
  await ask(b, ['key', 'use', fingerprint]);
  await delay(SPREAD_MS);
  await ask(b, ['key', 'remove', old]);
  await delay(SPREAD_MS);
  writeFileSync(join(folder, 'gossip/sealed.keys'), `${key}\n${readFileSync(added, 'utf8')}`);

  // Long enough to be asked for by others and over TCP, too short to be held for dead; and b's first pod is news that
  // does not get there, so that the next push-pull finds a difference.
  const filter = `table inet golden { chain in { type filter hook input priority 0; udp dport ${GOSSIP_PORT} drop; }; }`;
  await run('nsenter', [`--net=${d.netns}`, '--', 'nft', filter]);
  await ask(b, ['pod', 'add', 'api']);
  await delay(1500);
  await run('nsenter', [`--net=${d.netns}`, '--', 'nft', 'delete table inet golden']);
  await settled(a, 4);
  const quiet = streamsOf(await report(d, ['status']));
  await waitFor(d, 'it has compared, and exchanged what differs', (status) => streamsOf(status) >= quiet + 2);

  await end(d, 'SIGKILL');
  await waitFor(a, 'd is dead', ({ cluster }) => cluster.members.dead === 1);
  await ask(b, ['forget', d.name]);
  await waitFor(a, 'd is forgotten', ({ cluster }) => cluster.members.dead === 0);
  await delay(SPREAD_MS);
  for (const what of ['status', 'peers', 'pods']) writeReport(what, await report(a, [what]));
  writeReport('keys', await report(a, ['key', 'list']));
  await end(a, 'SIGTERM');
  for (const file of STATE_FILES) copyFileSync(join(a.folder, 'state', file), join(folder, 'state', file));
  start(a);
  for (const node of [a, b, c]) await settled(node, 3);
  await ask(c, ['leave']);
  await waitFor(a, 'c has left', ({ cluster }) => cluster.members.left === 1);
  await delay(SPREAD_MS);
  await capture.stop();
}

/** The same, shorter, without a key. */
async function clear(nodes) {
  const [a, b, c] = nodes;
  for (const node of nodes) configure(node, nodes, { staticPods: ['web'] });
  const capture = await startCapture('gossip/clear.pcap', 'ipv6');
  start(a);
  await waitFor(a, 'it has a subnet', ({ lease }) => lease.status === 'active');
  start(b);
  start(c);
  for (const node of nodes) await settled(node, 3);
  await ask(b, ['check'], { mayFail: true });
  await end(c, 'SIGKILL');
  await waitFor(a, 'c is dead', ({ cluster }) => cluster.members.dead === 1);
  await ask(b, ['forget', c.name]);
  await waitFor(a, 'c is forgotten', ({ cluster }) => cluster.members.dead === 0);
  start(c);
  for (const node of nodes) await settled(node, 3);
  await ask(b, ['leave', '--force']);
  await waitFor(a, 'b has left', ({ cluster }) => cluster.members.left === 1);
  await delay(SPREAD_MS);
  await capture.stop();
}

/** Lets the checkout build its lab, takes over from the agents that it started, and removes everything in the end. */
async function withLab(underlay, count, work) {
  const up = ['lab', 'up', '--name', LAB, '--nodes', String(count), '--pods', '0', '--underlay', underlay];
  const { nodes } = JSON.parse(await warren([...up, '--json']));
  try {
    for (const node of nodes) {
      node.folder = resolve(node.socket, '..');
      node.config = join(node.folder, 'config.yaml');
      process.kill(node.pid, 'SIGTERM');
    }
    for (const node of nodes) {
      while (isRunning(node.pid)) await delay(50);
      await inside(node, ['agent', '--cleanup', '-c', node.config]);
      rmSync(join(node.folder, 'state'), { recursive: true });
    }
    await work(nodes);
  } finally {
    for (const node of nodes) await end(node, 'SIGKILL');
    await warren(['lab', 'down', '--name', LAB]);
    await run('ip', ['netns', 'del', BOX]).catch(() => {});
  }
}

/** JSON is YAML. */
function configure(node, nodes, { keyFile, staticPods }) {
  const endpoint = ({ underlayAddress: address }) =>
    address.includes(':') ? `[${address}]:${GOSSIP_PORT}` : `${address}:${GOSSIP_PORT}`;
  const config = {
    node: { name: node.name, stateDir: `${node.folder}/state`, socket: node.socket },
    cluster: {
      name: LAB,
      podCidrs: ['198.51.100.0/24', '2001:db8:42::/48'],
      nodePrefixLengths: [28, 64],
      seeds: nodes.filter((other) => other !== node).map(endpoint),
      timing: 'local',
      ...(keyFile && { keyFile }),
    },
    underlay: { address: node.underlayAddress, gossipPort: GOSSIP_PORT },
    encapsulation: { type: 'vxlan-gpe' },
    staticPods,
  };
  writeFileSync(node.config, `${JSON.stringify(config, null, 2)}\n`);
}

function start(node) {
  const log = openSync(node.logFile, 'a');
  const argv = [`--net=${node.netns}`, '--', process.execPath, WARREN, 'agent', '-c', node.config];
  node.agent = spawn('nsenter', argv, { stdio: ['ignore', log, log] });
  children.push(node.agent);
}

async function end(node, signal) {
  if (!node.agent || node.agent.exitCode !== null || node.agent.signalCode !== null) return;
  node.agent.kill(signal);
  await once(node.agent, 'exit');
}

async function startCapture(file, underlay) {
  const bridge = `--net=/run/netns/warrenlab-${LAB}-bridge`;
  const argv = ['tcpdump', '-i', 'br0', '-Z', 'root', '-B', '16384', '-s', '0', '-w', join(folder, file)];
  const tcpdump = spawn(
    'nsenter',
    [bridge, '--', ...argv, `port ${GOSSIP_PORT} and not ${BARE_ACK[underlay]}`],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  children.push(tcpdump);
  let said = '';
  tcpdump.stderr.on('data', (chunk) => {
    said += chunk;
  });
  while (!said.includes('listening on')) await once(tcpdump.stderr, 'data');
  return {
    stop: async () => {
      tcpdump.kill('SIGINT');
      await once(tcpdump, 'exit');
      execFileSync('gzip', ['-9', '-n', '-f', join(folder, file)]);
      if (!/\b0 packets dropped by kernel/.test(said)) throw new Error(`a capture with gaps:\n${said}`);
    },
  };
}

function streamsOf({ gossip }) {
  return gossip.sentStreams + gossip.receivedStreams;
}

function settled(node, alive) {
  return waitFor(
    node,
    `its lease is active and ${alive} nodes are alive`,
    ({ lease, cluster }) =>
      lease.status === 'active' && cluster.members.alive === alive && cluster.members.suspect === 0,
  );
}

async function waitFor(node, what, holds) {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const status = await report(node, ['status']).catch(() => undefined);
    if (status && holds(status)) return;
    if (Date.now() > deadline) throw new Error(`${node.name}: not within ${WAIT_MS / 1000} s: ${what}`);
    await delay(100);
  }
}

async function report(node, argv) {
  return JSON.parse(await ask(node, [...argv, '--json']));
}

function writeReport(name, value) {
  writeFileSync(join(folder, 'state/reports', `${name}.json`), `${JSON.stringify(value, null, 2)}\n`);
}

function ask(node, argv, options) {
  return inside(node, [...argv, '-s', node.socket], options);
}

async function inside(node, argv, { mayFail = false } = {}) {
  const whole = [`--net=${node.netns}`, '--', process.execPath, WARREN, ...argv];
  const ran = run('nsenter', whole, { maxBuffer: 16 * 1024 * 1024 });
  return (await (mayFail ? ran.catch((error) => error) : ran)).stdout;
}

async function warren(argv) {
  return (await run(process.execPath, [WARREN, ...argv])).stdout;
}

function isRunning(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
