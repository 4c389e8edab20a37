/** Whose an address is, against the slow and obvious way: a list of who asked for what, gone through from its end. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fdb } from '../../../src/fdb/fdb.ts';
import { FDB_MISS } from '../../../src/fdb/snapshot.ts';
import { addressWords, type IpAddress } from '../../../src/ip/address.ts';
import {
  formatPrefix,
  type Prefix,
  parsePrefix,
  prefixContains,
  prefixOf,
  samePrefix,
} from '../../../src/ip/prefix.ts';
import { AllowedIps } from '../../../src/wireguard-device/allowed-ips.ts';

const OWNERS = 4;

type Step =
  | { readonly kind: 'add' | 'remove'; readonly prefix: Prefix; readonly owner: number }
  | { readonly kind: 'removeAll'; readonly owner: number };

/** Few distinct bits, so that prefixes nest, touch and come again. */
function address(family: 4 | 6): fc.Arbitrary<IpAddress> {
  const low = BigInt(family === 4 ? 24 : 120);
  return fc
    .tuple(fc.bigInt({ min: 0n, max: 3n }), fc.bigInt({ min: 0n, max: 7n }))
    .map(([high, value]) => ({ family, value: (high << low) | value }));
}

const anyAddress = fc.constantFrom<4 | 6>(4, 6).chain(address);
const prefix = anyAddress.chain((of) =>
  fc
    .constantFrom(0, 1, 7, 8, 9, of.family === 4 ? 31 : 127, of.family === 4 ? 32 : 128)
    .map((length) => prefixOf(of, length)),
);
const owner = fc.integer({ min: 0, max: OWNERS - 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('add' as const), prefix, owner }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('remove' as const), prefix, owner }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('removeAll' as const), owner }) },
);

class Naive {
  readonly #list: { readonly prefix: Prefix; readonly owner: number }[] = [];

  take(next: Step): void {
    const without = (goes: (at: { prefix: Prefix; owner: number }) => boolean) => {
      this.#list.splice(0, this.#list.length, ...this.#list.filter((one) => !goes(one)));
    };
    if (next.kind === 'removeAll') without((one) => one.owner === next.owner);
    else if (next.kind === 'remove')
      without((one) => one.owner === next.owner && samePrefix(one.prefix, next.prefix));
    else {
      without((one) => samePrefix(one.prefix, next.prefix));
      this.#list.push({ prefix: next.prefix, owner: next.owner });
    }
  }

  find(at: IpAddress): number {
    const holding = this.#list.filter((one) => prefixContains(one.prefix, at));
    return holding.sort((a, b) => b.prefix.length - a.prefix.length)[0]?.owner ?? FDB_MISS;
  }

  of(one: number): string[] {
    return this.#list.filter((entry) => entry.owner === one).map((entry) => formatPrefix(entry.prefix));
  }
}

function lookup(fdb: Fdb, at: IpAddress): number {
  const [word0, word1, word2, word3] = addressWords(at);
  return at.family === 4 ? fdb.lookup4(word0!) : fdb.lookup6(word0!, word1!, word2!, word3!);
}

describe('allowed addresses', () => {
  it('are whose they would be in a plain list', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 30 }),
        fc.array(anyAddress, { minLength: 5 }),
        (steps, asked) => {
          const allowed = new AllowedIps<number>();
          const naive = new Naive();
          for (const next of steps) {
            naive.take(next);
            if (next.kind === 'removeAll') allowed.removeAll(next.owner);
            else if (next.kind === 'remove') allowed.remove(next.prefix, next.owner);
            else allowed.add(next.prefix, next.owner);
          }
          const fdb = new Fdb(allowed.snapshot((one) => one));
          for (const at of asked) expect(lookup(fdb, at)).toBe(naive.find(at));
          for (let one = 0; one < OWNERS; one++)
            expect([...allowed.of(one)].map(formatPrefix).sort()).toEqual(naive.of(one).sort());
        },
      ),
    );
  });

  it('go to whoever asks for the same prefix last', () => {
    const allowed = new AllowedIps<string>();
    const prefix = parsePrefix('10.0.0.0/8');
    allowed.add(prefix, 'a');
    allowed.add(prefix, 'b');
    allowed.remove(prefix, 'a');
    expect([...allowed.of('a')]).toEqual([]);
    expect([...allowed.of('b')]).toEqual([prefix]);
  });
});
