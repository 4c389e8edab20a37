/** Why packets pass or do not: what the documents say at both ends, and the kernel's counters of the node that has each. */
import { describe, expect, it } from 'vitest';
import { formatAddress, parseAddress } from '../../../src/ip/address.ts';
import type { ExplainRequest } from '../../../src/policy/commands.ts';
import { parsePolicies } from '../../../src/policy/documents.ts';
import { answerCounted, type ExplainParts, explain } from '../../../src/policy/explain.ts';
import { COUNTED_METHOD } from '../../../src/policy/method.ts';
import type { PolicySource, SourcedPod } from '../../../src/policy/source.ts';
import { MemoryPolicyRules } from '../../helpers/memory-policy-rules.ts';

const pod = (
  namespace: string,
  name: string,
  labels: Readonly<Record<string, string>>,
  ...addresses: string[]
): SourcedPod => ({
  ...{ namespace, name, labels, ports: [], hostNetwork: false },
  addresses: addresses.map(parseAddress),
});
const WEB = pod('shop', 'web', { app: 'web' }, '10.42.1.2', 'fd42:1::2');
const DB = pod('shop', 'db', { app: 'db' }, '10.42.2.2', 'fd42:2::2');
const SIX = pod('lab', 'six', {}, 'fd42:2::3');
const HEAD = 'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n';
const POLICIES = `${HEAD}metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
    - from: [{podSelector: {matchLabels: {app: web}}}]
      ports: [{port: 5432}]
    - from: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.9/32]}}, {namespaceSelector: {}, podSelector: {matchLabels: {app: batch}}}]
---
${HEAD}metadata: {name: out, namespace: shop, annotations: {warren.io/staged: "true"}}
spec: {podSelector: {matchExpressions: [{key: app, operator: In, values: [web]}]}, policyTypes: [Egress]}
`;

const source: PolicySource = {
  name: 'test',
  isReady: () => true,
  pods: () => [WEB, DB, SIX],
  namespaces: () => [
    { name: 'shop', labels: {} },
    { name: 'lab', labels: {} },
  ],
  policies: () => parsePolicies(POLICIES, 'test'),
  onChange: () => () => {},
};

/** Node a has `web`, node b the others. */
function nodeParts(nodeId: 'a' | 'b', rules = new MemoryPolicyRules(), other?: ExplainParts): ExplainParts {
  const mine = nodeId === 'a' ? [WEB] : [DB, SIX];
  return {
    ...{ nodeId, rules, sources: [source] },
    nodeOf: (address) => {
      const subnet = /^(?:10\.42\.|fd42:)([12])(?:\.|::)(\d+)$/.exec(formatAddress(address));
      if (subnet === null) return undefined;
      const id = subnet[1] === '1' ? 'a' : 'b';
      return { id, name: `node-${id}`, isNode: subnet[2] === '1' };
    },
    local: () => mine.map((one) => ({ interfaceName: `if-${one.name}`, pod: one })),
    call: async (id, method, body) => {
      if (other === undefined) throw new Error('no answer');
      expect([id, method]).toEqual([other.nodeId, COUNTED_METHOD]);
      return answerCounted(body, other);
    },
  };
}

const tcp = (from: string, to: string, port = 5432): ExplainRequest => ({
  ...{ source: from, destination: to, protocol: 'tcp', port },
});

describe('what is explained', () => {
  it('names the policy, the rule and the labels that let packets through, and the counter of the other node', async () => {
    const rules = new MemoryPolicyRules();
    rules.rules.set('in_if-db', [
      { comment: 'shop/db ingress[0]', packets: 5 },
      { comment: 'shop/db ingress[0]', packets: 2 },
    ]);
    const report = await explain(tcp('web', 'shop/db'), nodeParts('a', undefined, nodeParts('b', rules)));
    expect(report).toMatchObject({
      from: { address: '10.42.1.2', pod: 'shop/web', node: 'node-a' },
      to: { address: '10.42.2.2', pod: 'shop/db', node: 'node-b' },
      verdict: 'allowed',
      ends: [
        {
          ...{ direction: 'egress', verdict: 'allowed', policies: [] },
          staged: { verdict: 'denied', policies: ['shop/out'] },
        },
        {
          ...{ direction: 'ingress', verdict: 'allowed', node: 'node-b' },
          policies: [{ policy: 'shop/db', selector: 'app=db' }],
          by: { rule: 'shop/db ingress[0]', peer: 'app=web' },
          kernel: { rules: [{ comment: 'shop/db ingress[0]', packets: 7 }] },
        },
      ],
    });
  });

  it('says what each rule lacks where none lets them through', async () => {
    const rules = new MemoryPolicyRules();
    rules.connections.denied = [
      {
        ...{ source: '10.42.1.2', destination: '10.42.2.2', family: 4, protocol: 'tcp', port: 80 },
        ...{ packets: 3, ageSeconds: 2 },
      },
    ];
    const report = await explain(tcp('web', 'db', 80), nodeParts('a', undefined, nodeParts('b', rules)));
    expect(report.verdict).toBe('denied');
    expect(report.ends[1]).toMatchObject({
      lacks: [
        { rule: 'shop/db ingress[0]', why: 'it is about TCP 5432' },
        {
          rule: 'shop/db ingress[1]',
          why: 'shop/web (app=web) is not 192.0.2.0/24 without 192.0.2.9/32, nor app=batch in all namespaces',
        },
      ],
      kernel: { rules: [], denied: { packets: 3, ageSeconds: 2 } },
    });
  });

  it('takes addresses of anybody, and the family that both ends have', async () => {
    expect(await explain(tcp('192.0.2.1', 'db', 1), nodeParts('b'))).toMatchObject({
      ...{ verdict: 'allowed', from: { address: '192.0.2.1' } },
      ends: [{ by: { rule: 'shop/db ingress[1]', peer: '192.0.2.0/24 without 192.0.2.9/32' } }],
    });
    expect((await explain(tcp('192.0.2.9', 'db', 1), nodeParts('b'))).verdict).toBe('denied');
    expect((await explain(tcp('six', 'db'), nodeParts('b'))).from.address).toBe('fd42:2::3');
    const parts = nodeParts('b');
    await expect(explain(tcp('192.0.2.1', 'six'), parts)).rejects.toMatchObject({
      code: 'POLICY_END_FAMILY',
    });
    await expect(explain(tcp('nobody', 'db'), parts)).rejects.toMatchObject({ code: 'POLICY_END_UNKNOWN' });
  });

  it('knows that a node reaches its own pods, and others do not', async () => {
    expect(await explain(tcp('10.42.2.1', 'db', 1), nodeParts('b'))).toMatchObject({
      ...{ verdict: 'allowed', ends: [] },
      from: { isNode: true, node: 'node-b' },
    });
    expect((await explain(tcp('10.42.1.1', 'db', 1), nodeParts('b'))).verdict).toBe('denied');
    expect((await explain(tcp('db', 'db', 1), nodeParts('b'))).verdict).toBe('allowed');
  });

  it('says why counters are not known', async () => {
    const { ends } = await explain(tcp('web', 'db'), nodeParts('a'));
    expect(ends[1]).toMatchObject({ verdict: 'allowed', unknown: 'no answer' });
    await expect(answerCounted(Buffer.from('{"pod": 1'), nodeParts('b'))).rejects.toMatchObject({
      code: 'BAD_REQUEST',
    });
  });
});
