/** When a lab is up: on every node packets flow, its pods are there, and so are routes to everybody else's. */
import type { LabNode, NodeView } from './node.ts';

/**
 * Waits until every node is ready; `timeoutMs` bounds all of it. Throws as `LabNode.waitFor` does, with
 * what the first node that is not ready still lacks.
 */
export async function waitUntilReady(
  nodes: readonly LabNode[],
  podNames: (node: LabNode) => readonly string[],
  options: { timeoutMs: number; signal?: AbortSignal },
): Promise<void> {
  const deadline = performance.now() + options.timeoutMs;
  const waitFor = (node: LabNode, what: string, predicate: (view: NodeView) => boolean): Promise<NodeView> =>
    node.waitFor(what, predicate, { ...options, timeoutMs: Math.max(deadline - performance.now(), 0) });
  const views = await Promise.all(
    nodes.map((node) =>
      waitFor(node, 'packets flow and its pods are ready', (view) => hasPods(view, podNames(node))),
    ),
  );
  const subnets = views.flatMap((view) => view.status.lease.subnets);
  const names = nodes.map((node) => node.name);
  await Promise.all(
    nodes.map((node) =>
      waitFor(node, 'every other node is alive and routed', (view) => reaches(view, names, subnets)),
    ),
  );
}

function hasPods({ status, pods }: NodeView, expected: readonly string[]): boolean {
  const ready = new Set(pods.filter((pod) => pod.status === 'ready').map((pod) => pod.name));
  // Packets flow a moment after the lease is there, and an agent that was started anew has its pods before that.
  const isUp = status.lease.status === 'active' && status.datapath.active && status.tun.addresses.length > 0;
  return isUp && expected.every((name) => ready.has(name));
}

function reaches(view: NodeView, nodes: readonly string[], subnets: readonly string[]): boolean {
  const alive = new Set(view.peers.filter((peer) => peer.status === 'alive').map((peer) => peer.name));
  const routed = new Set(view.routes.map((route) => route.prefix));
  const self = view.status.node.name;
  return (
    nodes.every((name) => name === self || alive.has(name)) && subnets.every((prefix) => routed.has(prefix))
  );
}
