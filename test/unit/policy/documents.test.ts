import { describe, expect, it } from 'vitest';
import { parsePolicies } from '../../../src/policy/documents.ts';

const policy = (spec: string, name = 'web') =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ${name}, namespace: shop}\nspec:\n${spec}\n`;

const problems = (text: string): string => {
  try {
    parsePolicies(text, 'p.yaml');
  } catch (error) {
    expect(error).toMatchObject({ code: 'POLICY_INVALID' });
    return (error as Error).message;
  }
  throw new Error('nothing was wrong');
};

describe('policy documents', () => {
  it('are read from a file of many, with empty ones between, and from lists', () => {
    const list = `apiVersion: v1\nkind: List\nitems:\n- ${JSON.stringify({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'of-a-list', uid: 'x', creationTimestamp: null },
    })}`;
    const text = [
      policy('  podSelector: {}', 'a'),
      '# nothing',
      policy('  ingress: null', 'b'),
      list,
      '',
    ].join('\n---\n');
    expect(parsePolicies(text, 'p.yaml').map(({ metadata }) => metadata.name)).toEqual([
      'a',
      'b',
      'of-a-list',
    ]);
  });

  it('are none in an empty file', () => {
    expect(parsePolicies('# nothing\n', 'p.yaml')).toEqual([]);
  });

  it('keep the shape of the API, and take a key without a value for an absent one', () => {
    const [read] = parsePolicies(
      policy(
        '  podSelector:\n  ingress:\n  - from: [{podSelector: {}, namespaceSelector: null}]\n    ports: [{port: 80, endPort: 90}, {port: dns, protocol: UDP}]',
      ),
      'p.yaml',
    );
    expect(read!.spec).toEqual({
      ingress: [
        {
          from: [{ podSelector: {} }],
          ports: [
            { port: 80, endPort: 90 },
            { port: 'dns', protocol: 'UDP' },
          ],
        },
      ],
    });
  });

  it.each([
    ['  egres: []', 'p.yaml:5:3: document 1: spec.egres: unknown key (did you mean egress?)'],
    [
      '  podSelector: {matchLabels: {app: }}',
      'p.yaml:5:36: document 1: spec.podSelector.matchLabels.app: has no value (give it one, or remove it)',
    ],
    [
      '  podSelector: {matchLabels: {app: 1}}',
      'document 1: spec.podSelector.matchLabels.app: must be text (put it in quotes), not 1',
    ],
    ['  podSelector: {matchLabels: {"a/b/c": x}}', 'spec.podSelector.matchLabels.a/b/c: is not a label key'],
    ['  podSelector: {matchLabels: {a: "x y"}}', 'spec.podSelector.matchLabels.a: is not a label value'],
    [
      '  podSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}',
      'must be one of In, NotIn, Exists, DoesNotExist, not "in" (did you mean In?)',
    ],
    [
      '  podSelector: {matchExpressions: [{key: a, operator: NotIn}]}',
      'spec.podSelector.matchExpressions[0].values: NotIn needs at least one of values',
    ],
    [
      '  podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}',
      'Exists takes no values (remove them)',
    ],
    ['  ingress: [{from: [{}]}]', 'spec.ingress[0].from[0]: says no peer'],
    [
      '  ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]',
      'spec.ingress[0].from[0]: has an ipBlock and a selector (make two peers of them)',
    ],
    ['  ingress: [null]', 'spec.ingress[0]: has no value'],
    ['  ingress: {}', 'spec.ingress: must be a list (begin its lines with -), not {}'],
    [
      '  egress: [{to: [{ipBlock: {cidr: 10.0.0.0}}]}]',
      '"10.0.0.0" is not a block like 10.0.0.0/8 or fd00::/8',
    ],
    ['  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/33}}]}]', 'the length is over 32'],
    [
      '  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]',
      'spec.egress[0].to[0].ipBlock.except[0]: 10.0.0.0/8 is not a smaller part of 10.0.0.0/8',
    ],
    [
      '  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: ["fd00::/16"]}}]}]',
      'is not a smaller part of 10.0.0.0/8',
    ],
    [
      '  ingress: [{ports: [{port: 0}]}]',
      'spec.ingress[0].ports[0].port: must be a number from 1 to 65535, or the name of a port',
    ],
    ['  ingress: [{ports: [{port: Web}]}]', 'or the name of a port'],
    ['  ingress: [{ports: [{port: "80"}]}]', 'or the name of a port'],
    [
      '  ingress: [{ports: [{port: web, endPort: 90}]}]',
      'spec.ingress[0].ports[0].endPort: needs a port that is a number',
    ],
    ['  ingress: [{ports: [{port: 80, endPort: 79}]}]', '79 is less than port, 80'],
    ['  ingress: [{ports: [{protocol: ICMP}]}]', 'must be one of TCP, UDP, SCTP, not "ICMP"'],
    ['  policyTypes: [Both]', 'must be one of Ingress, Egress, not "Both"'],
    ['  ingress: [', 'document 1: not valid YAML'],
  ])('say what is wrong with %s', (spec, message) => {
    expect(problems(policy(spec))).toContain(message);
  });

  it('say which document is wrong, and all that is', () => {
    const other = 'kind: Service\napiVersion: v1\nmetadata: {name: x}\n';
    const text = [policy(''), other, policy('', 'other'), policy('')].join('---\n');
    expect(problems(text).split('\n')).toEqual([
      'p.yaml:7:1: document 2: is "Service" of "v1" (only a NetworkPolicy of networking.k8s.io/v1 can be read: remove the document)',
      'p.yaml:19:18: document 4: metadata.name: shop/web is in document 1 already (keep one, or rename one)',
    ]);
  });

  it('are refused when a name is missing or none', () => {
    expect(problems('apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy')).toContain(
      'metadata: is missing (add it)',
    );
    expect(problems(policy('').replace('name: web', 'name: Web'))).toContain('metadata.name: must be a name');
    expect(problems('- a')).toContain('document 1: must be a mapping');
  });
});
