/** Why a packet that came to the TUN device did not leave the node: the packet path, who owns the destination, sessions. */
import { isMissing, type NodeObservation, type OwnerFacts, type TraceInput, type Verdict } from './model.ts';
import { dies, dropOf, errorOf, hasGrown } from './verdict.ts';
import { dead, isDead, linkProblem, lostBetween, onTheWay, outerRule } from './verdicts-underlay.ts';

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

function noOwner({ flow, to }: TraceInput, observation: NodeObservation): Verdict {
  const { node, facts } = observation;
  const owner = facts.owner === 'self' ? null : facts.owner;
  if (owner !== null && owner.unreachable !== null)
    return dies(
      'peer-unreachable',
      node,
      `${owner.name} has it, and is sent nothing: ${owner.unreachable}`,
      'see `warren peers`',
    );
  const name = owner?.name ?? to.node;
  if (name === null)
    return dies('no-owner', node, `no node has a subnet with ${flow.destination}`, 'see `warren routes`');
  const { other } = facts;
  // To who is cut off all others are dead before long.
  const cut = linkProblem(observation);
  if (cut !== undefined) return cut;
  if (other !== null && (other.status === 'dead' || other.status === 'left'))
    return dies(
      'peer-dead',
      name,
      `${name} is ${other.status}, as ${node} knows`,
      `start the agent of ${name}, or \`warren forget ${name}\``,
    );
  const why = other !== null && other.admission !== 'approved' ? `: it is ${other.admission}` : '';
  return dies(
    'peer-unknown',
    node,
    `${name} is not among the nodes that this one forwards to${why}`,
    other?.admission === 'revoked' || other?.admission === 'pending'
      ? `\`warren node approve ${name}\` on an approver, if it is to take part`
      : 'see `warren peers` and `warren node list`',
  );
}

export function noSession(input: TraceInput, node: NodeObservation, owner: OwnerFacts): Verdict {
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
