/**
 * Compares two built checkouts of warren: what an agent costs until its overlay is up (CPU), at rest and under load
 * (memory), and what it moves (TCP, four streams and one).
 *
 *     node scripts/compare-versions.mjs BASE [OTHER] [--rounds 9] [--seconds 4]
 *
 * BASE and OTHER (default: this checkout) are folders with dist/ built. Each round runs both, in turn first and second,
 * on the same two network namespaces joined by a veth. What counts is the median of the rounds' ratios: this host's
 * other load moves both figures of a round alike. Needs root, iproute2 and iperf3. Ratios are such that more is better.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '9' }, seconds: { type: 'string', default: '4' } },
});
const [base, other = fileURLToPath(new URL('..', import.meta.url))] = positionals;
if (!base) {
  console.error('usage: node scripts/compare-versions.mjs BASE [OTHER] [--rounds N] [--seconds N]');
  process.exit(2);
}
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const HOSTS = [
  { name: `warren-cmp-${process.pid}-a`, address: '192.0.2.1' },
  { name: `warren-cmp-${process.pid}-b`, address: '192.0.2.2' },
];
/** USER_HZ of Linux: the unit of CPU times in /proc. */
const TICKS_PER_SECOND = 100;
const MEASURES = [
  { name: 'cpuSeconds', unit: 's', better: 'less' },
  { name: 'restMb', unit: 'MB', better: 'less' },
  { name: 'loadMb', unit: 'MB', better: 'less' },
  { name: 'tcp4', unit: 'Gbit/s', better: 'more' },
  { name: 'tcp1', unit: 'Gbit/s', better: 'more' },
];

const run = (...argv) =>
  execFileSync(argv[0], argv.slice(1), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const inHost = (host, ...argv) => ['nsenter', `--net=/run/netns/${host.name}`, '--', ...argv];

const folder = mkdtempSync(join(tmpdir(), 'warren-compare-'));
const results = { base: [], other: [] };
try {
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? ['base', 'other'] : ['other', 'base'];
    for (const which of order) results[which].push(await measure(resolve(which === 'base' ? base : other)));
    const line = MEASURES.map(
      ({ name }) =>
        `${name} ${results.base.at(-1)[name].toFixed(2)} / ${results.other.at(-1)[name].toFixed(2)}`,
    );
    console.log(`round ${round + 1}: ${line.join('  ')}`);
  }
  for (const { name, unit, better } of MEASURES) {
    const ratios = results.base.map((one, i) => {
      const [before, after] = [one[name], results.other[i][name]];
      return better === 'less' ? before / after : after / before;
    });
    const [before, after] = [results.base, results.other].map((all) => median(all.map((one) => one[name])));
    console.log(
      `${name.padEnd(10)} ${before.toFixed(2)} -> ${after.toFixed(2)} ${unit}, median ratio ${median(ratios).toFixed(3)} (${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)})`,
    );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function measure(checkout) {
  const agents = [];
  try {
    for (const host of HOSTS) run('ip', 'netns', 'add', host.name);
    const [a, b] = HOSTS;
    run(
      'ip',
      'link',
      'add',
      'eth0',
      'netns',
      a.name,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      b.name,
    );
    for (const host of HOSTS) {
      run(...inHost(host, 'ip', 'address', 'add', `${host.address}/24`, 'dev', 'eth0'));
      for (const link of ['lo', 'eth0']) run(...inHost(host, 'ip', 'link', 'set', link, 'up'));
    }
    for (const host of HOSTS) agents.push(startAgent(checkout, host));
    await Promise.all(agents.map(isUp));
    const cpuSeconds = Math.max(...agents.map(({ cpu }) => cpu));
    await delay(3000);
    const restMb = Math.max(...agents.map(rssMb));
    const address = JSON.parse(run(...inHost(b, 'ip', '-json', '-4', 'address', 'show', 'dev', 'warren0')))[0]
      .addr_info[0].local;
    const server = spawn(...spawnArgs(inHost(b, 'iperf3', '-s', '--forceflush')), {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await once(server.stdout, 'data');
      const tcp = (streams) => {
        const out = run(
          ...inHost(
            a,
            'iperf3',
            '-J',
            '-c',
            address,
            '-t',
            String(seconds),
            '-O',
            '1',
            '-P',
            String(streams),
          ),
        );
        return JSON.parse(out).end.sum_received.bits_per_second / 1e9;
      };
      const tcp4 = tcp(4);
      const tcp1 = tcp(1);
      return { cpuSeconds, restMb, loadMb: Math.max(...agents.map(rssMb)), tcp4, tcp1 };
    } finally {
      server.kill('SIGKILL');
    }
  } finally {
    for (const { child } of agents) child.kill('SIGKILL');
    await Promise.all(agents.map(({ ended }) => ended));
    for (const host of HOSTS) {
      try {
        run('ip', 'netns', 'delete', host.name);
      } catch {
        // It was not made.
      }
    }
  }
}

function startAgent(checkout, host) {
  const files = join(folder, host.name);
  rmSync(files, { recursive: true, force: true });
  run('mkdir', '-p', files);
  const config = join(files, 'warren.yaml');
  writeFileSync(
    config,
    `node: {name: ${host.name.at(-1)}, stateDir: ${files}/state, socket: ${files}/agent.sock}
cluster: {podCidrs: [10.42.0.0/16, "fd42::/48"], seeds: [${HOSTS[0].address}], timing: local}
underlay: {address: ${host.address}}
encapsulation: {type: vxlan-gpe}
`,
  );
  const log = join(files, 'agent.log');
  const output = openSync(log, 'w');
  const program = join(checkout, 'dist/bin/warren.js');
  const child = spawn(...spawnArgs(inHost(host, process.execPath, program, 'agent', '-c', config)), {
    stdio: ['ignore', output, output],
  });
  const ended = new Promise((resolveEnd) => child.on('exit', resolveEnd));
  return { child, ended, log, cpu: 0 };
}

/** nsenter becomes the agent: its process id is the agent's. */
async function isUp(agent) {
  for (let tries = 0; tries < 3000; tries++) {
    if (readFileSync(agent.log, 'utf8').includes('the overlay is up')) {
      agent.cpu = cpuSeconds(agent.child.pid);
      return;
    }
    if (agent.child.exitCode !== null) break;
    await delay(10);
  }
  throw new Error(`an agent did not come up:\n${readFileSync(agent.log, 'utf8')}`);
}

/** Of all threads, to the nanosecond, and of the programs that were run and waited for, to the tick. */
function cpuSeconds(pid) {
  const threads = readdirSync(`/proc/${pid}/task`).map((task) =>
    Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]),
  );
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const [childUser, childSystem] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(13, 15)
    .map(Number);
  const ownSeconds = threads.reduce((sum, ns) => sum + ns, 0) / 1e9;
  return ownSeconds + (childUser + childSystem) / TICKS_PER_SECOND;
}

function rssMb({ child }) {
  const kb = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1];
  return Number(kb) / 1000;
}

function spawnArgs([program, ...args]) {
  return [program, args];
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
