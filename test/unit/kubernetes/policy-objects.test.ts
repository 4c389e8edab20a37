/** Pods, namespaces and NetworkPolicy objects as an API tells of them, and what is kept of them. */
import { describe, expect, it } from 'vitest';
import { parseAddress } from '../../../src/ip/address.ts';
import { ObjectsView } from '../../../src/kubernetes/objects-view.ts';
import { NAMESPACES, PODS, POLICIES } from '../../../src/kubernetes/policy-objects.ts';

const pod = (name: string, more: object = {}, phase = 'Running') => ({
  metadata: { namespace: 'shop', name, labels: { app: name } },
  spec: { containers: [{ ports: [{ name: 'http', containerPort: 80 }, { containerPort: 81 }] }], ...more },
  status: { phase, podIP: '10.42.1.2', podIPs: [{ ip: '10.42.1.2' }, { ip: 'fd42::2' }] },
});
const policy = (name: string, spec: unknown = { podSelector: {}, policyTypes: ['Ingress'] }) => ({
  metadata: {
    namespace: 'shop',
    name,
    managedFields: [{}],
    annotations: { 'warren.io/staged': 'true', a: 'b' },
  },
  spec,
});

describe('objects that policies need', () => {
  it('are pods with labels, addresses and named ports, those of the host network marked', () => {
    const view = new ObjectsView(PODS);
    expect(view.apply({ type: 'changed', object: pod('web') })).toBe(true);
    expect(view.apply({ type: 'changed', object: pod('web') })).toBe(false);
    expect(view.get('shop/web')).toEqual({
      namespace: 'shop',
      name: 'web',
      labels: { app: 'web' },
      addresses: [parseAddress('10.42.1.2'), parseAddress('fd42::2')],
      ports: [{ name: 'http', protocol: 'TCP', port: 80 }],
      hostNetwork: false,
    });
    view.apply({ type: 'changed', object: pod('proxy', { hostNetwork: true }) });
    expect(view.get('shop/proxy')!.hostNetwork).toBe(true);
    // One that has ended: its address is another's soon.
    expect(view.apply({ type: 'changed', object: pod('web', {}, 'Succeeded') })).toBe(true);
    expect(view.get('shop/web')).toBeUndefined();
    for (const object of [null, 7, {}, { metadata: { namespace: 'x', name: '../y' } }])
      expect(view.apply({ type: 'changed', object })).toBe(false);
    expect([view.size, view.unread]).toEqual([1, 1]);
  });

  it('are policies without what does not matter; one that cannot be read stays as it was read last', () => {
    const view = new ObjectsView(POLICIES);
    view.apply({ type: 'page', objects: [policy('a'), policy('b', { podSelektor: {} })] });
    expect(view.isComplete).toBe(false);
    expect(view.apply({ type: 'listed' })).toBe(true);
    expect([view.isComplete, view.size, view.unread]).toEqual([true, 1, 1]);
    const known = view.get('shop/a');
    expect(known).toEqual({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { namespace: 'shop', name: 'a', annotations: { 'warren.io/staged': 'true' } },
      spec: { podSelector: {}, policyTypes: ['Ingress'] },
    });
    expect(view.apply({ type: 'changed', object: policy('a', { later: 1 }) })).toBe(false);
    expect(view.get('shop/a')).toBe(known);
    expect(view.unread).toBe(2);
    view.apply({ type: 'deleted', object: policy('b') });
    expect(view.unread).toBe(1);
  });

  it('are gone once a list is complete without them, and not before', () => {
    const view = new ObjectsView(NAMESPACES);
    const namespace = (name: string) => ({ metadata: { name, labels: { team: name } } });
    view.apply({ type: 'page', objects: ['a', 'b'].map(namespace) });
    view.apply({ type: 'listed' });
    view.apply({ type: 'relisting' });
    view.apply({ type: 'page', objects: [namespace('b')] });
    expect(view.size).toBe(2);
    expect(view.apply({ type: 'listed' })).toBe(true);
    expect([...view.values()]).toEqual([{ name: 'b', labels: { team: 'b' } }]);
  });
});
