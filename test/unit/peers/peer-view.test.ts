import { EventEmitter } from 'node:events';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { parseEndpoint } from '../../../src/ip/endpoint.ts';
import { formatPrefix, parsePrefix } from '../../../src/ip/prefix.ts';
import type { Owner } from '../../../src/lease/lease-source.ts';
import type { Member } from '../../../src/membership/types.ts';
import { GossipPeers } from '../../../src/peers/gossip-peers.ts';
import { PeerView } from '../../../src/peers/peer-view.ts';
import { StaticPeers } from '../../../src/peers/static-peers.ts';

class FakeMembers extends EventEmitter {
  readonly id = 'self';
  list: Member[] = [];
  members(): Member[] {
    return this.list;
  }
}

class FakeLeases extends EventEmitter {
  list: Owner[] = [];
  owners(): Owner[] {
    return this.list;
  }
}

function member(id: string, more: Partial<Member> = {}): Member {
  return {
    id,
    name: `node-${id}`,
    status: 'alive',
    incarnation: 1,
    gossip: parseEndpoint('192.0.2.7:7946'),
    vtep: parseEndpoint('192.0.2.7:4790'),
    encapsulation: { type: 'vxlan-gpe', vni: 42, partialChecksums: true },
    lease: undefined,
    mtu: undefined,
    inventory: undefined,
    session: '0102030405060708',
    statusAgeMs: 0,
    ...more,
  };
}

let members: FakeMembers;
let leases: FakeLeases;
let statics: StaticPeers;
let view: PeerView;

beforeEach(() => {
  members = new FakeMembers();
  leases = new FakeLeases();
  statics = new StaticPeers([
    { name: 'legacy', endpoint: parseEndpoint('192.0.2.9:4790'), subnets: [parsePrefix('10.42.9.0/24')] },
  ]);
  const own = {
    encapsulation: { type: 'vxlan-gpe', vni: 42 },
    partialChecksums: () => true,
    family: () => 4 as const,
  };
  view = new PeerView([statics, new GossipPeers(members, leases, own)]);
});

const owned = (memberId: string, ...prefixes: string[]): Owner[] =>
  prefixes.map((prefix) => ({ memberId, prefix: parsePrefix(prefix) }));

describe('the view of peers', () => {
  it('gives a key to one peer alone, and to no node that announces a key of another', () => {
    const publicKey = new Uint8Array(32).fill(7);
    const peer = (name: string, subnet: string, key = publicKey) => ({
      ...{ name, endpoint: undefined, subnets: [parsePrefix(subnet)], publicKey: key },
    });
    statics = new StaticPeers([
      peer('laptop', '10.42.9.0/24'),
      peer('phone', '10.42.8.0/24', new Uint8Array(32).fill(8)),
    ]);
    const own = {
      ...{ encapsulation: { type: 'wireguard', vni: 42 }, tunnelKey: new Uint8Array(32) },
      ...{ partialChecksums: () => true, family: () => 4 as const },
    };
    members.list = [member('b', { encapsulation: { type: 'wireguard', publicKey } })];
    leases.list = owned('b', '10.42.2.0/24');
    view = new PeerView([statics, new GossipPeers(members, leases, own)]);
    expect(view.forwarding().map(({ key, isGuest }) => [key, isGuest])).toEqual([
      ['static/laptop', true],
      ['static/phone', true],
    ]);
    members.list = [
      member('b', { encapsulation: { type: 'wireguard', publicKey: new Uint8Array(32).fill(9) } }),
    ];
    members.emit('change');
    expect(
      view
        .forwarding()
        .map(({ key, isGuest }) => [key, isGuest])
        .at(-1),
    ).toEqual(['b', undefined]);
  });

  it('has all sources, static peers before those of the gossip', () => {
    members.list = [member('self'), member('b', { mtu: 1300 })];
    leases.list = owned('b', '10.42.2.0/24', 'fd42:0:0:2::/64');
    members.emit('change');
    expect(view.peers().map(({ key, kind, status }) => [key, kind, status])).toEqual([
      ['static/legacy', 'static', 'static'],
      ['b', 'gossip', 'alive'],
    ]);
    const [legacy, b] = view.forwarding();
    expect(legacy).toMatchObject({ key: 'static/legacy', partialChecksums: false, mtu: undefined });
    expect(b).toMatchObject({ key: 'b', name: 'node-b', partialChecksums: true, mtu: 1300 });
    expect(b!.subnets.map(formatPrefix)).toEqual(['10.42.2.0/24', 'fd42:0:0:2::/64']);
  });

  it('asks for no marks of congestion where they end: agents of 0.1.0, which do not say their MTU', () => {
    members.list = [member('old'), member('new', { mtu: 1300 })];
    leases.list = [...owned('old', '10.42.2.0/24'), ...owned('new', '10.42.3.0/24')];
    members.emit('change');
    const losing = view.forwarding().filter(({ losesMarks }) => losesMarks);
    expect(losing.map(({ key }) => key)).toEqual(['old']);
  });

  it.each([
    [{ encapsulation: { type: 'unknown' } }, 'an encapsulation that this version does not have'],
    [
      { encapsulation: { type: 'vxlan-gpe', vni: 7, partialChecksums: true } },
      'uses VNI 7, this node 42: set the same encapsulation.vni',
    ],
    [{ vtep: parseEndpoint('[2001:db8::1]:4790') }, 'has an IPv6 underlay, this node IPv4'],
  ] as const)('shows a member that cannot be sent to, and why (%#)', (more, problem) => {
    members.list = [member('b', more)];
    leases.list = owned('b', '10.42.2.0/24');
    members.emit('change');
    expect(view.peers()).toHaveLength(2);
    expect(view.forwarding().map(({ key }) => key)).toEqual(['static/legacy']);
    expect(view.peers()[1]?.unreachable).toContain(problem);
  });

  it('forwards nothing to who owns nothing, and asks for no partial checksums there', () => {
    members.list = [member('b')];
    members.emit('change');
    expect(view.forwarding().map(({ key }) => key)).toEqual(['static/legacy']);
    expect(view.peers()[1]).toMatchObject({ key: 'b', partialChecksums: false });
  });

  it.each([
    ['a member changes', () => members.emit('change')],
    ['a member is removed', () => members.emit('removed')],
    ['an owner changes', () => leases.emit('change')],
    ['static peers are replaced', () => statics.replace([])],
  ])('tells when %s', (_what, change) => {
    const listener = vi.fn();
    view.on('change', listener);
    change();
    expect(listener).toHaveBeenCalledTimes(1);
  });

  it('asks its sources once between changes', () => {
    const asked = vi.spyOn(members, 'members');
    for (let i = 0; i < 100; i++) view.peers();
    expect(asked).toHaveBeenCalledTimes(1);
    members.emit('change');
    view.peers();
    view.forwarding();
    expect(asked).toHaveBeenCalledTimes(2);
  });

  it('listens to nobody any more once it is closed', () => {
    view.close();
    expect(members.listenerCount('change') + members.listenerCount('removed')).toBe(0);
    expect(leases.listenerCount('change')).toBe(0);
  });
});

describe('who offers post-quantum keys', () => {
  const encapsulation = (byte: number) =>
    ({ type: 'wireguard', publicKey: new Uint8Array(32).fill(byte) }) as const;
  const keyHash = new Uint8Array(32).fill(7);

  function peersOf(postQuantum: 'on' | 'require' | undefined) {
    members.list = [
      member('a', { encapsulation: encapsulation(1), postQuantum: { keyHash } }),
      member('b', { encapsulation: encapsulation(2), postQuantum: {} }),
      member('c', { encapsulation: encapsulation(3) }),
    ];
    leases.list = members.list.map(({ id }, i) => ({ prefix: parsePrefix(`10.42.${i}.0/24`), memberId: id }));
    const own = {
      encapsulation: { type: 'wireguard', vni: 42 },
      ...{ tunnelKey: new Uint8Array(32).fill(9), postQuantum },
      partialChecksums: () => true,
      family: () => 4 as const,
    };
    return new PeerView([new GossipPeers(members, leases, own)]);
  }

  it('has sessions by them alone, and the others as before', () => {
    const peers = peersOf('on');
    expect(peers.peers().map((peer) => [peer.postQuantum, peer.pairKeyHash, peer.unreachable])).toEqual([
      ['needed', keyHash, undefined],
      ['needed', undefined, undefined],
      ['not-offered', undefined, undefined],
    ]);
    expect(peers.forwarding().map(({ needsPairKey }) => needsPairKey)).toEqual([true, true, undefined]);
  });

  it('has none of them with a node that wants none', () => {
    const peers = peersOf(undefined);
    expect(peers.peers().map(({ postQuantum }) => postQuantum)).toEqual([undefined, undefined, undefined]);
    expect(peers.forwarding().map(({ needsPairKey }) => needsPairKey)).toEqual([
      ...[undefined, undefined, undefined],
    ]);
  });

  it('has the only path to a node that requires them', () => {
    const peers = peersOf('require');
    expect(peers.peers().map(({ unreachable }) => unreachable)).toEqual([
      undefined,
      undefined,
      'node-c has no post-quantum keys, which encapsulation.postQuantum requires: upgrade it, or let it offer them',
    ]);
    expect(peers.forwarding().map(({ name }) => name)).toEqual(['node-a', 'node-b']);
  });
});

describe('who is not admitted', () => {
  it('has no path, and takes a tunnel key away from nobody', () => {
    const admitted = new Set(['self', 'b']);
    const gate = { admits: (id: string) => admitted.has(id), on: () => {}, off: () => {} };
    const encapsulation = { type: 'wireguard', publicKey: new Uint8Array(32).fill(5) } as const;
    // Its id is the smaller one, which decides between two that are admitted.
    members.list = [member('self'), member('a', { encapsulation }), member('b', { encapsulation })];
    const own = {
      encapsulation: { type: 'wireguard', vni: 42 },
      tunnelKey: new Uint8Array(32).fill(9),
      partialChecksums: () => true,
      family: () => 4 as const,
    };
    const unreachable = () =>
      new GossipPeers(members, leases, own, gate).peers().map((peer) => peer.unreachable);
    expect(unreachable()).toEqual([
      'node-a is not admitted to the cluster: see `warren node list`',
      undefined,
    ]);
    admitted.add('a');
    expect(unreachable()).toEqual([undefined, 'node-b announces the tunnel key of another node']);
    admitted.delete('self');
    expect(new Set(unreachable())).toEqual(new Set(['this node is not admitted to the cluster']));
  });
});
