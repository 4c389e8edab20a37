/** Why a datagram that left one node did not come out of the other one's tunnel. */
import { isMissing, type NodeObservation, type OwnerFacts, type TraceInput, type Verdict } from './model.ts';
import { dies, dropOf, hasGrown } from './verdict.ts';
import { noSession } from './verdicts-outbound.ts';
import { dead, isDead, lostBetween, onTheWay, outerRule } from './verdicts-underlay.ts';

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
    if (destination?.hasAnswered)
      return dies(
        'node-silent',
        peer.name,
        `it leaves ${node.node}, and ${peer.name} does not say what becomes of it: ${destination.missing}`,
        `see to it that ${peer.name} has an agent of this version`,
        false,
      );
    if (isDead(peer)) return dead(peer, node);
    const { agent } = node.facts.underlay ?? { agent: null };
    if (agent === 'open')
      return dies(
        'peer-dead',
        peer.name,
        `the agent of ${peer.name} takes connections and does not answer: it hangs, or is busy (${destination?.missing ?? ''})`,
        `restart the agent of ${peer.name}`,
      );
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
