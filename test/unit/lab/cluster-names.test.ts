import { expect, it } from 'vitest';
import { type Endpoints, resolveName, type Service } from '../../../src/lab/kubernetes/cluster-names.ts';

const service = (name: string, spec: Service['spec']): Service => ({
  metadata: { name, namespace: 'shop' },
  spec,
});
const services = [
  service('web', { clusterIP: '10.96.0.7', ports: [{ name: 'http', protocol: 'TCP', port: 80 }] }),
  service('db', { clusterIP: 'None' }),
  service('out', { type: 'ExternalName', externalName: 'example.com' }),
];
const endpoints: Endpoints[] = [
  {
    metadata: { name: 'db', namespace: 'shop' },
    subsets: [{ addresses: [{ ip: '10.244.1.2', hostname: 'one' }, { ip: '10.244.2.2' }] }],
  },
];
const data = (name: string, type = 'A') =>
  resolveName(name, type, services, endpoints)?.map((answer) => (answer as { data: unknown }).data);

it.each([
  ['web.shop.svc.cluster.local', 'A', ['10.96.0.7']],
  ['WEB.shop.svc.cluster.local', 'A', ['10.96.0.7']],
  ['web.shop.svc.cluster.local', 'AAAA', []],
  ['db.shop.svc.cluster.local', 'A', ['10.244.1.2', '10.244.2.2']],
  ['one.db.shop.svc.cluster.local', 'A', ['10.244.1.2']],
  ['two.db.shop.svc.cluster.local', 'A', undefined],
  ['out.shop.svc.cluster.local', 'A', ['example.com']],
  ['10-244-1-2.shop.pod.cluster.local', 'A', ['10.244.1.2']],
  ['web.other.svc.cluster.local', 'A', undefined],
  ['web.shop', 'A', undefined],
  ['cluster.local', 'A', undefined],
])('%s %s', (name, type, expected) => {
  expect(data(name, type)).toEqual(expected);
});

it('a port of a service has an SRV record', () => {
  expect(data('_http._tcp.web.shop.svc.cluster.local', 'SRV')).toEqual([
    { port: 80, target: 'web.shop.svc.cluster.local', priority: 0, weight: 100 },
  ]);
  expect(data('_dns._udp.web.shop.svc.cluster.local', 'SRV')).toBeUndefined();
});
