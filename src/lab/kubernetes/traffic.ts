/** Traffic between pods on all nodes, of src/lab/kubernetes/load.ts, and what it felt of what was done meanwhile. */
import { WarrenError } from '../../errors.ts';
import type { Cluster } from './cluster.ts';
import { WARREN_IMAGE } from './images.ts';
import { LOAD_PORT, type LoadReport } from './load-tally.ts';
import { type ClusterPod, podsOf } from './pods.ts';

const NAMESPACE = 'changes';
const APP = 'load';
/** Nodes that have it have a pod. */
const LABEL = 'lab.example/load';
const START_TIMEOUT_MS = 60_000;
const POD_TIMEOUT_MS = 120_000;
/** What a change may cost: the time that nothing arrives. */
export const MAX_GAP_MS = 3000;

/** A pair of pods, and what came of it. */
export interface PairReport extends LoadReport {
  readonly from: string;
}

export class Traffic {
  readonly #cluster: Cluster;
  #pods: readonly ClusterPod[] = [];

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Deploys the pods and lets each talk to all others. Throws LAB_COMMAND_FAILED and LAB_TIMEOUT. */
  async start(): Promise<void> {
    const { control, machines } = this.#cluster;
    for (const { name } of machines) await this.setPod(name, true);
    await control.told(['apply', '-f', '-'], { input: JSON.stringify(workload()) });
    await this.restart();
  }

  async stop(): Promise<void> {
    await this.#cluster.control.told(['delete', 'namespace', NAMESPACE], { timeoutMs: POD_TIMEOUT_MS });
  }

  /** Whether a node has one of the pods; what there is of it goes at once. */
  async setPod(node: string, isWanted: boolean): Promise<void> {
    const argv = ['label', 'node', node, `${LABEL}${isWanted ? '=yes' : '-'}`, '--overwrite'];
    await this.#cluster.control.told(argv);
  }

  /** The pods as they are now, once all of them run. */
  pods(): Promise<ClusterPod[]> {
    return podsOf(this.#cluster, NAMESPACE, APP);
  }

  /** Returns when all nodes that should have a pod have one that is ready. */
  ready(): Promise<void> {
    return this.#cluster.rolledOut(NAMESPACE, APP);
  }

  /** Lets the pods as they are now talk to each other, and returns when each pair does. */
  async restart(): Promise<void> {
    const cluster = this.#cluster;
    await this.ready();
    await cluster.until('pods for the traffic do not answer', START_TIMEOUT_MS, async () => {
      this.#pods = await this.pods();
      const answers = await Promise.all(this.#pods.map((pod) => this.#ask(pod, '')));
      return this.#pods.length > 0 && answers.every((answer) => answer === 'ok');
    });
    for (const pod of this.#pods) {
      const others = this.#pods.filter(({ node }) => node !== pod.node);
      await this.#ask(
        pod,
        'drive',
        others.map(({ node: name, address }) => ({ name, address })),
      );
    }
    await cluster.until('not all pods reach all others', START_TIMEOUT_MS, async () => {
      const reports = await this.reports();
      return reports.every(({ bytes, answers }) => bytes > 0 && answers > 0);
    });
    await this.reports();
  }

  /** Since the last ones; of pairs of which `without` is no part. Throws LAB_COMMAND_FAILED. */
  async reports(without?: string): Promise<PairReport[]> {
    const pods = this.#pods.filter(({ node }) => node !== without);
    const reports = await Promise.all(
      pods.map(async (pod) => {
        const text = await this.#ask(pod, 'report');
        if (!text.startsWith('['))
          throw new WarrenError('LAB_COMMAND_FAILED', `${pod.name} on ${pod.node} does not report: ${text}`);
        return (JSON.parse(text) as LoadReport[]).map((report) => ({ ...report, from: pod.node }));
      }),
    );
    return reports.flat().filter(({ name }) => name !== without);
  }

  /** From the pod's own node, which needs no network but that. */
  async #ask(pod: ClusterPod, path: string, body?: object): Promise<string> {
    const machine = this.#cluster.machines.find(({ name }) => name === pod.node);
    if (machine === undefined) return 'no such node';
    const post = body === undefined ? [] : [`--post-data=${JSON.stringify(body)}`];
    const url = `http://${pod.address}:${LOAD_PORT}/${path}`;
    const argv = ['busybox', 'timeout', '20', 'busybox', 'wget', '-q', '-O', '-', ...post, url];
    const { stdout, stderr } = await machine.exec(argv);
    return stdout || stderr.trim() || 'no answer';
  }
}

/** What is wrong with what pairs have counted, a line each. `agentAwayMs`: agents were away, one after the other. */
export function judgeTraffic(reports: readonly PairReport[], agentAwayMs?: number): string[] {
  const maxGapMs = agentAwayMs ?? MAX_GAP_MS;
  return reports.flatMap((report) => {
    const { from, name, streamsEnded, requestsFailed, errors } = report;
    const gapMs = longestGapMs([report]);
    const wrong = [
      ...(streamsEnded > 0 ? [`${streamsEnded} streams ended`] : []),
      ...(requestsFailed > 0 && agentAwayMs === undefined ? [`${requestsFailed} requests failed`] : []),
      ...(gapMs > maxGapMs ? [`nothing arrived for ${gapMs} ms`] : []),
    ];
    return wrong.length === 0 ? [] : [`${from} to ${name}: ${[...wrong, ...errors].join(', ')}`];
  });
}

export function longestGapMs(reports: readonly LoadReport[]): number {
  return Math.max(0, ...reports.flatMap(({ streamGapMs, answerGapMs }) => [streamGapMs, answerGapMs]));
}

function workload(): object {
  const labels = { app: APP };
  const container = {
    name: APP,
    image: WARREN_IMAGE,
    command: ['node', '/opt/warren/dist/lab/kubernetes/load.js'],
    readinessProbe: { tcpSocket: { port: LOAD_PORT }, periodSeconds: 1 },
  };
  const spec = {
    nodeSelector: { [LABEL]: 'yes' },
    terminationGracePeriodSeconds: 1,
    containers: [container],
  };
  return {
    apiVersion: 'v1',
    kind: 'List',
    items: [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
      {
        apiVersion: 'apps/v1',
        kind: 'DaemonSet',
        metadata: { name: APP, namespace: NAMESPACE },
        spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
      },
    ],
  };
}
