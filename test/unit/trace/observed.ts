/** Observations of two nodes of which nothing is wrong, to be changed by a test into those of a fault. */
import {
  type Flow,
  type Hook,
  type KernelPath,
  type LinkFacts,
  type NodeFacts,
  type NodeObservation,
  type OwnerFacts,
  POINTS,
  type Point,
  type RuleDrop,
  type Sighting,
  type TraceInput,
} from '../../../src/trace/model.ts';

export const FLOW: Flow = {
  ...{ family: 4, source: '10.42.1.2', destination: '10.42.2.2', protocol: 'icmp' },
  ...{ port: 0, mark: 777, bytes: 412 },
};

export function link(name: string, changes: Partial<LinkFacts> = {}): LinkFacts {
  return { name, isUp: true, hasCarrier: true, mtu: 1440, ...changes };
}

const FORWARDED: readonly Hook[] = ['prerouting', 'forward', 'postrouting'];

/** A path through `reached`, of which all but the last are passed if there is a drop. */
export function kernel(reached: readonly Hook[], out: string | undefined, drop?: RuleDrop): KernelPath {
  return {
    ...{ reached, passed: drop === undefined ? reached : reached.slice(0, -1) },
    ...(out !== undefined && { outInterface: out }),
    ...(drop && { drop }),
  };
}

export function rule(table: string, chain: string, text: string | undefined = 'drop'): RuleDrop {
  return { family: 'inet', table, chain, rule: text, isPolicy: false };
}

export function seen(...points: readonly Point[]): Sighting[] {
  return points.map((point, i) => ({
    ...{ point, what: 'packet' as const, atUs: 1000 + i },
    ...(point.startsWith('underlay') && { tag: '7:1' }),
  }));
}

const owner = (name: string, endpoint: string): OwnerFacts => ({
  ...{ name, kind: 'gossip', status: 'alive', endpoint, pathMtu: 1440, hasSession: true, unreachable: null },
});

function facts(own: 'a' | 'b', changes: Partial<NodeFacts>): NodeFacts {
  const [pod, address, other] = own === 'a' ? ['web', '10.42.1.2', 'b'] : ['db', '10.42.2.2', 'a'];
  return {
    pod: {
      ...{ name: pod!, attached: [address!], isThere: true, addresses: [address!] },
      ...{ hostEnd: link(`veth-${pod}`), inner: link('eth0') },
      route: { isFound: true, isLocal: false, device: 'eth0' },
      neighbour: 'REACHABLE',
    },
    tun: link('warren0'),
    ...{ isActive: true, stuckWorkers: 0, isEncrypted: true, tunnelPort: 51820, forwards: true },
    route: { isFound: true, isLocal: false, device: own === 'a' ? 'warren0' : 'veth-db' },
    reversePath: null,
    ownSubnets: [own === 'a' ? '10.42.1.0/24' : '10.42.2.0/24'],
    other: { status: 'alive', admission: 'approved' },
    owner: owner(`node-${other}`, own === 'a' ? '192.0.2.2:51820' : '192.0.2.1:51820'),
    underlay: {
      link: link('eth0', { mtu: 1500 }),
      route: { isFound: true, isLocal: false, device: 'eth0' },
      ...{ neighbour: 'REACHABLE', agent: 'open' },
    },
    ...changes,
  };
}

export interface Changes {
  /** How far the packet came; default: to the pod, which answers. */
  readonly until?: Point | 'sent' | 'answered';
  readonly flow?: Partial<Flow>;
  readonly source?: Partial<NodeObservation>;
  readonly sourceFacts?: Partial<NodeFacts>;
  readonly destination?: Partial<NodeObservation>;
  readonly destinationFacts?: Partial<NodeFacts>;
  readonly input?: Partial<TraceInput>;
}

const ANSWERED: Sighting = { point: 'to-pod', what: 'answer', answer: 'echo-reply', atUs: 2000 };

/** `until`: what both nodes saw up to there, and their kernels too. */
export function observed({ until = 'answered', ...changes }: Changes = {}): TraceInput {
  const count = until === 'sent' ? 0 : until === 'answered' ? POINTS.length : POINTS.indexOf(until) + 1;
  const came = POINTS.slice(0, count);
  const isAnswered = until === 'answered';
  const base = { outer: null, blind: null, drops: [], grown: {} };
  const source: NodeObservation = {
    ...base,
    ...{ node: 'node-a', role: 'source', facts: facts('a', changes.sourceFacts ?? {}) },
    sent: { error: null, source: FLOW.source },
    sightings: [...seen(...came.slice(0, 3)), ...(isAnswered ? [ANSWERED] : [])],
    inner: count === 0 ? null : kernel(FORWARDED, 'warren0'),
    ...changes.source,
  };
  const destination: NodeObservation = {
    ...base,
    ...{ node: 'node-b', role: 'destination', facts: facts('b', changes.destinationFacts ?? {}), sent: null },
    sightings: [...seen(...came.slice(3)), ...(isAnswered ? [ANSWERED] : [])],
    inner: count < 5 ? null : kernel(FORWARDED, 'veth-db'),
    ...changes.destination,
  };
  return {
    flow: { ...FLOW, ...changes.flow },
    from: { name: 'web.node-a', address: FLOW.source, node: 'node-a', isAttached: true },
    to: { name: 'db.node-b', address: FLOW.destination, node: 'node-b', isAttached: true },
    ...{ source, destination },
    ...changes.input,
  };
}
