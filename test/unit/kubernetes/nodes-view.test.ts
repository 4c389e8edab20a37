import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatAddress, parseAddress } from '../../../src/ip/address.ts';
import { formatPrefix, parsePrefix } from '../../../src/ip/prefix.ts';
import { nodeState, resourceVersionOf } from '../../../src/kubernetes/node-object.ts';
import { type NodeChange, NodesView } from '../../../src/kubernetes/nodes-view.ts';
import { printable, refusalText } from '../../../src/kubernetes/text.ts';

function node(name: string, podCIDRs: string[] = [], addresses: string[] = []) {
  return {
    metadata: { name, resourceVersion: '7' },
    spec: { podCIDR: podCIDRs[0], podCIDRs },
    status: { addresses: addresses.map((address) => ({ type: 'InternalIP', address })) },
  };
}

const text = ({ before, after }: NodeChange) => `${before?.name ?? '-'} ${after?.name ?? '-'}`;

describe('a Node object', () => {
  it('has a name, InternalIPs, podCIDRs, and one condition', () => {
    const state = nodeState({
      metadata: { name: 'node-1.example' },
      spec: { podCIDR: '10.244.1.0/24', podCIDRs: ['10.244.1.0/24', 'fd42:0:0:1::/64'] },
      status: {
        addresses: [
          { type: 'Hostname', address: 'node-1' },
          { type: 'ExternalIP', address: '203.0.113.1' },
          { type: 'InternalIP', address: '192.0.2.1' },
          { type: 'InternalIP', address: '2001:db8::1' },
        ],
        conditions: [{ type: 'Ready' }, { type: 'NetworkUnavailable', status: 'True', reason: 'NoRoute' }],
      },
    })!;
    expect(state.addresses.map(formatAddress)).toEqual(['192.0.2.1', '2001:db8::1']);
    expect(state.podCidrs.map(formatPrefix)).toEqual(['10.244.1.0/24', 'fd42:0:0:1::/64']);
    expect(state.networkUnavailable).toEqual({ status: 'True', reason: 'NoRoute' });
    const old = nodeState({ metadata: { name: 'a' }, spec: { podCIDR: '10.244.1.0/24' } })!;
    expect(old.podCidrs.map(formatPrefix)).toEqual(['10.244.1.0/24']);
    expect(old).toMatchObject({ addresses: [], networkUnavailable: undefined });
  });

  it.each([
    '',
    '-a',
    'a/../../etc',
    'A',
    'a b',
    '$(reboot)',
    'a\u001b[2J',
    'a'.repeat(254),
    '../node',
    'nöde',
    7,
    undefined,
  ])('is none with the name %j', (name) => {
    expect(nodeState({ metadata: { name } })).toBeUndefined();
  });

  it('has podCIDRs as a whole or not at all, and addresses as far as they are some', () => {
    const podCidrs = (podCIDRs: unknown) =>
      nodeState({ metadata: { name: 'a' }, spec: { podCIDRs } })!.podCidrs.length;
    expect(podCidrs(['10.244.1.0/24', 'fd42::/64'])).toBe(2);
    for (const wrong of [
      ['10.244.1.0/24', 'nonsense'],
      ['10.244.1.0/24', '10.244.2.0/24'],
      ['10.244.1.7/24'],
      [7],
      { length: 2 },
      'text',
    ]) {
      expect(podCidrs(wrong)).toBe(0);
    }
    const many = Array.from({ length: 100 }, (_, i) => `192.0.2.${i}`);
    expect(nodeState(node('a', [], ['nonsense', ...many]))!.addresses).toHaveLength(4);
  });

  it('may be anything at all: it is read or it is not, and nothing is thrown', () => {
    fc.assert(
      fc.property(fc.anything(), fc.jsonValue(), (thing, json) => {
        const view = new NodesView();
        for (const one of [thing, json, { metadata: { name: 'a' }, spec: json, status: thing }]) {
          nodeState(one);
          resourceVersionOf(one);
          view.apply({ type: 'changed', object: one });
          refusalText({ status: 500, body: one });
        }
      }),
    );
    expect(printable(`\u001b[2J${'x'.repeat(300)}`)).toHaveLength(202);
    expect(resourceVersionOf({ metadata: { resourceVersion: '1\r\nHost: a' } })).toBeUndefined();
  });
});

describe('the view of nodes', () => {
  it('takes a list in pages, and lets go of what is in none of them once it is complete', () => {
    const view = new NodesView();
    expect(view.apply({ type: 'page', objects: [node('a'), node('b')] }).map(text)).toEqual(['- a', '- b']);
    expect(view.isComplete).toBe(false);
    expect(view.apply({ type: 'listed' })).toEqual([]);
    expect(view.isComplete).toBe(true);
    view.apply({ type: 'relisting' });
    view.apply({ type: 'page', objects: [node('b')] });
    // A list that is broken off takes nothing away.
    view.apply({ type: 'relisting' });
    expect(view.size).toBe(2);
    expect(view.apply({ type: 'page', objects: [node('c')] }).map(text)).toEqual(['- c']);
    expect(view.apply({ type: 'page', objects: [node('b')] })).toEqual([]);
    expect(view.apply({ type: 'listed' }).map(text)).toEqual(['a -']);
    expect([...view.nodes()].map(({ name }) => name)).toEqual(['b', 'c']);
  });

  it('tells of changes that matter alone', () => {
    const view = new NodesView();
    expect(view.apply({ type: 'changed', object: node('a', ['10.244.1.0/24']) }).map(text)).toEqual(['- a']);
    const heartbeat = { ...node('a', ['10.244.1.0/24']), extra: { images: ['x'] } };
    expect(view.apply({ type: 'changed', object: heartbeat })).toEqual([]);
    expect(view.apply({ type: 'changed', object: node('a', ['10.244.2.0/24']) }).map(text)).toEqual(['a a']);
    expect(view.apply({ type: 'deleted', object: node('b') })).toEqual([]);
    expect(view.apply({ type: 'deleted', object: node('a') }).map(text)).toEqual(['a -']);
    expect(view.apply({ type: 'changed', object: { metadata: { name: '/' } } })).toEqual([]);
    expect(view.unread).toBe(1);
  });

  it('knows who has an address or a podCIDR, and which several have', () => {
    const view = new NodesView();
    view.apply({
      type: 'page',
      objects: [
        node('a', ['10.244.1.0/24', 'fd42::/64'], ['192.0.2.1', '192.0.2.1']),
        node('b', ['10.244.1.0/24'], ['192.0.2.2']),
      ],
    });
    const member = (name: string, address: string) => ({ name, gossip: { address: parseAddress(address) } });
    expect(view.nodeOf(member('other-name', '192.0.2.2'))?.name).toBe('b');
    expect(view.nodeOf(member('a', '198.51.100.9'))?.name).toBe('a');
    expect(view.nodeOf(member('c', '198.51.100.9'))).toBeUndefined();
    expect(view.shared()).toEqual([{ podCidr: '10.244.1.0/24', names: ['a', 'b'] }]);
    view.apply({ type: 'changed', object: node('b', ['10.244.2.0/24'], ['192.0.2.3']) });
    expect(view.shared()).toEqual([]);
    expect(view.holders(parsePrefix('10.244.2.0/24'))).toEqual(['b']);
    expect(view.nodeOf(member('x', '192.0.2.2'))).toBeUndefined();
    view.apply({ type: 'deleted', object: node('a') });
    expect(view.holders(parsePrefix('10.244.1.0/24'))).toEqual([]);
    expect(view.nodeOf(member('x', '192.0.2.1'))).toBeUndefined();
  });
});
