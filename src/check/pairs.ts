/** Who is to reach whom: this node and each of its pods, every node and pod that is known. */
import { readlinkSync } from 'node:fs';
import type { AllTargets, PodReport, StatusReport } from '../readmodel/reports.ts';

export interface Source {
  /** `node`, or a pod's name. */
  readonly name: string;
  readonly netns: string | undefined;
}

export interface Target {
  readonly toNode: string;
  /** `null`: the node itself. */
  readonly toPod: string | null;
  readonly address: string;
}

/** What nobody can reach, and is a failure all the same. */
export function checkProblems(status: StatusReport, pods: readonly PodReport[]): string[] {
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

export function checkSources(status: StatusReport, pods: readonly PodReport[]): Source[] {
  return [
    { name: 'node', netns: netnsOfProcess(status.node.pid) },
    ...pods.filter((pod) => pod.status === 'ready').map(({ name, netns }) => ({ name, netns })),
  ];
}

export function checkTargets({ targets }: AllTargets): Target[] {
  return targets.flatMap(({ node, addresses, pods }) => [
    ...addresses.map((address) => ({ toNode: node, toPod: null, address })),
    ...pods.flatMap((pod) => pod.addresses.map((address) => ({ toNode: node, toPod: pod.name, address }))),
  ]);
}

/** A pair's ends as people read them. */
export function pairNames(
  node: string,
  from: string,
  { toNode, toPod }: Omit<Target, 'address'>,
): [string, string] {
  return [from === 'node' ? node : `${node}/${from}`, toPod === null ? toNode : `${toNode}/${toPod}`];
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
