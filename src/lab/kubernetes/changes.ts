/**
 * What a cluster goes through in its life, done to one under traffic: programs and nodes are restarted and replaced, ranges are
 * changed, and what the traffic of the others felt of it is looked at.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { errorMessage } from '../../errors.ts';
import { agentPods, NODE_TIMEOUT_MS, type Step } from './change.ts';
import type { Cluster } from './cluster.ts';
import type { KubernetesMachine } from './machine.ts';
import { rangeSteps } from './range-changes.ts';
import { judgeTraffic, longestGapMs, type PairReport, Traffic } from './traffic.ts';

/** So that what comes late is counted as well. */
const SETTLE_MS = 3000;
const API_AWAY_MS = 60_000;
/** A pod of a DaemonSet: the old one has gone before the new one is made. On a machine that has other things to do. */
const REPLACED_WITHIN_MS = 60_000;

export interface Change {
  readonly what: string;
  /** The longest time that nothing arrived between pods that this was not to be felt by. */
  readonly gapMs: number;
  readonly answers: number;
  readonly failures: readonly string[];
}

export async function checkChanges(
  cluster: Cluster,
  onProgress: (doing: string) => void,
): Promise<readonly Change[]> {
  onProgress('starting traffic between pods on all nodes');
  const traffic = new Traffic(cluster);
  await traffic.start();
  const changes: Change[] = [];
  for (const step of [...restartSteps(cluster, traffic), ...rangeSteps(cluster, traffic)]) {
    const { what, without, agentAwayMs, act } = step;
    onProgress(what);
    await traffic.reports();
    let failures: readonly string[];
    let reports: readonly PairReport[] = [];
    try {
      failures = await act();
      await delay(SETTLE_MS);
      reports = await traffic.reports(without);
      // Pods may be others than before, and streams wait for their next try: TCP's pauses grow while nothing comes back.
      if (without !== undefined || agentAwayMs !== undefined) await traffic.restart();
    } catch (error) {
      failures = [errorMessage(error), await cluster.state()];
    }
    const all = [...failures, ...judgeTraffic(reports, agentAwayMs)];
    const answers = reports.reduce((sum, report) => sum + report.answers, 0);
    changes.push({ what, gapMs: longestGapMs(reports), answers, failures: all });
    // Nothing that comes after could be told from it.
    if (failures.length > 0) break;
  }
  onProgress('ending the traffic');
  await traffic.stop();
  return changes;
}

function restartSteps(cluster: Cluster, traffic: Traffic): readonly Step[] {
  const { control, machines } = cluster;
  const [first, second] = machines as [KubernetesMachine, KubernetesMachine];
  const last = machines.at(-1)!;
  return [
    {
      what: 'rolling update of the DaemonSet',
      agentAwayMs: REPLACED_WITHIN_MS,
      act: async () => {
        const before = await agentPods(cluster);
        await control.told(['-n', 'warren', 'rollout', 'restart', 'daemonset/warren']);
        await cluster.rolledOut('warren', 'warren');
        const after = await agentPods(cluster);
        const old = after.filter((name) => before.includes(name));
        return old.map((name) => `${name} is still there`);
      },
    },
    {
      what: 'restart of a kubelet',
      act: () =>
        undisturbed(cluster, traffic, second, async () => {
          await second.end('kubelet');
          cluster.programsOf(second).startKubelet();
        }),
    },
    {
      what: 'restart of a containerd',
      act: () =>
        undisturbed(cluster, traffic, second, async () => {
          await second.end('containerd');
          await cluster.programsOf(second).startContainerd();
        }),
    },
    {
      what: 'restart of the API server',
      act: () =>
        undisturbed(cluster, traffic, first, async () => {
          await control.endApiServer();
          control.startApiServer();
          await control.untilReady();
        }),
    },
    {
      what: `API server away for ${API_AWAY_MS / 1000} s`,
      act: () =>
        undisturbed(cluster, traffic, first, async () => {
          await control.endApiServer();
          await delay(API_AWAY_MS);
          control.startApiServer();
          await control.untilReady();
        }),
    },
    {
      what: `${last.name} loses its power, and comes back`,
      without: last.name,
      act: async () => {
        const before = (await traffic.pods()).find(({ node }) => node === last.name);
        await last.powerOff();
        await cluster.programsOf(last).startAgain();
        await cluster.until(`pods of ${last.name} do not run again`, NODE_TIMEOUT_MS, async () => {
          const now = (await traffic.pods()).find(({ node }) => node === last.name);
          const isAnother = now?.name !== before?.name || now?.restarts !== before?.restarts;
          return now !== undefined && now.address !== '' && isAnother;
        });
        return [];
      },
    },
  ];
}

/** Does something that pods do not feel, and looks whether a node starts and ends pods after it. */
async function undisturbed(
  cluster: Cluster,
  traffic: Traffic,
  machine: KubernetesMachine,
  act: () => Promise<void>,
): Promise<readonly string[]> {
  const before = await traffic.pods();
  await act();
  await startAndEndPod(cluster, machine);
  await cluster.until('not all nodes are Ready', NODE_TIMEOUT_MS, async () => {
    return (await cluster.nodeStates()).every((state) => state === 'True');
  });
  const after = await traffic.pods();
  const same = (pod: (typeof before)[number]) =>
    after.some(({ name, address, restarts }) => {
      return name === pod.name && address === pod.address && restarts === pod.restarts;
    });
  return before.filter((pod) => !same(pod)).map(({ name, node }) => `${name} on ${node} is not as it was`);
}

/** The pod of the clients' DaemonSet is replaced, which takes the node's kubelet, its runtime and its agent. */
async function startAndEndPod(cluster: Cluster, machine: KubernetesMachine): Promise<void> {
  const { control } = cluster;
  const field = `spec.nodeName=${machine.name}`;
  const pods = ['-n', 'lab', 'get', 'pods', '-l', 'app=client', `--field-selector=${field}`, '-o=name'];
  const before = (await control.told(pods)).trim();
  await control.told(['-n', 'lab', 'delete', before, '--timeout=120s'], { timeoutMs: 130_000 });
  await cluster.until(`no new pod on ${machine.name}`, NODE_TIMEOUT_MS, async () => {
    const now = (await control.told(pods)).trim();
    return now !== '' && now !== before;
  });
  await cluster.rolledOut('lab', 'client');
}
