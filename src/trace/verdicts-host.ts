/** Why a node's kernel did not pass a packet on: on the way to the TUN device, and from there to the pod. */
import {
  HOOKS,
  type Hook,
  type KernelPath,
  type NodeObservation,
  type TraceInput,
  type Verdict,
} from './model.ts';
import { ownerOfRule } from './rule-owners.ts';
import { dies, errorOf, hasGrown, routeProblem } from './verdict.ts';
import { podProblem } from './verdicts-pod.ts';

/** It came from the pod, or the node itself has sent it, and did not come to the TUN device. */
export function onSourceNode(input: TraceInput, node: NodeObservation): Verdict {
  const { tun, owner } = node.facts;
  const isHere = owner === 'self';
  const blocked = blockedOn(input, node);
  if (blocked !== undefined) return blocked;
  const { inner } = node;
  if (isHere) return towardsPod(input, node);
  if (tun === null || !tun.isUp)
    return dies(
      'tun-down',
      node.node,
      `the TUN device ${tun?.name ?? ''} is ${tun === null ? 'gone' : 'down'}`,
      'restart the agent',
    );
  const out = inner?.outInterface;
  if (out !== undefined && out !== tun.name && input.to.node === null)
    return dies(
      'route-elsewhere',
      node.node,
      `${input.flow.destination} is no address of the overlay: the kernel sends it on by ${out}, where no trace follows`,
      null,
    );
  if (out !== undefined && out !== tun.name)
    return dies(
      'route-elsewhere',
      node.node,
      `the kernel sends it to ${out} in place of ${tun.name}: a route or rule of somebody else comes first`,
      `see \`ip route get ${input.flow.destination}\` and \`ip rule\``,
    );
  return dies(
    'lost',
    node.node,
    `it is lost on its way to ${tun.name}`,
    'see `nft list ruleset` and `tc qdisc`',
    false,
  );
}

/** It came out of the TUN device of the node that it is for. */
export function afterTunnel(input: TraceInput, node: NodeObservation): Verdict {
  return blockedOn(input, node) ?? towardsPod(input, node);
}

/** A rule, or the routing; undefined: neither. */
function blockedOn(input: TraceInput, node: NodeObservation): Verdict | undefined {
  const { inner, facts } = node;
  if (inner?.drop !== undefined) return ruleOn(input, node, inner);
  const routing = isLostInRouting(inner) ? routingProblem(input, node, true) : undefined;
  if (routing !== undefined) return routing;
  const hook = inner?.reached.find((one) => !inner.passed.includes(one));
  if (hook !== undefined && hook !== 'prerouting' && inner?.passed.includes('prerouting') !== false) {
    // Tables of the other iptables are no part of nftables, and are not told of.
    return dies(
      'firewall',
      node.node,
      `a rule that nftables does not show drops the packet in the hook ${hook}`,
      'see `iptables-legacy -vL`',
      false,
    );
  }
  // Without a look at the rules, the routes are all that is known.
  if (inner === null || inner.reached.length === 0) {
    const said = errorOf(input);
    if (said?.kind === 'prohibited')
      return dies('firewall', node.node, `${said.from} says that it is prohibited`, 'see `nft list ruleset`');
    const isOver = node.blind !== null || facts.route?.isFound === false;
    return isOver ? routingProblem(input, node, false) : undefined;
  }
  return undefined;
}

function isLostInRouting(inner: KernelPath | null): boolean {
  if (inner === null) return false;
  const last = [...inner.reached].sort((a, b) => HOOKS.indexOf(a) - HOOKS.indexOf(b)).at(-1);
  return last === 'prerouting' && inner.passed.includes('prerouting');
}

function ruleOn({ flow }: TraceInput, { node }: NodeObservation, inner: KernelPath): Verdict {
  const hook: Hook | undefined = inner.reached.find((one) => !inner.passed.includes(one));
  const { source, destination } = flow;
  const { cause, text, advice } = ownerOfRule(inner.drop!, { hook, what: 'the packet', source, destination });
  return dies(cause, node, text, advice);
}

/** `isSeen`: the packet was seen to come to the kernel's routing and not beyond. */
function routingProblem(
  { flow, to }: TraceInput,
  node: NodeObservation,
  isSeen: boolean,
): Verdict | undefined {
  const { facts } = node;
  const { route } = facts;
  const reverse = facts.reversePath;
  const isRefused = route?.isFound === false && route.problem === 'reverse-path';
  if (isRefused || (isSeen && reverse !== null && reverse.back !== reverse.in))
    return dies(
      'reverse-path',
      node.node,
      `the reverse path filter of ${reverse?.in ?? 'the interface'} drops it: answers to ${flow.source} would leave by ${reverse?.back ?? 'another one'}`,
      'remove the other route to it, or set rp_filter to 0 or 2 there',
      isRefused || hasGrown(node, 'reverse-path'),
    );
  if (!facts.forwards)
    return dies(
      'forwarding-off',
      node.node,
      `the kernel does not forward IPv${flow.family} packets`,
      flow.family === 4 ? '`sysctl -w net.ipv4.ip_forward=1`' : '`sysctl -w net.ipv6.conf.all.forwarding=1`',
    );
  if (route?.isFound === false) {
    if (node.role !== 'source' && !to.isAttached) return notAttached(flow.destination, node.node);
    return dies(
      'route-missing',
      node.node,
      routeProblem(route, flow.destination),
      `see \`ip route get ${flow.destination}\` and \`ip rule\``,
    );
  }
  if (!isSeen) return undefined;
  return dies('lost', node.node, "the kernel's routing drops it", 'see `nstat -az`', false);
}

function notAttached(address: string, node: string): Verdict {
  return dies('pod-not-attached', node, `no pod there has ${address}`, 'see `warren pods --all`');
}

/** Nothing stopped it, and it did not come to the pod's interface. */
function towardsPod({ flow, to }: TraceInput, node: NodeObservation): Verdict {
  const { pod, tun } = node.facts;
  if (!to.isAttached) return notAttached(flow.destination, node.node);
  const problem = pod === null ? undefined : podProblem(pod, flow.destination, node.node);
  if (problem !== undefined) return problem;
  const out = node.inner?.outInterface;
  if (pod === null && out !== undefined && out === tun?.name)
    return dies(
      'lost',
      node.node,
      `it is lost behind ${out}: ${to.name} is a WireGuard device, which nobody can look into`,
      'see `warren peer list` there: when was its last handshake?',
      false,
    );
  if (out !== undefined && pod?.hostEnd && out !== pod.hostEnd.name)
    return dies(
      out === tun?.name ? 'route-missing' : 'route-elsewhere',
      node.node,
      `the kernel sends it to ${out} in place of ${pod.hostEnd.name}: the route to ${flow.destination} is gone, or another one comes first`,
      `see \`ip route get ${flow.destination}\``,
    );
  return dies(
    'lost',
    node.node,
    'it is lost on its way to the pod',
    'see `nft list ruleset` and `tc qdisc`',
    false,
  );
}
