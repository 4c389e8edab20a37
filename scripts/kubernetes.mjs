/**
 * `npm run kubernetes`: a real Kubernetes of three nodes on this machine, with warren as its network.
 *
 *     npm run kubernetes                                  builds what is missing, starts it, checks it, removes it
 *     npm run kubernetes -- --short                       two nodes: what continuous integration runs
 *     npm run kubernetes -- --keep --kubeconfig FILE      leaves it running, and writes how to reach it
 *     npm run kubernetes -- --down                        removes one that was left
 *     npm run kubernetes -- --changes                     also restarts and replaces what it is made of, under traffic
 *     npm run kubernetes -- --e2e                         also runs Kubernetes' own tests of networks
 *     npm run kubernetes -- --e2e 'NodePort'              those whose names match
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildKubernetes } from './kubernetes-build.mjs';

const USAGE =
  'npm run kubernetes -- [--short] [--nodes N] [--keep --kubeconfig FILE] [--changes] [--e2e [PATTERN]] [--down]';
/** docs/kubernetes.md says what these are, and what is left out of them. */
const ALL_TESTS = '\\[sig-network\\]|no conflict between pods with same hostPort';

const options = parse(process.argv.slice(2));
if (options === undefined) {
  console.error(`usage: ${USAGE}`);
  process.exit(2);
}
const lab = await import(fileURLToPath(new URL('../dist/lab/kubernetes/main.js', import.meta.url)));
if (options.down) {
  console.log((await lab.removeKubernetesLab()) ? 'The cluster is gone.' : 'There is no cluster.');
  process.exit(0);
}
const interrupt = new AbortController();
const stop = () => interrupt.abort(new Error('stopped'));
process.once('SIGINT', stop).once('SIGTERM', stop);
try {
  const programs = await buildKubernetes({ forTests: options.e2e !== undefined, signal: interrupt.signal });
  process.off('SIGINT', stop).off('SIGTERM', stop);
  process.exitCode = await lab.runKubernetesLab({ programs, ...options });
} catch (error) {
  for (const line of [error.message, error.hint]) if (line) console.error(`kubernetes: ${line}`);
  process.exitCode = 1;
}

function parse(args) {
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        short: { type: 'boolean' },
        nodes: { type: 'string' },
        keep: { type: 'boolean' },
        kubeconfig: { type: 'string' },
        changes: { type: 'boolean' },
        e2e: { type: 'boolean' },
        down: { type: 'boolean' },
      },
    });
    const nodes = Number(values.nodes ?? (values.short ? 2 : 3));
    if (
      positionals.length > (values.e2e ? 1 : 0) ||
      (values.keep === true) !== (values.kubeconfig !== undefined)
    )
      return undefined;
    if (!Number.isInteger(nodes) || nodes < 1 || nodes > 9) return undefined;
    // One that is changed, and two that should not feel it.
    if (values.changes && nodes < 3) return undefined;
    return {
      nodes,
      keep: values.kubeconfig,
      changes: values.changes,
      e2e: values.e2e && (positionals[0] ?? ALL_TESTS),
      down: values.down,
    };
  } catch {
    return undefined;
  }
}
