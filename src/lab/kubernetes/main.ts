/** What scripts/kubernetes.mjs runs once Kubernetes is built: a cluster with warren as its network, checks, and its end. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { renderTable } from '../../terminal/table.ts';
import { Interrupted, interruptible } from '../interrupt.ts';
import { requireForLab } from '../program.ts';
import { ProgressLines } from '../progress.ts';
import { checkChanges } from './changes.ts';
import { checkCluster } from './checks.ts';
import { Cluster } from './cluster.ts';
import { forwardPort } from './forward.ts';
import { KubernetesPrograms } from './programs.ts';
import { runKubernetesTests } from './tests.ts';

export interface KubernetesLabOptions {
  /** Where Kubernetes' programs are. */
  readonly programs: string;
  readonly nodes: number;
  /** The cluster stays, and a kubeconfig for it goes into this file. */
  readonly keep: string | undefined;
  /** Whether it is also changed under traffic. */
  readonly changes: boolean | undefined;
  /** Kubernetes' own tests, those whose names match; undefined: none. */
  readonly e2e: string | undefined;
}

/** The exit code. */
export async function runKubernetesLab(options: KubernetesLabOptions): Promise<number> {
  try {
    return await interruptible((signal) => run(options, signal));
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    console.error(error.message);
    return error.exitCode;
  }
}

/** False if there was nothing. */
export function removeKubernetesLab(): Promise<boolean> {
  return Cluster.remove();
}

async function run(options: KubernetesLabOptions, signal: AbortSignal): Promise<number> {
  requireForLab('a Kubernetes cluster', ['ip', 'nsenter', 'unshare', 'etcd', 'containerd', 'ctr', 'openssl']);
  const progress = new ProgressLines(process.stdout);
  const onProgress = (doing: string) => progress.step(doing);
  const onFailure = (state: string) => {
    progress.failed();
    console.error(state);
  };
  const programs = new KubernetesPrograms(options.programs);
  let cluster: Cluster | undefined;
  let isKept = false;
  try {
    cluster = await Cluster.up({
      nodes: options.nodes,
      programs,
      forTests: options.e2e !== undefined,
      onProgress,
      onFailure,
      signal,
    });
    await cluster.install();
    progress.done();
    process.stdout.write(`\n${await cluster.control.told(['get', 'nodes', '-o', 'wide'])}\n`);
    const checks = await checkCluster(cluster, onProgress);
    progress.done();
    const rows = checks.map(({ what, tried, failures }) => [what, `${tried - failures.length} of ${tried}`]);
    process.stdout.write(`\n${renderTable(['CHECK', 'GOOD'], rows, (text) => text)}\n`);
    const failures = checks.flatMap((check) => check.failures);
    for (const failure of failures) console.log(failure);
    let isGood = failures.length === 0;
    if (isGood && options.e2e !== undefined) {
      const folder = mkdtempSync(join(tmpdir(), 'warren-kubernetes-'));
      isGood = await runKubernetesTests({ cluster, programs, focus: options.e2e, folder, signal });
    }
    if (isGood && options.changes) isGood = await runChanges(cluster, progress);
    if (options.keep === undefined) {
      onProgress('uninstalling warren, and looking at what it leaves');
      const left = await cluster.uninstall();
      progress.done();
      for (const line of left) console.log(`left on ${line}`);
      isGood &&= left.length === 0;
    } else if (!signal.aborted) {
      const server = await forwardPort(cluster);
      writeFileSync(options.keep, cluster.control.kubeconfigFor(server), { mode: 0o600 });
      cluster.lab.release();
      isKept = true;
      process.stdout.write(keepHint(options.keep, programs));
    }
    return isGood ? 0 : 1;
  } catch (error) {
    progress.failed();
    if (cluster !== undefined && !signal.aborted) onFailure(await cluster.state());
    throw error;
  } finally {
    if (cluster !== undefined && !isKept) {
      progress.step('tearing down');
      await Cluster.remove();
      progress.done();
    }
  }
}

/** Whether none of them was felt by those that should not. */
async function runChanges(cluster: Cluster, progress: ProgressLines): Promise<boolean> {
  const changes = await checkChanges(cluster, (doing) => progress.step(doing));
  progress.done();
  const rows = changes.map(({ what, gapMs, answers, failures }) => {
    return [what, failures.length === 0 ? 'yes' : 'NO', `${(gapMs / 1000).toFixed(2)} s`, String(answers)];
  });
  const titles = ['CHANGE UNDER TRAFFIC', 'GOOD', 'LONGEST GAP', 'ANSWERS'];
  process.stdout.write(`\n${renderTable(titles, rows, (text) => text)}\n`);
  const failures = changes.flatMap((change) => change.failures);
  for (const failure of failures) console.log(failure);
  return failures.length === 0;
}

function keepHint(kubeconfig: string, programs: KubernetesPrograms): string {
  return [
    'The cluster stays up. Look around with:',
    `  ${programs.path('kubectl')} --kubeconfig ${kubeconfig} get pods -A -o wide`,
    'and remove it with:',
    '  npm run kubernetes -- --down',
    '',
  ].join('\n');
}
