/** Why a packet did not get from one node's TUN device to the other's: packet path, sessions, and the network between. */
import { isMissing, type NodeObservation, type OwnerFacts, type TraceInput, type Verdict } from './model.ts';
import { ownerOfRule } from './rule-owners.ts';
import { dies, dropOf, errorOf, hasGrown, routeProblem } from './verdict.ts';

/** The packet path had it, and no datagram of it was seen. */
export function inPacketPath(input: TraceInput, node: NodeObservation): Verdict {
  const { facts } = node;
  const owner = facts.owner === 'self' ? null : facts.owner;
  const drop = dropOf(node, 'outbound');
  if (drop?.isOurs) {
    const found = outboundDrop(drop.reason, input, node, owner);
    if (found !== undefined) return found;
  }
  if (node.outer?.drop !== undefined) return outerRule(input, node);
  if (facts.stuckWorkers > 0)
    return dies(
      'path-stuck',
      node.node,
      `${facts.stuckWorkers === 1 ? 'a thread' : `${facts.stuckWorkers} threads`} of the packet path does not answer`,
      'restart the agent, and report it with `warren sysdump`',
    );
  if (hasGrown(node, 'outbound-queue-overflow'))
    return dies(
      'queue-full',
      node.node,
      `the queue of ${facts.tun?.name ?? 'the TUN device'} is full: the packet path does not keep up`,
      'see `warren status` for its rates; more datapath.workers take more',
    );
  if (owner === null) return noOwner(input, node);
  if (facts.isEncrypted && !owner.hasSession) return noSession(input, node, owner);
  const path = onTheWay(input, node, owner);
  if (path !== undefined) return path;
  if (!facts.isActive)
    return dies('packet-path', node.node, 'the packet path is not active', 'see `warren status`');
  return dies(
    'packet-path',
    node.node,
    'the packet path has lost it',
    'see the drops of `warren status`',
    false,
  );
}

function outboundDrop(
  reason: string,
  input: TraceInput,
  node: NodeObservation,
  owner: OwnerFacts | null,
): Verdict | undefined {
  const { flow } = input;
  const { node: name, facts } = node;
  switch (reason) {
    case 'outbound-no-route':
      return noOwner(input, node);
    case 'outbound-too-big': {
      const carries = owner?.pathMtu ?? errorOf(input)?.mtu;
      const much = carries === undefined || carries === null ? '' : `, which carries ${carries}`;
      const size = flow.bytes === 0 ? 'it is' : `${flow.bytes} bytes are`;
      return dies(
        'too-big',
        name,
        `${size} too long for the path to ${owner?.name ?? 'the peer'}${much}`,
        'send less; a sender that heeds "fragmentation needed" does so by itself',
      );
    }
    case 'outbound-no-session':
      return owner === null ? undefined : noSession(input, node, owner);
    case 'outbound-foreign-source':
      return dies(
        'foreign-source',
        name,
        `its source ${node.sent?.source ?? flow.source} is not in this node's subnets (${facts.ownSubnets.join(' ') || 'none'})`,
        'let it be sent from an address of this node',
      );
    case 'outbound-send-failed': {
      if (node.outer?.drop !== undefined) return outerRule(input, node);
      const found = owner === null ? undefined : onTheWay(input, node, owner);
      if (found !== undefined) return found;
      return dies(
        'send-failed',
        name,
        `the kernel refuses to send the datagram to ${owner?.name ?? 'the peer'}`,
        'a firewall in its output may do that: see `nft list ruleset` and `iptables-legacy -vL OUTPUT`',
      );
    }
    default:
      return dies(
        'packet-path',
        name,
        `the packet path drops it: ${reason}`,
        'see the drop reasons in docs/operations.md',
      );
  }
}

function noOwner({ flow, to }: TraceInput, { node, facts }: NodeObservation): Verdict {
  const owner = facts.owner === 'self' ? null : facts.owner;
  if (owner !== null && owner.unreachable !== null)
    return dies(
      'peer-unreachable',
      node,
      `${owner.name} has it, and is sent nothing: ${owner.unreachable}`,
      'see `warren peers`',
    );
  if (owner !== null || to.node !== null)
    return dies(
      'peer-unknown',
      node,
      `${owner?.name ?? to.node} is not among the nodes that this one forwards to`,
      'see `warren peers` and `warren node list`',
    );
  return dies('no-owner', node, `no node has a subnet with ${flow.destination}`, 'see `warren routes`');
}

function noSession(input: TraceInput, node: NodeObservation, owner: OwnerFacts): Verdict {
  const { destination } = input;
  const cannot = onTheWay(input, node, owner);
  if (cannot !== undefined) return cannot;
  const there = destination === null || isMissing(destination) ? undefined : destination;
  const asked = node.sightings.some(({ what, point }) => what === 'handshake' && point === 'underlay-out');
  const why = `there is no session with ${owner.name}`;
  // The thread of handshakes counts what it refuses, and shows none of it.
  if (there !== undefined && hasGrown(there, 'inbound-handshake-refused'))
    return dies(
      'no-session',
      there.node,
      `${why}: it refuses the handshakes of ${node.node}`,
      'the keys of the two do not fit: see `warren peers` on both, publicKey and presharedKey of staticPeers',
    );
  if (there !== undefined) {
    const heard = there.sightings.some(({ what, point }) => what === 'handshake' && point === 'underlay-in');
    if (there.outer?.drop !== undefined) return outerRule(input, there);
    if (asked && !heard) return lostBetween(input, node, owner, there);
    return dies(
      'no-session',
      node.node,
      `${why}, and its handshake is not completed`,
      'see `warren peers` on both nodes',
      false,
    );
  }
  if (isDead(owner)) return dead(owner, node);
  return dies(
    'no-session',
    node.node,
    `${why}${asked ? ', which does not answer handshakes' : ''}`,
    'see whether its endpoint and keys are right: `warren peers`, publicKey and presharedKey of staticPeers',
  );
}

/** What says by itself that nothing gets from this node to the other; undefined: nothing does. */
function onTheWay(input: TraceInput, node: NodeObservation, owner: OwnerFacts): Verdict | undefined {
  const { underlay } = node.facts;
  if (underlay === null) return undefined;
  const { link, route, neighbour } = underlay;
  if (node.outer?.drop !== undefined) return outerRule(input, node);
  if (link !== null && (!link.isUp || !link.hasCarrier))
    return dies(
      'underlay-link',
      node.node,
      `${link.name}, the interface of the underlay, ${link.isUp ? 'has no carrier' : 'is down'}`,
      `\`ip link set ${link.name} up\`, or see its cable and switch`,
    );
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

/** A datagram left, and did not come to the other node, or nobody can say. */
export function leftSource(input: TraceInput, node: NodeObservation): Verdict {
  const owner = node.facts.owner === 'self' || node.facts.owner === null ? undefined : node.facts.owner;
  if (node.outer?.drop !== undefined) return outerRule(input, node);
  const peer: OwnerFacts = owner ?? {
    ...{ name: input.to.node ?? input.to.name, kind: 'gossip', status: 'unknown', endpoint: '' },
    ...{ pathMtu: null, hasSession: false, unreachable: null },
  };
  if (node.facts.isEncrypted && !peer.hasSession) {
    const found = noSession(input, node, peer);
    if (found.cause === 'no-session') return found;
  }
  const found = onTheWay(input, node, peer);
  if (found !== undefined) return found;
  const { destination } = input;
  if (destination === null || isMissing(destination)) {
    if (isDead(peer)) return dead(peer, node);
    const { agent } = node.facts.underlay ?? { agent: null };
    if (agent === 'refused')
      return dies(
        'peer-dead',
        peer.name,
        `the agent of ${peer.name} does not run, though its host answers`,
        `start the agent of ${peer.name}`,
      );
    if (peer.kind !== 'gossip')
      return dies(
        'underlay-lost',
        peer.name,
        `what ${node.node} sends to ${peer.name} is not answered`,
        'trace it there: it has no agent that could be asked',
        false,
      );
    return dies(
      'peer-dead',
      peer.name,
      `the agent or the host of ${peer.name} is down, or nothing gets there: it does not answer (${destination?.missing ?? 'it was not asked'})`,
      `see whether the host of ${peer.name} is up`,
      false,
    );
  }
  return lostBetween(input, node, peer, destination);
}

function lostBetween(
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

/** The datagram has come to the other host. */
export function onDestinationUnderlay(
  input: TraceInput,
  node: NodeObservation,
  there: NodeObservation,
): Verdict {
  const { flow } = input;
  if (there.outer?.drop !== undefined) return outerRule(input, there);
  const drop = dropOf(there, 'inbound');
  if (drop !== undefined) return inboundDrop(drop.reason, input, node, there);
  const { outer } = there;
  const last = outer?.reached.find((hook) => !outer.passed.includes(hook));
  if (outer !== null && outer.reached.length > 0 && last === undefined && !outer.reached.includes('input'))
    return dies(
      'reverse-path',
      there.node,
      `the kernel does not take the datagrams of ${node.node}: its reverse path filter or its routes are in the way`,
      'set rp_filter to 0 or 2 on the interface of the underlay, and see `ip route`',
      hasGrown(there, 'reverse-path'),
    );
  if (last !== undefined)
    return dies(
      'firewall',
      there.node,
      `a rule that nftables does not show drops the tunnel's datagrams in the hook ${last}`,
      'see `iptables-legacy -vL`',
      false,
    );
  const { tun } = there.facts;
  if (tun === null || !tun.isUp)
    return dies(
      'tun-down',
      there.node,
      `the TUN device ${tun?.name ?? ''} is ${tun === null ? 'gone' : 'down'}`,
      'restart the agent',
    );
  if (hasGrown(there, 'inbound-socket-overflow'))
    return dies(
      'queue-full',
      there.node,
      "the tunnel's socket has no room: the packet path does not keep up",
      'see `warren status`; more datapath.workers take more',
    );
  if (there.facts.stuckWorkers > 0)
    return dies(
      'path-stuck',
      there.node,
      'a thread of the packet path does not answer',
      'restart the agent, and report it with `warren sysdump`',
    );
  if (!there.facts.isActive)
    return dies('packet-path', there.node, 'the packet path is not active', 'see `warren status`');
  return dies(
    'packet-path',
    there.node,
    `the packet path has lost it, though ${flow.bytes || 'some'} bytes came`,
    'see the drops of `warren status`',
    false,
  );
}

function inboundDrop(
  reason: string,
  { flow }: TraceInput,
  { node: from }: NodeObservation,
  { node, facts }: NodeObservation,
): Verdict {
  switch (reason) {
    case 'inbound-unknown-source':
      return dies(
        'peer-unknown',
        node,
        `it does not know ${from} as a node that it takes packets of`,
        'see `warren peers` and `warren node list` there',
      );
    case 'inbound-foreign-source':
      return dies(
        'foreign-source',
        node,
        `${flow.source} is in no subnet of ${from}, as ${node} knows`,
        `see \`warren routes\` on ${node}: who has it?`,
      );
    case 'inbound-not-local':
      return dies(
        'not-local',
        node,
        `${flow.destination} is in none of its subnets (${facts.ownSubnets.join(' ') || 'none'})`,
        'see `warren routes` on both nodes: who has it?',
      );
    case 'inbound-no-session':
    case 'inbound-forged':
    case 'inbound-handshake-refused':
      return dies(
        'no-session',
        node,
        `it has no keys for what ${from} sends (${reason})`,
        'keys are agreed on anew within seconds; if not, see `warren peers` on both',
      );
    case 'inbound-write-failed':
      return dies(
        'tun-down',
        node,
        `the TUN device ${facts.tun?.name ?? ''} does not take it`,
        'restart the agent',
      );
    default:
      return dies(
        'packet-path',
        node,
        `the packet path drops it: ${reason}`,
        'see the drop reasons in docs/operations.md',
      );
  }
}

/** A rule that dropped the tunnel's datagram. */
function outerRule({ flow }: TraceInput, { node, outer }: NodeObservation): Verdict {
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

function isDead({ status }: OwnerFacts): boolean {
  return status === 'dead' || status === 'left';
}

function dead({ name, status }: OwnerFacts, node: NodeObservation): Verdict {
  return dies(
    'peer-dead',
    name,
    `${name} is ${status}, as ${node.node} knows`,
    `start the agent of ${name}, or \`warren forget ${name}\``,
  );
}
