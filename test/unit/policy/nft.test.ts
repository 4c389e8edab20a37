import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { difference, type RenderedState } from '../../../src/host/rules/nft-difference.ts';
import { parseAddress } from '../../../src/ip/address.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';
import { compilePolicies } from '../../../src/policy/compile.ts';
import type { RuleModel } from '../../../src/policy/model.ts';
import { renderRules } from '../../../src/policy/nft/render.ts';
import { policyClusters } from '../../helpers/policy-clusters.ts';
import { attachmentsOf } from '../../helpers/policy-evaluator.ts';

const EMPTY: RenderedState = { sets: new Map(), chains: new Map() };
const named = { tunName: 'warren0', podRanges: ['10.42.0.0/16', 'fd42::/16'].map(parsePrefix) };

const MODEL: RuleModel = {
  attachments: [
    {
      interfaceName: 'wp1',
      ingress: [
        {
          name: 'network-policy',
          otherwise: 'deny',
          policies: ['shop/web'],
          rules: [
            {
              action: 'allow',
              peer: { kind: 'pods', set: 'some' },
              source: 'shop/web ingress[0]',
              ports: [
                { protocol: 'TCP', first: 80, last: 85 },
                { protocol: 'TCP', first: 84, last: 90 },
                { protocol: 'TCP', first: 443, last: 443 },
                { protocol: 'UDP', first: 0, last: 65_535 },
              ],
            },
            {
              action: 'allow',
              peer: { kind: 'block', set: 'b' },
              ports: 'any',
              source: 'shop/web ingress[1]',
            },
          ],
        },
      ],
      egress: [],
      staged: { ingress: [], egress: [] },
    },
  ],
  podSets: new Map([['some', ['10.42.1.2', 'fd42::2'].map(parseAddress)]]),
  blockSets: new Map([['b', ['10.0.0.0/9', '10.128.0.0/10'].map(parsePrefix)]]),
};

describe('rules as nftables', () => {
  it('are a chain of each attachment and direction, and sets', () => {
    const { sets, chains } = renderRules(MODEL, named);
    const [pods4, pods6, block] = [...sets.keys()].filter((name) => /pods|block/.test(name)) as string[];
    const answers = (port: string) => `ct reply proto-src { ${port} }`;
    expect(chains.get('policy_warren0_in_wp1')!.rules).toEqual([
      'iifname "wp1" oifname "wp1" return',
      'meta l4proto { 1, 58 } ct state related return',
      `ct original ip saddr @${pods4} meta l4proto tcp ${answers('80-90, 443')} counter return comment "shop/web ingress[0]"`,
      `ct original ip saddr @${pods4} meta l4proto udp counter return comment "shop/web ingress[0]"`,
      `ct original ip6 saddr @${pods6} meta l4proto tcp ${answers('80-90, 443')} counter return comment "shop/web ingress[0]"`,
      `ct original ip6 saddr @${pods6} meta l4proto udp counter return comment "shop/web ingress[0]"`,
      `ct original ip saddr @${block} counter return comment "shop/web ingress[1]"`,
      'counter name policy_warren0_denied_in_wp1 goto policy_warren0_deny',
    ]);
    expect(chains.get('policy_warren0_forward')!.rules).toEqual([
      'ct state established ct id @policy_warren0_seen accept',
      'ct state { invalid, untracked } goto policy_warren0_closed',
      'oifname @policy_warren0_policed ip saddr 10.42.0.0/16 fib saddr . iif oif missing counter drop',
      'oifname @policy_warren0_policed ip6 saddr fd42::/16 fib saddr . iif oif missing counter drop',
      'ct direction original iifname vmap @policy_warren0_out',
      'ct direction original oifname vmap @policy_warren0_in',
      'ct direction reply oifname vmap @policy_warren0_out',
      'ct direction reply iifname vmap @policy_warren0_in',
      'ct state established add @policy_warren0_seen { ct id }',
    ]);
    expect(sets.get(pods6!)!.elements).toEqual(new Set(['fd42::2']));
    expect(sets.get(block!)!.elements).toEqual(new Set(['10.0.0.0/9', '10.128.0.0/10']));
    expect(sets.get('policy_warren0_in')!.elements).toEqual(new Set(['"wp1" : jump policy_warren0_in_wp1']));
    expect(sets.get('policy_warren0_out')!.elements).toEqual(new Set());
  });

  it('are none where no attachment has any', () => {
    expect(renderRules({ ...MODEL, attachments: [] }, named)).toEqual(EMPTY);
  });

  it('are one element more when a pod comes that a selector means', () => {
    const podSets = new Map([['some', ['10.42.1.2', '10.42.1.3', 'fd42::2'].map(parseAddress)]]);
    const text = difference(renderRules(MODEL, named), renderRules({ ...MODEL, podSets }, named));
    expect(text).toMatch(
      /^add table inet warren\nadd element inet warren policy_warren0_pods4_[0-9a-f]{16} \{ 10\.42\.1\.3 \}\n$/,
    );
    expect(difference(renderRules(MODEL, named), renderRules(MODEL, named))).toBe('');
  });
});

describe('the difference of two states', () => {
  it('leads from the one to the other, and refers to nothing that is not there', () => {
    fc.assert(
      fc.property(policyClusters, policyClusters, (before, after) => {
        const states = [before, after, undefined].map((cluster) =>
          cluster === undefined
            ? EMPTY
            : renderRules(compilePolicies(cluster, attachmentsOf(cluster, 'n1')), named),
        );
        const table = new Table();
        let from = EMPTY;
        for (const state of states) {
          table.apply(difference(from, state));
          table.expectToBe(state);
          from = state;
        }
      }),
      { numRuns: 100 },
    );
  });
});

/** As much of nft as the text of a difference needs: it refuses what the kernel would. */
class Table {
  readonly #sets = new Map<string, Set<string>>();
  readonly #chains = new Map<string, string[]>();

  apply(text: string): void {
    for (const line of text.split('\n').filter(Boolean)) {
      if (line === 'add table inet warren') continue;
      const [, verb, what, name, rest] = /^(\w+) (\w+) inet warren (\S+) ?(.*)$/.exec(line)!;
      this.#run(`${verb} ${what!.replace(/map|counter/, 'set')}`, name!, rest!);
    }
  }

  expectToBe({ sets, chains }: RenderedState): void {
    expect(this.#sets).toEqual(new Map([...sets].map(([name, { elements }]) => [name, elements])));
    expect(this.#chains).toEqual(new Map([...chains].map(([name, { rules }]) => [name, rules])));
  }

  #run(command: string, name: string, rest: string): void {
    const elements = rest.replace(/^\{ | \}$/g, '').split(', ');
    switch (command) {
      case 'add set':
        return void this.#sets.set(name, new Set());
      case 'add chain':
        return void this.#chains.set(name, []);
      case 'flush chain':
        return void this.#chains.get(name)!.splice(0);
      case 'add rule':
        this.#refer(rest);
        return void this.#chains.get(name)!.push(rest);
      case 'add element':
        for (const one of elements) {
          this.#refer(one);
          expect(this.#sets.get(name)!.has(one)).toBe(false);
          this.#sets.get(name)!.add(one);
        }
        return;
      case 'delete element':
        for (const one of elements) expect(this.#sets.get(name)!.delete(one)).toBe(true);
        return;
      case 'delete set':
        this.#expectUnused(`@${name}`);
        return void expect(this.#sets.delete(name)).toBe(true);
      case 'delete chain':
        this.#expectUnused(`jump ${name}`);
        this.#expectUnused(`goto ${name}`);
        expect(this.#chains.get(name)).toEqual([]);
        return void expect(this.#chains.delete(name)).toBe(true);
      default:
        throw new Error(command);
    }
  }

  #refer(text: string): void {
    for (const [, set] of text.matchAll(/@(\S+)/g)) expect(this.#sets.has(set!), text).toBe(true);
    for (const [, chain] of text.matchAll(/(?:jump|goto) (\S+)/g))
      expect(this.#chains.has(chain!), text).toBe(true);
  }

  #expectUnused(reference: string): void {
    const texts = [...this.#chains.values(), ...[...this.#sets.values()].map((set) => [...set])].flat();
    expect(texts.filter((text) => `${text} `.includes(`${reference} `))).toEqual([]);
  }
}
