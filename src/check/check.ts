/**
 * `warren check`: from this node and from each of its pods to every node and pod that is known. It runs here
 * and not in the agent, which would spend the time of its control work on it; the agent says what to reach.
 */

import { readlinkSync } from 'node:fs';
import pLimit from 'p-limit';

import type { AgentClient } from '../api/client.ts';
import type { AllTargets, CheckReport, CheckResult, PodReport, StatusReport } from '../readmodel/reports.ts';
import { ping } from './ping.ts';

/** Pings that wait at the same time; each is a process or two. */
const CONCURRENCY = 16;

interface Source {
  /** `node`, or a pod's name. */
  readonly name: string;
  readonly netns: string | undefined;
}

/** Asks the agent what there is and tries all of it. `onProgress` hears after each pair. */
export async function runCheck(
  client: AgentClient,
  onProgress: (done: number, total: number) => void,
): Promise<CheckReport> {
  const [status, pods, all] = await Promise.all([client.status(), client.pods(), client.allTargets()]);
  const sources = checkSources(status, pods);
  const pairs = sources.flatMap((source) => checkTargets(all).map((target) => ({ source, target })));
  let done = 0;
  const results = await pLimit(CONCURRENCY).map(pairs, async ({ source, target }): Promise<CheckResult> => {
    const rttMs = await ping(target.address, source.netns);
    onProgress(++done, pairs.length);
    return { from: source.name, ...target, ok: rttMs !== null, rttMs };
  });
  const problems = checkProblems(status, pods);
  return {
    node: status.node.name,
    ok: problems.length === 0 && all.unreachable.length === 0 && results.every(({ ok }) => ok),
    problems,
    unreachable: all.unreachable,
    results,
  };
}

/** What nobody can ping, and is a failure all the same. */
function checkProblems(status: StatusReport, pods: readonly PodReport[]): string[] {
  const { lease } = status;
  return [
    ...(lease.status === 'active'
      ? []
      : [`this node has no subnet that others reach: its lease is ${lease.status}`]),
    ...pods
      .filter((pod) => pod.status !== 'ready')
      .map(({ name }) => `pod ${name} is missing: its network namespace is gone`),
  ];
}

function checkSources(status: StatusReport, pods: readonly PodReport[]): Source[] {
  return [
    { name: 'node', netns: netnsOfProcess(status.node.pid) },
    ...pods.filter((pod) => pod.status === 'ready').map(({ name, netns }) => ({ name, netns })),
  ];
}

function checkTargets({ targets }: AllTargets): Pick<CheckResult, 'toNode' | 'toPod' | 'address'>[] {
  return targets.flatMap(({ node, addresses, pods }) => [
    ...addresses.map((address) => ({ toNode: node, toPod: null, address })),
    ...pods.flatMap((pod) => pod.addresses.map((address) => ({ toNode: node, toPod: pod.name, address }))),
  ]);
}

/** The agent's network namespace where it is another than ours, as a lab's nodes' are; else undefined. */
function netnsOfProcess(pid: number): string | undefined {
  const path = `/proc/${pid}/ns/net`;
  try {
    return readlinkSync(path) === readlinkSync('/proc/self/ns/net') ? undefined : path;
  } catch {
    // The agent's process is not visible from here; its node's namespace is then taken to be ours.
    return undefined;
  }
}
