/** Kubernetes' own end-to-end tests (e2e.test of its source), run where the control plane is. */
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { argvInNetns } from '../../host/command.ts';
import { exitCode, runCommand, startCommand } from '../command.ts';
import type { Cluster } from './cluster.ts';
import type { KubernetesPrograms } from './programs.ts';

/** What does not run here, as e2e.test names it, with the reason; docs/kubernetes.md has the same table. */
export const LEFT_OUT: readonly { readonly match: string; readonly why: string }[] = [
  {
    match: 'LoadBalancer|load ?balancer|LB health|type and ports|ESIPP|Firewall|Loadbalancing|Ingress spec',
    why: 'need load balancers of a cloud',
  },
  { match: 'SCTPConnectivity|SCTP HostPort', why: 'need SCTP in the kernel' },
  { match: 'Internet connection|Provider:GCE|IPerf', why: 'need the Internet, or a cloud' },
  { match: 'DNS|ClusterDns', why: 'test a name server, with an image that is not to be had here' },
  { match: 'IPv6DualStackAlphaFeature', why: 'an alpha of 1.20, whose API server has to be started for it' },
  { match: 'Disruptive|restarting', why: 'restart programs of nodes over SSH' },
  { match: '#74839', why: 'needs an image that is not to be had here' },
];

/** They mostly wait. */
const AT_ONCE = 3;
/** Of src/lab/kubernetes/outside.ts. */
const OUTSIDE = 'http://127.0.0.1:8099';

export interface TestsOptions {
  readonly cluster: Cluster;
  readonly programs: KubernetesPrograms;
  /** A pattern that names of tests match. */
  readonly focus: string;
  /** All that they say goes into files in there. */
  readonly folder: string;
  readonly signal: AbortSignal;
}

/** Runs those that match, says how each ends, and answers whether there were some and all of them have passed. */
export async function runKubernetesTests(options: TestsOptions): Promise<boolean> {
  const names = await listTests(options);
  const [alone, together] = [names.filter(isSerial), names.filter((name) => !isSerial(name))];
  console.log(`${names.length} of Kubernetes' own tests; all that they say goes into ${options.folder}:`);
  const parts = Array.from({ length: AT_ONCE }, (_, part) => together.filter((_, i) => i % AT_ONCE === part));
  const ends = await Promise.all(parts.map((part, i) => runPart(options, part, `${i + 1}`)));
  ends.push(await runPart(options, alone, 'serial'));
  return names.length > 0 && ends.every(Boolean);
}

function isSerial(name: string): boolean {
  return name.includes('[Serial]');
}

/** A dry run says that all of them have passed. */
async function listTests(options: TestsOptions): Promise<string[]> {
  const skipped = LEFT_OUT.map(({ match }) => match).join('|');
  const argv = argvOf(options, [
    '--ginkgo.dryRun',
    `--ginkgo.focus=${options.focus}`,
    `--ginkgo.skip=${skipped}`,
  ]);
  const { stdout } = await runCommand(argv, { timeoutMs: 120_000 });
  return stdout.split('\n').flatMap((line) => outcomeOf(line)?.replace(/^PASSED /, '') ?? []);
}

async function runPart(options: TestsOptions, names: readonly string[], part: string): Promise<boolean> {
  if (names.length === 0) return true;
  const { folder, signal } = options;
  signal.throwIfAborted();
  const focus = `(?:${names.map((name) => name.replace(/[^\w ]/g, '\\$&')).join('|')})$`;
  const argv = argvOf(options, [`--ginkgo.focus=${focus}`]);
  const file = createWriteStream(join(folder, `part-${part}.log`));
  const child = startCommand(argv, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, HTTP_PROXY: OUTSIDE, http_proxy: '', NO_PROXY: '', no_proxy: '' },
  });
  for (const stream of [child.stdout!, child.stderr!]) stream.pipe(file, { end: false });
  createInterface(child.stdout!).on('line', (line) => {
    const outcome = outcomeOf(line);
    if (outcome !== undefined) console.log(outcome);
  });
  const stop = () => child.kill('SIGINT');
  signal.addEventListener('abort', stop);
  try {
    return (await exitCode(child, argv)) === 0;
  } finally {
    signal.removeEventListener('abort', stop);
    file.end();
  }
}

function argvOf({ cluster, programs }: TestsOptions, more: readonly string[]): string[] {
  return argvInNetns(cluster.controlHost.netns, [
    programs.path('e2e.test'),
    '--provider=skeleton',
    `--kubeconfig=${cluster.control.kubeconfig}`,
    `--kubectl-path=${programs.path('kubectl')}`,
    `--num-nodes=${cluster.machines.length}`,
    '--ginkgo.noColor',
    '--disable-log-dump',
    ...more,
  ]);
}

/** e2e.test says how a test has ended in a line of JSON, for some behind the bullet of its progress. */
export function outcomeOf(line: string): string | undefined {
  const json = /\{"msg":"(?:PASSED|FAILED) .*\}$/.exec(line)?.[0];
  if (json === undefined) return undefined;
  try {
    return (JSON.parse(json) as { msg: string }).msg;
  } catch {
    return undefined;
  }
}
