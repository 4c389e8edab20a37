/** A change that is made to a cluster under traffic, and what is asked of nodes for it. */
import type { Cluster } from './cluster.ts';
import type { KubernetesMachine } from './machine.ts';

export const NODE_TIMEOUT_MS = 180_000;

/** What is done, and the node whose pods may feel it. `act` gives what is wrong, a line each. */
export interface Step {
  readonly what: string;
  readonly without?: string;
  /**
   * How long each node has no agent, at most, while Kubernetes replaces its pod. Requests may fail meanwhile; streams
   * have to outlast it. Default: there are agents all the time.
   */
  readonly agentAwayMs?: number;
  readonly act: () => Promise<readonly string[]>;
}

/** `pod/NAME` of each agent. */
export async function agentPods({ control }: Cluster, ...more: string[]): Promise<string[]> {
  const pods = ['-n', 'warren', 'get', 'pods', '-l', 'app.kubernetes.io/name=warren', '-o=name'];
  return (await control.told([...pods, ...more])).split('\n').filter(Boolean);
}

/** What a node's agent says of itself: `warren status`. Empty while it does not answer. */
export async function agentStatus(cluster: Cluster, { name }: KubernetesMachine): Promise<string> {
  const { control } = cluster;
  const [pod] = await agentPods(cluster, `--field-selector=spec.nodeName=${name}`);
  if (pod === undefined) return '';
  const argv = ['-n', 'warren', 'exec', pod, '-c', 'agent', '--', 'warren', 'status', '--json'];
  return (await control.kubectl(argv)).stdout;
}

/** The status of a condition of a Node; empty where it has none. */
export function nodeCondition(cluster: Cluster, node: string, type: string): Promise<string> {
  const path = `{.status.conditions[?(@.type=="${type}")].status}`;
  return cluster.control.told(['get', 'node', node, `-o=jsonpath=${path}`]);
}

export function podCidrOf(cluster: Cluster, node: string): Promise<string> {
  return cluster.control.told(['get', 'node', node, '-o=jsonpath={.spec.podCIDR}']);
}

/** A Node's podCIDR can be set once, so it is another Node then, of the same name and with the same labels. */
export async function giveRange(cluster: Cluster, node: string, podCidr: string): Promise<void> {
  const { control } = cluster;
  const { metadata } = JSON.parse(await control.told(['get', 'node', node, '-o=json'])) as {
    metadata: { name: string; labels: object; annotations: object };
  };
  const { name, labels, annotations } = metadata;
  const another = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels, annotations },
    spec: { podCIDR: podCidr, podCIDRs: [podCidr] },
  };
  await control.told(['delete', 'node', node]);
  await control.told(['create', '-f', '-'], { input: JSON.stringify(another) });
}
