import { setImmediate as nextTurn } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Holder, InventoryEntry } from '../../../src/inventory/inventory.ts';
import { parseAddress } from '../../../src/ip/address.ts';
import { parseEndpoint } from '../../../src/ip/endpoint.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';
import { MAX_LISTED_PEERS } from '../../../src/metrics/listed-peers.ts';
import { renderMetrics } from '../../../src/metrics/prometheus.ts';
import { LiveReadModel } from '../../../src/readmodel/read-model.ts';
import { TOPICS, type Topic } from '../../../src/readmodel/topics.ts';
import { type FakeSourceName, FakeSources, knownPeer, noNames } from '../../helpers/read-model-sources.ts';

let sources: FakeSources;
let model: LiveReadModel;
beforeEach(() => {
  sources = new FakeSources();
  model = new LiveReadModel(sources);
});

describe('status', () => {
  it('brings the sources together', () => {
    sources.memberStatuses = ['alive', 'alive', 'dead', 'left'];
    sources.memberProblems = ['a seed is silent'];
    sources.leaseProblems = ['the lease is lost'];
    // The third is dead: it is in no count.
    sources.standings.set('id-1', 'approved').set('id-2', 'revoked');
    expect(model.status()).toEqual({
      version: '1.2.3',
      node: { name: 'node-a', id: 'id-a', pid: 4711, uptimeSeconds: 60 },
      cluster: {
        name: 'test',
        sealed: true,
        members: { alive: 2, suspect: 0, dead: 1, left: 1 },
        admission: { mode: 'open', approved: 1, pending: 1, revoked: 0 },
        problems: ['a seed is silent', 'the lease is lost'],
      },
      underlay: { address: '192.0.2.1', interface: 'eth0', mtu: 1500, gossipPort: 7946 },
      encapsulation: { type: 'vxlan-gpe', port: 4790, vni: 42, overheadBytes: 36, encrypted: false },
      tun: { name: 'warren0', mtu: 1464, addresses: ['10.42.3.1'] },
      lease: { status: 'active', subnets: ['10.42.3.0/24'] },
      pods: 0,
      dns: noNames,
      datapath: {
        type: 'userspace',
        active: true,
        workers: 2,
        stuckWorkers: 0,
        offloads: { tso: true },
        outbound: { packets: 1, bytes: 100 },
        inbound: { packets: 2, bytes: 200 },
        drops: { 'outbound-no-route': 3 },
        groupProbes: { whole: 4 },
      },
      gossip: { probes: 7 },
      repairs: { route: 5 },
      durations: sources.durations(),
      log: { dropped: 11 },
    });
  });

  it('names peers that are there and cannot be sent to, 20 at most, and none that is dead', () => {
    sources.knownPeers = [
      knownPeer('dead', { status: 'dead', unreachable: 'dead uses VNI 7' }),
      knownPeer('revoked', { unreachable: 'revoked is not admitted' }),
      ...[1, 2].map((i) => knownPeer(`same${i}`, { unreachable: 'p0 uses VNI 7' })),
      ...Array.from({ length: 30 }, (_, i) => knownPeer(`p${i}`, { unreachable: `p${i} uses VNI 7` })),
    ];
    sources.standings.set('id-revoked', 'revoked');
    const { problems } = model.status().cluster;
    expect(problems).toHaveLength(20);
    expect(problems[0]).toBe('p0 uses VNI 7');
  });

  it('shows no address before the data plane is active', () => {
    sources.isActive = false;
    expect(model.status()).toMatchObject({ tun: { addresses: [] }, lease: { subnets: ['10.42.3.0/24'] } });
    expect(model.targets()).toEqual({ node: 'node-a', addresses: [], pods: [] });
    expect(model.routes()).toEqual([]);
  });
});

describe('peers', () => {
  it('are nodes by name, then static peers, each with its own traffic', () => {
    sources.knownPeers = [
      knownPeer('legacy', { kind: 'static', status: 'static', id: '', key: 'static/legacy' }),
      knownPeer('node-c', { subnets: [parsePrefix('10.42.9.0/24')], partialChecksums: true, mtu: 1400 }),
      knownPeer('node-b', { status: 'suspect', unreachable: 'node-b uses VNI 7' }),
    ];
    sources.traffic.set('key-node-c', {
      outboundPackets: 1,
      outboundBytes: 10,
      inboundPackets: 2,
      inboundBytes: 20,
    });
    const none = { packets: 0, bytes: 0 };
    expect(model.peers()).toEqual([
      {
        name: 'node-b',
        id: 'id-node-b',
        kind: 'gossip',
        status: 'suspect',
        endpoint: '192.0.2.7:4790',
        subnets: [],
        partialChecksums: false,
        unreachable: 'node-b uses VNI 7',
        outbound: none,
        inbound: none,
      },
      {
        name: 'node-c',
        id: 'id-node-c',
        kind: 'gossip',
        status: 'alive',
        endpoint: '192.0.2.7:4790',
        subnets: ['10.42.9.0/24'],
        partialChecksums: true,
        mtu: 1400,
        outbound: { packets: 1, bytes: 10 },
        inbound: { packets: 2, bytes: 20 },
      },
      {
        name: 'legacy',
        id: '',
        kind: 'static',
        status: 'static',
        endpoint: '192.0.2.7:4790',
        subnets: [],
        partialChecksums: false,
        outbound: none,
        inbound: none,
      },
    ]);
  });

  it('cost a scrape one question to each source, and one for each peer', () => {
    const count = 2000;
    sources.memberStatuses = Array.from({ length: count }, () => 'alive');
    sources.knownPeers = Array.from({ length: count }, (_, i) =>
      knownPeer(`node-${i}`, { subnets: [parsePrefix(`10.${i >> 8}.${i & 255}.0/24`)] }),
    );
    let reads = 0;
    // Each look at a peer's fields counts: whoever searches the peers for each peer looks four million times.
    sources.knownPeers = sources.knownPeers.map(
      (peer) =>
        new Proxy(peer, {
          get: (target, name) => {
            reads++;
            return Reflect.get(target, name);
          },
        }),
    );
    const text = renderMetrics(model.status(), model.peers());
    expect(text.match(/^warren_peer_status/gm)).toHaveLength(MAX_LISTED_PEERS);
    expect(sources.asked).toEqual({ members: 1, state: 1, peers: 2, report: 1, traffic: count, pods: 1 });
    // Sorting by name is the only thing that looks at more than one peer at a time: about 2 log2(n) each.
    expect(reads / count).toBeLessThan(60);
    reads = 0;
    expect(model.routes()).toHaveLength(count + 1);
    expect(reads / count).toBeLessThan(10);
  });
});

describe('routes', () => {
  it('are sorted by family and address; own subnets win, and unreachable peers have none', () => {
    sources.leaseState = {
      status: 'active',
      prefixes: [parsePrefix('10.42.3.0/24'), parsePrefix('fd42:0:0:3::/64')],
    };
    sources.knownPeers = [
      knownPeer('legacy', { subnets: [parsePrefix('10.42.3.0/24'), parsePrefix('fd42::/64')] }),
      knownPeer('node-b', {
        subnets: [parsePrefix('10.42.1.0/24')],
        endpoint: parseEndpoint('192.0.2.2:4790'),
      }),
      knownPeer('other', { subnets: [parsePrefix('10.42.8.0/24')], unreachable: 'other uses VNI 7' }),
    ];
    expect(model.routes()).toEqual([
      { prefix: '10.42.1.0/24', via: 'node-b', endpoint: '192.0.2.2:4790' },
      { prefix: '10.42.3.0/24', via: 'local', endpoint: '192.0.2.1:4790' },
      { prefix: 'fd42::/64', via: 'legacy', endpoint: '192.0.2.7:4790' },
      { prefix: 'fd42:0:0:3::/64', via: 'local', endpoint: '192.0.2.1:4790' },
    ]);
  });

  it('are there once packets go by them, and as long as they do', () => {
    const peer = knownPeer('node-b', { subnets: [parsePrefix('10.42.1.0/24')] });
    const via = () => model.routes().map((route) => route.via);
    sources.knownPeers = [peer];
    sources.forwardedPeers = [];
    expect(via()).toEqual(['local']);
    sources.forwardedPeers = [peer];
    expect(via()).toEqual(['node-b', 'local']);
    sources.knownPeers = [];
    expect(via()).toEqual(['node-b', 'local']);
  });
});

describe('the inventory', () => {
  const holder = (nodeId: string, name: string, facts: Partial<InventoryEntry> = {}): Holder => ({
    nodeId,
    status: nodeId === 'id-gone' ? 'dead' : 'alive',
    entry: { id: `${nodeId} ${name}`, name, addresses: [], network: '', labels: {}, ...facts },
  });

  it('has the attachments of all nodes, its own first, then by node and name', () => {
    sources.memberNames = new Map([
      ['id-1', 'node-z'],
      ['id-a', 'node-m'],
      ['id-2', 'node-b'],
    ]);
    sources.holders = [
      holder('id-1', 'db'),
      holder('id-2', 'web', { network: 'blue', labels: { app: 'shop' } }),
      holder('id-2', 'api', { addresses: [parseAddress('10.42.1.2'), parseAddress('fd42::2')] }),
      holder('id-a', 'own'),
      holder('id-gone', 'old'),
    ];
    expect(model.inventory()).toEqual([
      { node: 'node-m', status: 'alive', name: 'own', addresses: [] },
      { node: 'id-gone', status: 'dead', name: 'old', addresses: [] },
      { node: 'node-b', status: 'alive', name: 'api', addresses: ['10.42.1.2', 'fd42::2'] },
      {
        node: 'node-b',
        status: 'alive',
        name: 'web',
        addresses: [],
        network: 'blue',
        labels: { app: 'shop' },
      },
      { node: 'node-z', status: 'alive', name: 'db', addresses: [] },
    ]);
  });
});

describe('a subscriber', () => {
  it.each<[FakeSourceName, readonly Topic[]]>([
    ['members', ['status', 'inventory', 'leases']],
    ['peers', ['status', 'peers']],
    ['leases', ['status', 'peers', 'routes', 'targets', 'leases']],
    ['pods', ['status', 'pods', 'targets']],
    ['inventory', ['inventory']],
    ['history', ['events']],
  ])('hears that %s have changed as the topics that show them', async (source, topics) => {
    const heard: (readonly Topic[])[] = [];
    model.subscribe(TOPICS, (change) => heard.push(change.topics));
    sources.change(source);
    await nextTurn();
    expect(heard).toEqual([topics]);
    expect(model.version).toBe(1);
  });

  it('hears of what the agent says itself', async () => {
    const versions: number[] = [];
    model.subscribe(['status'], ({ version }) => versions.push(version));
    model.changed('status', 'routes');
    await nextTurn();
    model.changed('pods');
    await nextTurn();
    expect(versions).toEqual([1]);
  });
});
