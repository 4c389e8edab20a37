/** Why a packet did not come out of the pod, or the node, that it is from. */
import type { Flow, NodeObservation, PodFacts, TraceInput, Verdict } from './model.ts';
import { bare, dies, routeProblem } from './verdict.ts';

export function inSourcePod({ flow, from, isLive }: TraceInput, node: NodeObservation): Verdict {
  const { pod } = node.facts;
  const { sent } = node;
  const problem = pod === null ? undefined : podProblem(pod, from.address, node.node);
  if (isLive && sent === null) {
    if (problem !== undefined) return problem;
    return {
      ...{ arrives: false, cause: 'nothing-seen', node: node.node, isCertain: true },
      ...{ text: 'no packet of that flow came meanwhile', advice: 'send some, or trace without --live' },
    };
  }
  switch (sent?.error) {
    case 'EADDRNOTAVAIL':
      return addressMissing(pod, from.address, node.node);
    case 'ENETDOWN':
    case 'ENODEV':
      return (
        problem ?? dies('pod-interface-down', node.node, 'the interface it leaves by is down', 'set it up')
      );
    case 'ENETUNREACH':
    case 'EHOSTUNREACH':
    case 'EACCES':
    case 'EINVAL':
      return problem ?? noRouteInPod(flow, node);
    case 'EPERM':
      return pod === null
        ? dies('firewall', node.node, 'a firewall does not let the node send it', 'see `nft list ruleset`')
        : dies(
            'pod-firewall',
            node.node,
            `a firewall within the pod ${pod.name} does not let it out`,
            `see \`warren exec ${pod.name} -- nft list ruleset\``,
          );
    case 'EMSGSIZE':
      return dies(
        'too-big',
        node.node,
        `${flow.bytes} bytes are more than ${pod === null ? "the node's route" : `the interface of the pod ${pod.name}`} takes${pod?.inner ? ` (${pod.inner.mtu})` : ''}`,
        'send less, or let it be fragmented',
      );
    case null:
    case undefined:
      break;
    default:
      return (
        problem ?? dies('send-failed', node.node, `the kernel refuses to send it (${sent?.error})`, null)
      );
  }
  if (problem !== undefined) return problem;
  if (pod === null) {
    const { route } = node.facts;
    if (route?.isFound === false)
      return dies('route-missing', node.node, routeProblem(route, flow.destination), 'see `ip route get`');
    return dies('lost', node.node, "it is lost in the node's own output", 'see `nft list ruleset`', false);
  }
  if (pod.neighbour === 'FAILED') return unanswered(pod, node);
  return dies(
    'lost',
    node.node,
    `it is lost between the pod ${pod.name} and the node's end of its interface`,
    'look for programs at that interface (tc, XDP)',
    false,
  );
}

/** What is wrong with the pod itself; undefined: nothing. */
export function podProblem(pod: PodFacts, address: string, node: string): Verdict | undefined {
  const { name, hostEnd, inner } = pod;
  const again = `\`warren pod rm ${name}\` and add it again, or restart the agent`;
  if (!pod.isThere)
    return dies(
      'pod-missing',
      node,
      `the network namespace of the pod ${name} is gone`,
      `\`warren pod rm ${name}\``,
    );
  if (hostEnd === null || inner === null)
    return dies('pod-interface-down', node, `the interface of the pod ${name} is gone`, again);
  if (!inner.isUp)
    return dies(
      'pod-interface-down',
      node,
      `the interface ${inner.name} in the pod ${name} is down`,
      `\`warren exec ${name} -- ip link set ${inner.name} up\``,
    );
  if (!hostEnd.isUp || !hostEnd.hasCarrier)
    return dies(
      'pod-interface-down',
      node,
      `${hostEnd.name}, the node's end of the interface of the pod ${name}, is down`,
      `\`ip link set ${hostEnd.name} up\``,
    );
  const own = pod.attached.map(bare);
  if (own.includes(address) && !pod.addresses.map(bare).includes(address))
    return addressMissing(pod, address, node);
  return undefined;
}

/** Nobody told the pod where its next hop is: the node does not tell that to an address that it does not know there. */
function unanswered(pod: PodFacts, { node, sent }: NodeObservation): Verdict {
  const source = sent?.source ?? '';
  if (!pod.attached.map(bare).includes(source))
    return dies(
      'source-check',
      node,
      `the node does not answer the ARP of ${source}, which is no address of the pod ${pod.name}`,
      'let the pod send from the address that `warren pods` shows',
    );
  const next = pod.route?.isFound ? (pod.route.gateway ?? 'it') : 'it';
  return dies(
    'pod-neighbour',
    node,
    `the pod ${pod.name} does not find its next hop ${next}: nobody answers`,
    'restart the agent, which gives the node that address',
  );
}

function addressMissing(pod: PodFacts | null, address: string, node: string): Verdict {
  const who = pod === null ? 'the node' : `the pod ${pod.name}`;
  return dies(
    'pod-address-missing',
    node,
    `${who} does not have its address ${address}`,
    pod === null
      ? 'restart the agent'
      : `restart the agent, or \`warren exec ${pod.name} -- ip address add ${address}/${address.includes(':') ? 128 : 32} dev ${pod.inner?.name ?? 'eth0'}\``,
  );
}

function noRouteInPod(flow: Flow, { node, facts }: NodeObservation): Verdict {
  const { pod } = facts;
  const route = pod === null ? facts.route : pod.route;
  const where = pod === null ? 'the node' : `the pod ${pod.name}`;
  if (route?.isFound)
    return dies(
      'pod-route-missing',
      node,
      `${where} had no route to ${flow.destination} when it sent, and has one now`,
      'somebody has put it back meanwhile: trace again',
    );
  const text =
    route?.isFound === false && route.problem !== 'no-route'
      ? `in ${where} ${routeProblem(route, flow.destination)}`
      : `${where} has no route to ${flow.destination}`;
  const advice =
    pod === null
      ? 'see `ip route get`'
      : `restart the agent, which puts the default route back, or see \`warren exec ${pod.name} -- ip route\``;
  return dies('pod-route-missing', node, text, advice);
}
