/** `warren lab up|status|exec|down` and `warren demo`. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { errorMessage } from '../errors.ts';
import { argvInPod } from '../host/pod-command.ts';
import { runAttached } from '../terminal/attached.ts';
import { renderTable } from '../terminal/table.ts';
import { runDemo } from './demo.ts';
import { Interrupted, interruptible } from './interrupt.ts';
import { Lab } from './lab.ts';
import { DEFAULT_LAB, MAX_NODES } from './names.ts';
import type { LabNode } from './node.ts';
import { requireForLab } from './program.ts';
import { ProgressLines } from './progress.ts';

/** What `lab up --json` and `lab status --json` print. */
export interface LabReport {
  readonly name: string;
  readonly underlay: string;
  readonly nodes: readonly LabNodeReport[];
}

export interface LabNodeReport {
  readonly name: string;
  readonly netns: string;
  readonly underlayAddress: string;
  readonly socket: string;
  readonly logFile: string;
  /** null when the agent does not run. */
  readonly pid: number | null;
  /** Empty when the agent does not answer; `error` then says why. */
  readonly subnets: readonly string[];
  readonly pods: readonly string[];
  readonly error?: string;
}

interface UpOptions {
  readonly nodes: number;
  readonly pods: number;
  readonly underlay: 'ipv4' | 'ipv6';
  readonly name: string;
  readonly json?: true;
}

const MAX_PODS = 100;

/** Adds `lab` with its subcommands, and `demo`, to `program`. Failures are thrown as WarrenError. */
export function registerLabCommands(program: Command): void {
  const lab = program.command('lab').description('nodes as network namespaces on this machine (needs root)');

  lab
    .command('up')
    .description('build a lab, start its agents, and leave it standing')
    .addOption(nodesOption())
    .option('--pods <number>', 'pods on each node', wholeNumber(0, MAX_PODS), 2)
    .addOption(underlayOption())
    .addOption(nameOption())
    .option('--json', 'print the lab as JSON')
    .action(async (options: UpOptions) => stopOnSignal((signal) => up(options, signal)));

  lab
    .command('status')
    .description('show the nodes of a lab')
    .addOption(nameOption())
    .option('--json', 'print the lab as JSON')
    .action(async ({ name, json }: { name: string; json?: true }) => {
      requireForLab('a lab', []);
      await show(Lab.open(name), json === true);
    });

  lab
    .command('exec')
    .description('run a command in a node, or in one of its pods')
    .usage('[options] <node> -- <command...>')
    .argument('<node>', 'name of a node')
    .argument('<command...>', 'what to run there')
    .option('--pod <pod>', 'run it in this pod of the node')
    .addOption(nameOption())
    .action(async (node: string, argv: string[], { name, pod }: { name: string; pod?: string }) => {
      requireForLab('a lab', ['nsenter']);
      const found = Lab.open(name);
      const place = pod === undefined ? found.node(node) : await found.pod(node, pod);
      process.exitCode = await runAttached(await argvInPod(place.netns, argv));
    });

  lab
    .command('down')
    .description('end the agents of a lab and remove all of it')
    .addOption(nameOption())
    .option('--json', 'print the outcome as JSON')
    .action(async ({ name, json }: { name: string; json?: true }) => {
      const removed = await Lab.remove(name);
      if (json) console.log(JSON.stringify({ name, removed }, null, 2));
      else console.log(removed ? `The lab ${name} is gone.` : `There is no lab called ${name}.`);
    });

  program
    .command('demo')
    .description('build a lab, ping all pairs, measure TCP across nodes, remove the lab (needs root)')
    .addOption(nodesOption())
    .addOption(underlayOption())
    .addOption(nameOption())
    .option('--keep', 'leave the lab standing')
    .option('--json', 'print the outcome as JSON')
    .action(async (options: Omit<UpOptions, 'pods'> & { keep?: true }) =>
      stopOnSignal(async (signal) => {
        const ok = await runDemo({
          ...options,
          keep: options.keep === true,
          json: options.json === true,
          signal,
        });
        if (!ok) process.exitCode = 1;
      }),
    );
}

async function up(options: UpOptions, signal: AbortSignal): Promise<void> {
  const progress = new ProgressLines(options.json ? process.stderr : process.stdout);
  try {
    const lab = await Lab.up({ ...options, signal, onProgress: (doing) => progress.step(doing) });
    lab.release();
    progress.done();
    await show(lab, options.json === true);
  } catch (error) {
    progress.failed();
    throw error;
  }
}

async function show(lab: Lab, json: boolean): Promise<void> {
  const nodes = await Promise.all(lab.nodes.map(describe));
  const report: LabReport = { name: lab.name, underlay: lab.underlay, nodes };
  if (json) {
    console.log(JSON.stringify(report, null, 2));
    return;
  }
  const rows = nodes.map((node) => [
    node.name,
    node.pid === null ? 'stopped' : `pid ${node.pid}`,
    node.underlayAddress,
    node.error ?? node.subnets.join(' '),
    node.pods.join(' '),
  ]);
  const header = ['NODE', 'AGENT', 'UNDERLAY', 'SUBNETS', 'PODS'];
  process.stdout.write(renderTable(header, rows, (text) => text));
}

async function describe(node: LabNode): Promise<LabNodeReport> {
  const { name, netns, underlayAddress, socket, logFile } = node;
  const fixed = { name, netns, underlayAddress, socket, logFile, pid: node.pid ?? null };
  try {
    const { status, pods } = await node.view();
    return { ...fixed, subnets: status.lease.subnets, pods: pods.map((pod) => pod.name) };
  } catch (error) {
    return { ...fixed, subnets: [], pods: [], error: errorMessage(error) };
  }
}

async function stopOnSignal(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  try {
    await interruptible(work);
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    console.error(error.message);
    process.exitCode = error.exitCode;
  }
}

function nodesOption(): Option {
  return new Option('--nodes <number>', 'how many nodes').argParser(wholeNumber(1, MAX_NODES)).default(3);
}

function underlayOption(): Option {
  return new Option('--underlay <family>', 'what the agents talk through')
    .choices(['ipv4', 'ipv6'])
    .default('ipv4');
}

function nameOption(): Option {
  return new Option('--name <name>', 'name of the lab').default(DEFAULT_LAB);
}

function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}
