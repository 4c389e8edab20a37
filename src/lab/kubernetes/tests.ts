/** Kubernetes' own end-to-end tests (e2e.test of its source), run where the control plane is. */

import { argvInNetns } from '../../host/command.ts';
import { exitCode, startCommand } from '../command.ts';
import type { Cluster } from './cluster.ts';
import type { KubernetesPrograms } from './programs.ts';

/** What cannot run here, with the reason; docs/kubernetes.md lists the same. */
export const LEFT_OUT: readonly { readonly match: string; readonly why: string }[] = [];

/** Whether all tests that match `focus` have passed. Their output goes to this process's. */
export async function runKubernetesTests(
  cluster: Cluster,
  programs: KubernetesPrograms,
  focus: string,
  signal: AbortSignal,
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
  const child = startCommand(argv, { stdio: ['ignore', 'inherit', 'inherit'] });
  const stop = () => child.kill('SIGINT');
  signal.addEventListener('abort', stop);
  try {
    return (await exitCode(child, argv)) === 0;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
