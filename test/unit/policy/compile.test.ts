import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAddress } from '../../../src/ip/address.ts';
import { addressCount, formatPrefix, prefixContains, prefixesOverlap } from '../../../src/ip/prefix.ts';
import { parseCidr, without } from '../../../src/policy/cidr.ts';
import { compilePolicies, STAGED } from '../../../src/policy/compile.ts';
import { parsePolicies } from '../../../src/policy/documents.ts';
import type { RuleModel, Tier } from '../../../src/policy/model.ts';
import { policyClusters, questions } from '../../helpers/policy-clusters.ts';
import { attachmentsOf, modelAllows, passes } from '../../helpers/policy-evaluator.ts';
import { oracleAllows } from '../../helpers/policy-oracle.ts';

describe('the compiler of policies', () => {
  it('agrees with the documents about every packet of random clusters', () => {
    let [asked, denied] = [0, 0];
    fc.assert(
      fc.property(policyClusters, (cluster) => {
        const read = parsePolicies(JSON.stringify({ kind: 'List', items: cluster.policies }), 'random');
        expect(read).toEqual(cluster.policies);
        const models = new Map(
          ['n1', 'n2'].map((node) => [node, compilePolicies(cluster, attachmentsOf(cluster, node))]),
        );
        for (const question of questions(cluster)) {
          const expected = oracleAllows(cluster, question);
          asked++;
          if (!expected) denied++;
          if (modelAllows(models, question) === expected) continue;
          const { from, to, family, protocol, port } = question;
          throw new Error(
            `${from.name} to ${to.name}, IPv${family} ${protocol} ${port}: ${expected ? 'allowed' : 'denied'}`,
          );
        }
      }),
      { numRuns: 150 },
    );
    // Neither all closed nor all open.
    expect(denied / asked).toBeGreaterThan(0.05);
    expect(denied / asked).toBeLessThan(0.9);
  });

  it('makes the same of the same, and nothing where no policy selects', () => {
    const web = { namespace: 'a', labels: {}, addresses: [], ports: [], hostNetwork: false };
    const local = [{ interfaceName: 'wp1', pod: web }];
    const [policy] = parsePolicies(
      'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: x, namespace: b}\n',
      'x',
    );
    const none = compilePolicies({ pods: [web], namespaces: [], policies: [policy!] }, local);
    expect(none).toEqual({ attachments: [], podSets: new Map(), blockSets: new Map() });
  });
});

describe('staged policies', () => {
  const pod = { namespace: 'a', labels: {}, addresses: [], ports: [], hostNetwork: false };
  const local = [{ interfaceName: 'wp1', pod }];
  const policy = (name: string, metadata: object, port: number) => ({
    apiVersion: 'networking.k8s.io/v1' as const,
    kind: 'NetworkPolicy' as const,
    metadata: { name, namespace: 'a', ...metadata },
    spec: { ingress: [{ ports: [{ port }] }] },
  });
  const rulesOf = (...policies: ReturnType<typeof policy>[]) =>
    compilePolicies({ pods: [pod], namespaces: [], policies }, local).attachments[0]!;

  it('are in force nowhere, and are tried together with those that are', () => {
    for (const mark of [{ annotations: { [STAGED]: 'true' } }, { labels: { [STAGED]: 'true' } }]) {
      const rules = rulesOf(policy('web', {}, 80), policy('new', mark, 443));
      expect(rules.ingress.map(({ policies }) => policies)).toEqual([['a/web']]);
      expect(rules.ingress[0]!.rules.map(({ source }) => source)).toEqual(['a/web ingress[0]']);
      expect(rules.staged.ingress[0]!.policies).toEqual(['a/new']);
      expect(rules.staged.ingress[0]!.rules.map(({ source }) => source)).toEqual([
        'a/web ingress[0]',
        'a/new ingress[0]',
      ]);
      expect(rulesOf(policy('new', mark, 443)).ingress).toEqual([]);
    }
    expect(rulesOf(policy('web', { labels: { [STAGED]: 'false' } }, 80)).staged.ingress).toEqual([]);
  });
});

describe('tiers', () => {
  const model: RuleModel = { attachments: [], podSets: new Map(), blockSets: new Map() };
  const tier = (action: 'allow' | 'deny' | 'pass', port: number, otherwise: 'deny' | 'pass'): Tier => ({
    name: 'x',
    rules: [
      {
        action,
        peer: { kind: 'any' },
        ports: [{ protocol: 'TCP', first: port, last: port }],
        source: '',
      },
    ],
    otherwise,
    policies: ['a/x'],
  });
  it.each([
    ['an allow is final', [tier('allow', 80, 'pass'), tier('deny', 80, 'pass')], true],
    ['a deny is final', [tier('deny', 80, 'pass'), tier('allow', 80, 'pass')], false],
    ['a pass leaves the tier', [tier('pass', 80, 'deny'), tier('allow', 80, 'deny')], true],
    ['what nothing matches is denied where a tier says so', [tier('allow', 81, 'deny')], false],
    ['and goes on where it does not', [tier('allow', 81, 'pass'), tier('deny', 81, 'pass')], true],
  ])('%s', (_what, tiers, expected) => {
    expect(passes(model, tiers, parseAddress('192.0.2.1'), { protocol: 'TCP', port: 80 })).toBe(expected);
  });
});

describe('a block without its exceptions', () => {
  const prefix = fc
    .record({ value: fc.integer({ min: 0, max: 255 }), length: fc.integer({ min: 24, max: 32 }) })
    .map(({ value, length }) => parseCidr(`10.0.0.${value}/${length}`));

  it('holds each address that it should, in prefixes that do not overlap', () => {
    fc.assert(
      fc.property(prefix, fc.array(prefix, { maxLength: 4 }), (whole, except) => {
        const left = without(whole, except);
        for (const [i, one] of left.entries())
          for (const other of left.slice(i + 1)) expect(prefixesOverlap(one, other)).toBe(false);
        let count = 0n;
        for (let i = 0; i < 256; i++) {
          const address = parseAddress(`10.0.0.${i}`);
          const expected =
            prefixContains(whole, address) && !except.some((one) => prefixContains(one, address));
          expect(left.some((one) => prefixContains(one, address))).toBe(expected);
          if (expected) count++;
        }
        expect(left.reduce((sum, one) => sum + addressCount(one), 0n)).toBe(count);
      }),
    );
  });

  it('is made of the fewest prefixes, whatever the family', () => {
    const text = (whole: string, ...except: string[]) =>
      without(parseCidr(whole), except.map(parseCidr)).map(formatPrefix);
    expect(text('10.0.0.0/8', '10.128.0.0/9')).toEqual(['10.0.0.0/9']);
    expect(text('10.0.0.7/29', '10.0.0.2/32')).toEqual(['10.0.0.0/31', '10.0.0.3/32', '10.0.0.4/30']);
    expect(text('::/0', '8000::/1', '::/2')).toEqual(['4000::/2']);
    expect(text('::/0', '::1/128')).toHaveLength(128);
    expect(text('10.0.0.0/31', '10.0.0.0/32', '10.0.0.1/32')).toEqual([]);
  });
});
