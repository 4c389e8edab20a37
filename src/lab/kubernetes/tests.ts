/** Kubernetes' own end-to-end tests (e2e.test of its source), run where the control plane is. */
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { argvInNetns } from '../../host/command.ts';
import { exitCode, startCommand } from '../command.ts';
import type { Cluster } from './cluster.ts';
import type { KubernetesPrograms } from './programs.ts';

/** What does not run here, as e2e.test names it, with the reason; docs/kubernetes.md has the same table. */
export const LEFT_OUT: readonly { readonly match: string; readonly why: string }[] = [
  {
    match: 'LoadBalancer|load ?balancer|LB health|type and ports|ESIPP|Firewall|Loadbalancing|Ingress spec',
    why: 'need load balancers of a cloud',
  },
  { match: 'Feature:NetworkPolicy', why: 'warren has no network policies' },
  { match: 'SCTPConnectivity|SCTP HostPort', why: 'need SCTP in the kernel' },
  { match: 'Internet connection|Provider:GCE|IPerf', why: 'need the Internet, or a cloud' },
  { match: 'DNS|ClusterDns', why: 'test a name server, with an image that is not to be had here' },
  { match: 'IPv6DualStackAlphaFeature', why: 'an alpha of 1.20, whose API server has to be started for it' },
  { match: 'Disruptive|restarting', why: 'restart programs of nodes over SSH' },
  { match: '#74839', why: 'needs an image that is not to be had here' },
];

/** Runs those that match `focus`, says how each ends, and answers whether all have passed. All they say is in `log`. */
export async function runKubernetesTests(
  cluster: Cluster,
  programs: KubernetesPrograms,
  { focus, log, signal }: { readonly focus: string; readonly log: string; readonly signal: AbortSignal },
): Promise<boolean> {
  const argv = argvInNetns(cluster.controlHost.netns, [
    programs.path('e2e.test'),
    '--provider=skeleton',
    `--kubeconfig=${cluster.control.kubeconfig}`,
    `--kubectl-path=${programs.path('kubectl')}`,
    `--num-nodes=${cluster.machines.length}`,
    `--ginkgo.focus=${focus}`,
    `--ginkgo.skip=${LEFT_OUT.map(({ match }) => match).join('|')}`,
    '--ginkgo.noColor',
    '--disable-log-dump',
  ]);
  const file = createWriteStream(log);
  const child = startCommand(argv, {
    stdio: ['ignore', 'pipe', 'pipe'],
    // src/lab/kubernetes/outside.ts
    env: { ...process.env, HTTP_PROXY: 'http://127.0.0.1:8099', http_proxy: '', NO_PROXY: '', no_proxy: '' },
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
