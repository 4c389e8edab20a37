/** Sources for a read model, of which a test changes what it is about. */

import type { TrafficTotals } from '../../src/dataplane/dataplane.ts';
import { Histogram } from '../../src/histogram.ts';
import type { ClusterEvent } from '../../src/history/event-log.ts';
import { SampleRing } from '../../src/history/ring.ts';
import type { Holder } from '../../src/inventory/inventory.ts';
import { parseAddress } from '../../src/ip/address.ts';
import { parseEndpoint } from '../../src/ip/endpoint.ts';
import { parsePrefix } from '../../src/ip/prefix.ts';
import type { LeaseState } from '../../src/lease/lease-source.ts';
import type { MemberStatus } from '../../src/membership/types.ts';
import type { KnownPeer } from '../../src/peers/peer-view.ts';
import type { Claim, ReadModelSources } from '../../src/readmodel/ports.ts';
import type { DnsReport, PodReport } from '../../src/readmodel/reports.ts';

export type FakeSourceName = 'members' | 'leases' | 'peers' | 'pods' | 'inventory' | 'history';

export const noTraffic: TrafficTotals = {
  outboundPackets: 0,
  outboundBytes: 0,
  inboundPackets: 0,
  inboundBytes: 0,
};

export const noNames: DnsReport = {
  enabled: true,
  addresses: ['10.42.3.1'],
  queries: { answered: 2 },
  forwards: { udp: 1 },
  cache: { hits: 3, misses: 1, entries: 1, bytes: 90 },
};

export function knownPeer(name: string, facts: Partial<KnownPeer> = {}): KnownPeer {
  return {
    key: `key-${name}`,
    id: `id-${name}`,
    name,
    kind: 'gossip',
    status: 'alive',
    endpoint: parseEndpoint('192.0.2.7:4790'),
    subnets: [],
    partialChecksums: false,
    mtu: undefined,
    unreachable: undefined,
    ...facts,
  };
}

export class FakeSources implements ReadModelSources {
  memberNames = new Map([['id-a', 'node-a']]);
  memberStatuses: MemberStatus[] = ['alive'];
  memberProblems: string[] = [];
  leaseState: LeaseState = { status: 'active', prefixes: [parsePrefix('10.42.3.0/24')] };
  leaseProblems: string[] = [];
  knownPeers: KnownPeer[] = [];
  podReports: PodReport[] = [];
  holders: Holder[] = [];
  isActive = true;
  stuckWorkers = 0;
  traffic = new Map<string, TrafficTotals>();
  readonly pathMtus = new Map<string, number>();
  /** How often each source was asked. */
  readonly asked = { members: 0, state: 0, peers: 0, report: 0, traffic: 0, pods: 0 };
  readonly #listeners: Record<FakeSourceName, (() => void)[]> = {
    members: [],
    leases: [],
    peers: [],
    pods: [],
    inventory: [],
    history: [],
  };

  change(source: FakeSourceName): void {
    for (const listener of this.#listeners[source]) listener();
  }

  readonly facts = {
    version: '1.2.3',
    name: 'node-a',
    pid: 4711,
    clusterName: 'test',
    sealed: true,
    gossipPort: 7946,
    encapsulation: { type: 'vxlan-gpe', vni: 42 },
    uptimeSeconds: () => 59.6,
  };

  readonly members = {
    id: 'id-a',
    members: () => {
      this.asked.members++;
      return this.memberStatuses.map((status, i) => ({ id: `id-${i}`, status }));
    },
    name: (id: string) => this.memberNames.get(id),
    problems: () => this.memberProblems,
    counters: () => ({ probes: 7 }),
    on: (_event: 'change', listener: () => void) => this.#listeners.members.push(listener),
  };

  readonly standings = new Map<string, 'approved' | 'revoked'>();
  readonly admission = {
    mode: () => 'open' as const,
    standing: (id: string) => this.standings.get(id) ?? ('pending' as const),
  };

  readonly leases = {
    state: () => {
      this.asked.state++;
      return this.leaseState;
    },
    problems: () => this.leaseProblems,
    on: (_event: 'change', listener: () => void) => this.#listeners.leases.push(listener),
  };

  readonly peers = {
    peers: () => {
      this.asked.peers++;
      return this.knownPeers;
    },
    on: (_event: 'change', listener: () => void) => this.#listeners.peers.push(listener),
  };

  readonly dataPlane = {
    vtep: parseEndpoint('192.0.2.1:4790'),
    underlay: { address: parseAddress('192.0.2.1'), interfaceName: 'eth0', mtu: 1500 },
    mtu: 1464,
    report: () => {
      this.asked.report++;
      return {
        type: 'userspace' as const,
        device: 'warren0',
        isActive: this.isActive,
        overheadBytes: 36,
        workers: 2,
        stuckWorkers: this.stuckWorkers,
        offloads: { tso: true },
        totals: { outboundPackets: 1, outboundBytes: 100, inboundPackets: 2, inboundBytes: 200 },
        drops: { 'outbound-no-route': 3 },
      };
    },
    traffic: (key: string) => {
      this.asked.traffic++;
      return this.traffic.get(key) ?? noTraffic;
    },
    pathMtu: (key: string) => this.pathMtus.get(key),
  };

  readonly own = {
    subnets: () => (this.isActive ? this.leaseState.prefixes : []),
    addresses: () => (this.isActive ? [parseAddress('10.42.3.1')] : []),
  };

  /** Default: those of `knownPeers` that can be sent to. */
  forwardedPeers: readonly KnownPeer[] | undefined;
  readonly forwarded = () =>
    this.forwardedPeers ?? this.knownPeers.filter(({ unreachable }) => unreachable === undefined);

  readonly pods = {
    list: () => {
      this.asked.pods++;
      return this.podReports;
    },
    on: (_event: 'change', listener: () => void) => this.#listeners.pods.push(listener),
  };

  readonly inventory = {
    entries: () => this.holders,
    on: (_event: 'change', listener: () => void) => this.#listeners.inventory.push(listener),
  };

  readonly ranges = [{ range: parsePrefix('10.42.0.0/16'), nodePrefixLength: 24 }];
  claimed: Claim[] = [];
  readonly claims = () => this.claimed;

  readonly ring = new SampleRing();
  happened: ClusterEvent[] = [];
  readonly history = {
    samples: (after: number) => this.ring.after(after),
    events: () => this.happened,
    on: (_event: 'change', listener: () => void) => this.#listeners.history.push(listener),
  };

  readonly repairs = () => ({ route: 5 });

  readonly dns = () => noNames;
  readonly groupProbes = () => ({ whole: 4 });

  readonly durations = () => ({ probe: new Histogram().report() });
  readonly droppedLogLines = () => 11;
}
