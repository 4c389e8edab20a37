/** Random clusters with policies: few labels, ports and addresses, so that rules meet the pods that they are about. */
import fc from 'fast-check';
import { formatAddress, parseAddress } from '../../src/ip/address.ts';
import type { LabelSelector, NetworkPolicy } from '../../src/policy/schema.ts';
import type { ClusterPod, Endpoint, PacketProtocol, PolicyCluster, Question } from './policy-oracle.ts';

export const NODES = {
  n1: { name: 'node n1', node: 'n1', ipv4: '10.42.1.1', ipv6: 'fd42:1::1' },
  n2: { name: 'node n2', node: 'n2', ipv4: '10.42.2.1', ipv6: 'fd42:2::1' },
} as const;
export const OUTSIDE: Endpoint = { name: 'outside', ipv4: '192.0.2.9', ipv6: '2001:db8::9' };
export const PORTS = [53, 80, 81, 8080] as const;
export const PROTOCOLS: readonly PacketProtocol[] = ['TCP', 'UDP', 'SCTP', 'ICMP'];

const NAMESPACES = ['a', 'b', 'default'];
const BLOCKS: Readonly<Record<string, readonly string[]>> = {
  '0.0.0.0/0': ['10.42.0.0/16', '10.42.1.2/32', '192.0.2.8/29', '10.42.1.0/24', '10.0.0.0/8'],
  '10.42.0.0/16': ['10.42.1.0/24', '10.42.1.2/31', '10.42.2.1/32', '10.42.2.3/30'],
  '10.42.1.7/24': ['10.42.1.3/32', '10.42.1.0/30'],
  '192.0.2.9/32': [],
  '::/0': ['fd42::/16', 'fd42:1::2/128', '2001:db8::/32'],
  'fd42::/16': ['fd42:1::/32', 'fd42:2::2/127', 'fd42:2::1/128'],
  'fd42:1::/32': ['fd42:1::3/128'],
  '2001:db8::9/128': [],
};

const key = fc.constantFrom('app', 'tier', 'constructor');
const value = fc.constantFrom('x', 'y', 'z');
const labels = fc.dictionary(key, value, { maxKeys: 2, noNullPrototype: true });
const optional = <K extends string, T>(name: K, arbitrary: fc.Arbitrary<T>, frequency = 2) =>
  fc
    .option(arbitrary, { freq: frequency, nil: undefined })
    .map((found) => (found === undefined ? {} : { [name]: found }) as { readonly [P in K]?: T });

const requirement = fc.oneof(
  fc.record({
    key,
    operator: fc.constantFrom('In' as const, 'NotIn' as const),
    values: fc.uniqueArray(value, { minLength: 1, maxLength: 2 }),
  }),
  fc.record({ key, operator: fc.constantFrom('Exists' as const, 'DoesNotExist' as const) }),
);
const selector: fc.Arbitrary<LabelSelector> = fc.oneof(
  fc.constant({}),
  fc.record({ matchLabels: fc.dictionary(key, value, { maxKeys: 1, noNullPrototype: true }) }),
  fc.record({ matchExpressions: fc.array(requirement, { minLength: 1, maxLength: 2 }) }),
);
const namespaceSelector: fc.Arbitrary<LabelSelector> = fc.oneof(
  selector,
  fc.constantFrom(...NAMESPACES).map((name) => ({ matchLabels: { 'kubernetes.io/metadata.name': name } })),
);
const ipBlock = fc
  .constantFrom(...Object.keys(BLOCKS))
  .chain((cidr) =>
    fc.subarray([...BLOCKS[cidr]!]).map((except) => (except.length > 0 ? { cidr, except } : { cidr })),
  );
const peer = fc.oneof(
  { weight: 2, arbitrary: selector.map((podSelector) => ({ podSelector })) },
  { weight: 1, arbitrary: namespaceSelector.map((one) => ({ namespaceSelector: one })) },
  { weight: 2, arbitrary: fc.record({ podSelector: selector, namespaceSelector }) },
  { weight: 2, arbitrary: ipBlock.map((one) => ({ ipBlock: one })) },
);
const protocol = optional('protocol', fc.constantFrom('TCP' as const, 'UDP' as const, 'SCTP' as const), 1);
const port = fc
  .tuple(
    protocol,
    fc.oneof(
      fc.constant({}),
      fc.constantFrom(...PORTS).map((number) => ({ port: number as number | string })),
      fc.record({ port: fc.constantFrom(53, 80), endPort: fc.constantFrom(80, 81, 9000) }),
      fc.constantFrom('web', 'dns').map((name) => ({ port: name as number | string })),
    ),
  )
  .map(([one, other]) => ({ ...one, ...other }));
const ports = optional('ports', fc.array(port, { maxLength: 2 }));
const peers = fc.array(peer, { maxLength: 2 });
const merged = <A, B>(a: fc.Arbitrary<A>, b: fc.Arbitrary<B>) =>
  fc.tuple(a, b).map(([x, y]) => ({ ...x, ...y }));
const spec = fc
  .tuple(
    optional('podSelector', fc.oneof(fc.constant({}), selector)),
    optional('ingress', fc.array(merged(ports, optional('from', peers)), { maxLength: 2 })),
    optional('egress', fc.array(merged(ports, optional('to', peers)), { maxLength: 2 })),
    optional('policyTypes', fc.subarray(['Ingress' as const, 'Egress' as const]), 1),
  )
  .map((parts) => Object.assign({}, ...parts) as NonNullable<NetworkPolicy['spec']>);

const podShape = fc.record({
  namespace: fc.constantFrom('a', 'a', 'a', 'b', 'b', 'default', 'unheard-of'),
  labels,
  node: fc.constantFrom('n1' as const, 'n2' as const),
  families: fc.constantFrom<readonly (4 | 6)[]>([4, 6], [4, 6], [4], [6]),
  hostNetwork: fc.nat({ max: 6 }).map((n) => n === 0),
  ports: fc.array(
    fc.record({
      name: fc.constantFrom('web', 'dns'),
      protocol: fc.constantFrom('TCP' as const, 'UDP' as const),
      port: fc.constantFrom(...PORTS),
    }),
    { maxLength: 2 },
  ),
});

export const policyClusters: fc.Arbitrary<PolicyCluster> = fc
  .record({
    pods: fc.array(podShape, { minLength: 2, maxLength: 6 }),
    namespaces: fc.tuple(...NAMESPACES.map((name) => labels.map((one) => ({ name, labels: one })))),
    policies: fc.array(fc.record({ namespace: fc.constantFrom('a', 'a', 'b', undefined), spec }), {
      minLength: 2,
      maxLength: 6,
    }),
  })
  .map(({ pods, namespaces, policies }) => ({
    namespaces,
    pods: pods.map(({ families, node, ...pod }, i): ClusterPod => {
      const own = pod.hostNetwork
        ? [NODES[node].ipv4, NODES[node].ipv6]
        : [`10.42.${node.slice(1)}.${i + 2}`, `fd42:${node.slice(1)}::${i + 2}`];
      const addresses = own
        .map(parseAddress)
        .filter(({ family }) => pod.hostNetwork || families.includes(family));
      return { ...pod, node, name: `pod-${i}`, addresses };
    }),
    policies: policies.map(({ namespace, spec }, i) => ({
      apiVersion: 'networking.k8s.io/v1' as const,
      kind: 'NetworkPolicy' as const,
      metadata: { name: `policy-${i}`, ...(namespace === undefined ? {} : { namespace }) },
      spec,
    })),
  }));

export function podEndpoint(pod: ClusterPod): Endpoint {
  const address = (family: 4 | 6) => pod.addresses.find((one) => one.family === family);
  const [ipv4, ipv6] = [address(4), address(6)];
  return { name: pod.name, pod, ipv4: ipv4 && formatAddress(ipv4), ipv6: ipv6 && formatAddress(ipv6) };
}

/** Every pair of pods, nodes and the outside, port, protocol and family. */
export function* questions({ pods }: PolicyCluster): Generator<Question> {
  const endpoints = [...pods.map(podEndpoint), NODES.n1, NODES.n2, OUTSIDE] as Endpoint[];
  for (const family of [4, 6] as const) {
    const reachable = endpoints.filter((one) => (family === 4 ? one.ipv4 : one.ipv6) !== undefined);
    for (const from of reachable)
      for (const to of reachable)
        for (const protocol of PROTOCOLS)
          for (const port of protocol === 'ICMP' ? [0] : PORTS) yield { from, to, family, protocol, port };
  }
}
