/**
 * `warren demo`: three nodes with two pods each, everybody pings everybody, a measurement across nodes, and
 * all of it gone again.
 */
import { relative } from 'node:path';
import { runCheck } from '../check/check.ts';
import type { CheckReport } from '../readmodel/check-reports.ts';
import { renderTable } from '../terminal/table.ts';
import { orAborted } from './interrupt.ts';
import { measureTcp, type Throughput } from './iperf.ts';
import { Lab } from './lab.ts';
import { buildMatrix, type Endpoint, type Matrix } from './matrix.ts';
import { DEFAULT_LAB } from './names.ts';
import type { LabNode } from './node.ts';
import { requireForLab } from './program.ts';
import { ProgressLines } from './progress.ts';

export interface DemoOptions {
  readonly name: string;
  readonly underlay: 'ipv4' | 'ipv6';
  readonly nodes: number;
  /** Leaves the lab standing. */
  readonly keep: boolean;
  /** Prints the outcome as JSON on standard output, and progress on standard error. */
  readonly json: boolean;
  readonly signal: AbortSignal;
}

export interface DemoReport {
  readonly ok: boolean;
  readonly nodes: readonly DemoNode[];
  readonly checks: readonly CheckReport[];
  readonly tcp: { readonly from: string; readonly to: string; readonly bitsPerSecond: number };
}

interface DemoNode {
  readonly name: string;
  readonly underlayAddress: string;
  readonly subnets: readonly string[];
  readonly pods: readonly { readonly name: string; readonly addresses: readonly string[] }[];
}

const PODS = ['web', 'db'];
const IPERF_SECONDS = 3;

/** Runs the demo; true if every endpoint reached every other one in both families. */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  requireForLab('the demo', ['ip', 'nsenter', 'tee', 'ping', 'iperf3']);
  const progress = new ProgressLines(options.json ? process.stderr : process.stdout);
  let lab: Lab | undefined;
  let ok = false;
  try {
    lab = await Lab.up({
      name: options.name,
      nodes: options.nodes,
      pods: PODS,
      underlay: options.underlay,
      onProgress: (doing) => progress.step(doing),
      signal: options.signal,
    });
    const report = await demonstrate(lab, progress, options);
    ok = report.ok;
    if (options.json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  } catch (error) {
    progress.failed();
    throw error;
  } finally {
    if (lab !== undefined) await finish(lab, options, progress);
  }
  return ok;
}

async function demonstrate(lab: Lab, progress: ProgressLines, options: DemoOptions): Promise<DemoReport> {
  const say = (text: string): void => {
    progress.done();
    if (!options.json) process.stdout.write(text);
  };
  const nodes = await Promise.all(lab.nodes.map(describeNode));
  say(`\n${nodeTable(nodes)}\n`);

  progress.step('pinging from every node and pod to every node and pod');
  const checks = await orAborted(checkAll(lab), options.signal);
  const endpoints = nodes.flatMap(({ name, pods }): Endpoint[] => [
    { node: name, pod: null },
    ...pods.map((pod) => ({ node: name, pod: pod.name })),
  ]);
  const matrices = [buildMatrix(checks, endpoints, 4), buildMatrix(checks, endpoints, 6)];
  say(`\n${matrices.map((matrix) => matrix.text).join('\n')}\n${verdict(matrices)}\n\n`);

  const [from, to] = [lab.nodes[0]!, lab.nodes.at(-1)!];
  const tcp = { from: `${from.name}/${PODS[0]}`, to: `${to.name}/${PODS[0]}` };
  progress.step(`measuring TCP from ${tcp.from} to ${tcp.to} (iperf3, ${IPERF_SECONDS} s)`);
  const { bitsPerSecond } = await orAborted(measurePods(lab, from.name, to.name), options.signal);
  say(`\n${tcp.from} -> ${tcp.to}: ${(bitsPerSecond / 1e9).toFixed(2)} Gbit/s TCP, one stream\n\n`);

  const ok = matrices.every((matrix) => matrix.failed === 0 && matrix.untried === 0);
  return { ok, nodes, checks, tcp: { ...tcp, bitsPerSecond } };
}

async function finish(lab: Lab, options: DemoOptions, progress: ProgressLines): Promise<void> {
  if (options.keep && !options.signal.aborted) {
    lab.release();
    if (!options.json) process.stdout.write(keepHint(lab));
    return;
  }
  progress.step('tearing down');
  await lab.down();
  progress.done();
}

async function describeNode(node: LabNode): Promise<DemoNode> {
  const { status, pods } = await node.view();
  return {
    name: node.name,
    underlayAddress: node.underlayAddress,
    subnets: status.lease.subnets,
    pods: pods.map(({ name, addresses }) => ({ name, addresses })),
  };
}

/** What `warren check` says on each node. */
async function checkAll(lab: Lab): Promise<CheckReport[]> {
  return Promise.all(lab.nodes.map((node) => runCheck(node.client(), () => {})));
}

async function measurePods(lab: Lab, from: string, to: string): Promise<Throughput> {
  const [client, server] = await Promise.all([lab.pod(from, PODS[0]!), lab.pod(to, PODS[0]!)]);
  return measureTcp(client, server, server.address(4), IPERF_SECONDS);
}

function nodeTable(nodes: readonly DemoNode[]): string {
  const rows = nodes.map(({ name, underlayAddress, subnets, pods }) => [
    name,
    underlayAddress,
    subnets.join(' '),
    pods.map((pod) => `${pod.name} ${pod.addresses.join(' ')}`).join(', '),
  ]);
  return renderTable(['NODE', 'UNDERLAY', 'SUBNETS', 'PODS'], rows, (text) => text);
}

function verdict(matrices: readonly Matrix[]): string {
  const sum = (key: 'answered' | 'failed' | 'untried'): number =>
    matrices.reduce((total, matrix) => total + matrix[key], 0);
  const all = sum('answered') + sum('failed') + sum('untried');
  const missing = all - sum('answered');
  if (missing === 0) return `All ${all} pairs reach each other, IPv4 and IPv6.`;
  return `${missing} of ${all} pairs do not reach each other.`;
}

function keepHint(lab: Lab): string {
  const name = lab.name === DEFAULT_LAB ? '' : ` --name ${lab.name}`;
  const [first, last] = [lab.nodes[0]!.name, lab.nodes.at(-1)!.name];
  return [
    'The lab stays up. Look around with:',
    `  ${commandLine()} lab status${name}`,
    `  ${commandLine()} lab exec${name} ${first} -- ip address`,
    `  ${commandLine()} lab exec${name} ${first} --pod ${PODS[0]} -- ping <address of a pod on ${last}>`,
    'and remove it with:',
    `  ${commandLine()} lab down${name}`,
    '',
  ].join('\n');
}

/** How this program was called: an installed `warren`, or a script in a checkout. */
function commandLine(): string {
  const script = process.argv[1] ?? 'warren';
  return script.endsWith('.js') ? `node ${relative(process.cwd(), script) || script}` : 'warren';
}
