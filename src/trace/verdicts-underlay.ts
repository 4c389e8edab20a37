/** Why nothing gets from one node to the other: links, routes, rules about the tunnel's datagrams, the network between. */
import type { NodeObservation, OwnerFacts, TraceInput, Verdict } from './model.ts';
import { ownerOfRule } from './rule-owners.ts';
import { dies, routeProblem } from './verdict.ts';

/** The interface of the underlay is down; undefined: it is not. */
export function linkProblem(node: NodeObservation): Verdict | undefined {
  const link = node.facts.underlay?.link ?? null;
  if (link !== null && (!link.isUp || !link.hasCarrier))
    return dies(
      'underlay-link',
      node.node,
      `${link.name}, the interface of the underlay, ${link.isUp ? 'has no carrier' : 'is down'}`,
      `\`ip link set ${link.name} up\`, or see its cable and switch`,
    );
  return undefined;
}

/** What says by itself that nothing gets from this node to the other; undefined: nothing does. */
export function onTheWay(input: TraceInput, node: NodeObservation, owner: OwnerFacts): Verdict | undefined {
  const { underlay } = node.facts;
  if (underlay === null) return undefined;
  const { route, neighbour } = underlay;
  if (node.outer?.drop !== undefined) return outerRule(input, node);
  const cut = linkProblem(node);
  if (cut !== undefined) return cut;
  if (route?.isFound === false)
    return dies(
      'underlay-route',
      node.node,
      `${routeProblem(route, owner.endpoint)}, the tunnel's end of ${owner.name}`,
      'see `ip route` of the host',
    );
  if (owner.endpoint === '')
    return dies(
      'peer-unreachable',
      node.node,
      `it is not known where ${owner.name} is`,
      'see `warren peers`',
    );
  if (neighbour === 'FAILED')
    return dies(
      'underlay-neighbour',
      node.node,
      `the next hop on the way to ${owner.name} does not answer (neighbour FAILED)`,
      `see whether the host of ${owner.name} is up, and in the same network`,
    );
  return undefined;
}

export function lostBetween(
  input: TraceInput,
  node: NodeObservation,
  owner: OwnerFacts,
  there: NodeObservation,
): Verdict {
  const { flow, smaller } = input;
  const from = node.facts.underlay?.link?.name ?? 'the underlay';
  if (smaller?.hasArrived)
    return dies(
      'mtu-hole',
      null,
      `between ${node.node} and ${there.node} ${flow.bytes} bytes are lost without a word, and ${smaller.bytes} arrive`,
      `let the network carry datagrams of ${node.node}'s MTU, or set underlay.mtu or tun.mtu to less`,
    );
  const seen = node.facts.isEncrypted && datagramsOf(node) > 1;
  return dies(
    'underlay-lost',
    null,
    `it leaves ${node.node} by ${from}, and does not come to ${there.node}: the network between drops UDP to port ${portOf(owner, there)}`,
    `let UDP ${portOf(owner, there)} pass between the two: security groups, firewalls on the way`,
    !seen,
  );
}

function datagramsOf(node: NodeObservation): number {
  return node.sightings.filter(({ point, what }) => point === 'underlay-out' && what === 'packet').length;
}

function portOf({ endpoint }: OwnerFacts, there: NodeObservation): string {
  return /:(\d+)$/.exec(endpoint)?.[1] ?? String(there.facts.tunnelPort);
}

/** A rule that dropped the tunnel's datagram. */
export function outerRule({ flow }: TraceInput, { node, outer }: NodeObservation): Verdict {
  const hook = outer!.reached.find((one) => !outer!.passed.includes(one));
  const { source, destination } = flow;
  const { cause, text, advice } = ownerOfRule(outer!.drop!, {
    hook,
    what: "the tunnel's datagram",
    source,
    destination,
  });
  return dies(cause, node, text, advice);
}

export function isDead({ status }: OwnerFacts): boolean {
  return status === 'dead' || status === 'left';
}

export function dead({ name, status }: OwnerFacts, node: NodeObservation): Verdict {
  return dies(
    'peer-dead',
    name,
    `${name} is ${status}, as ${node.node} knows`,
    `start the agent of ${name}, or \`warren forget ${name}\``,
  );
}
