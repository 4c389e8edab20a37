import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AddressPool } from '../../../src/attachment/address-pool.ts';
import { formatAddress, type IpAddress, parseAddress } from '../../../src/ip/address.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';

const pool = (subnets: readonly string[], last: readonly string[] = []) =>
  new AddressPool({ subnets: subnets.map(parsePrefix), last: last.map(parseAddress) });
const texts = (addresses: readonly IpAddress[]) => addresses.map(formatAddress);
const code = (of: string) => expect.objectContaining({ code: of });

describe('address pool', () => {
  it('gives one address of each family, the ones after those given out last', () => {
    const both = pool(['10.42.3.0/24', 'fd42::/64']);
    expect(texts(both.allocate('a'))).toEqual(['10.42.3.2', 'fd42::2']);
    both.free('a');
    expect(texts(both.allocate('b'))).toEqual(['10.42.3.3', 'fd42::3']);
    const later = pool(['10.42.3.0/24', 'fd42::/64'], texts(both.last));
    expect(texts(later.allocate('c'))).toEqual(['10.42.3.4', 'fd42::4']);
  });

  it('gives nobody what is reserved, however much that is, and leaves who is there', () => {
    const both = pool(['10.42.3.0/28', 'fd42::/64']);
    both.allocate('early', [parseAddress('10.42.3.9')]);
    both.setReserved(['10.42.3.4/30', '10.42.3.8/29', 'fd42::/65', '10.99.0.0/16'].map(parsePrefix));
    expect(texts(both.allocate('early'))).toEqual(['10.42.3.9', 'fd42::2']);
    expect(texts(both.allocate('a'))).toEqual(['10.42.3.2', 'fd42::8000:0:0:0']);
    expect(texts(both.allocate('b'))).toEqual(['10.42.3.3', 'fd42::8000:0:0:1']);
    expect(() => both.allocate('c')).toThrow(code('POD_SUBNET_EXHAUSTED'));
    expect(() => both.allocate('c', [parseAddress('10.42.3.5')])).toThrow(code('ADDRESS_TAKEN'));
    both.free('a');
    expect(texts(both.allocate('c')).at(0)).toBe('10.42.3.2');
    both.setReserved([]);
    expect(texts(both.allocate('d')).at(0)).toBe('10.42.3.4');
  });

  it('gives an owner that has addresses the same ones', () => {
    const one = pool(['10.42.3.0/24']);
    expect(one.allocate('a')).toEqual(one.allocate('a'));
    expect(texts(one.allocate('b'))).toEqual(['10.42.3.3']);
  });

  it('gives what is asked for, and the next free one of the other family', () => {
    const both = pool(['10.42.3.0/24', 'fd42::/64']);
    expect(texts(both.allocate('a', [parseAddress('10.42.3.77')]))).toEqual(['10.42.3.77', 'fd42::2']);
    expect(texts(both.allocate('b'))).toEqual(['10.42.3.2', 'fd42::3']);
    expect(() => both.allocate('c', [parseAddress('10.42.3.77')])).toThrow(code('ADDRESS_TAKEN'));
    expect(both.ownerOf(parseAddress('10.42.3.77'))).toBe('a');
  });

  it.each(['10.42.3.0', '10.42.3.1', '10.42.3.255', '10.42.4.2', 'fd42::2', '0.0.0.0'])(
    'refuses %s, which is no address for pods here',
    (text) => {
      expect(() => pool(['10.42.3.0/24']).allocate('a', [parseAddress(text)])).toThrow(
        code('ADDRESS_OUTSIDE'),
      );
    },
  );

  it('gives no address at all where one family has none left, and names its subnet', () => {
    const both = pool(['10.42.3.0/30', 'fd42::/64']);
    both.allocate('a');
    expect(() => both.allocate('b')).toThrow(
      expect.objectContaining({
        code: 'POD_SUBNET_EXHAUSTED',
        message: expect.stringContaining('10.42.3.0/30 has no free address: all 1 are taken'),
      }),
    );
    expect(both.addressesOf('b')).toEqual([]);
    // Nor was one of the other family used up.
    both.free('a');
    expect(texts(both.allocate('c'))).toEqual(['10.42.3.2', 'fd42::3']);
    expect(() => pool([]).allocate('a')).toThrow(code('POD_NO_SUBNET'));
  });

  it('keeps what is reserved from others, in its subnets or not', () => {
    const one = pool(['10.42.3.0/29']);
    one.reserve('old', [parseAddress('10.42.3.2'), parseAddress('10.9.9.9')]);
    expect(texts(one.allocate('a'))).toEqual(['10.42.3.3']);
    expect(() => one.reserve('b', [parseAddress('10.9.9.9')])).toThrow(code('ADDRESS_TAKEN'));
    one.free('old');
    one.reserve('b', [parseAddress('10.9.9.9')]);
  });

  it('lets owners keep what they have when subnets change, until they allocate again', () => {
    const both = pool(['10.42.3.0/24']);
    both.allocate('a');
    both.setSubnets([parsePrefix('10.42.9.0/24')]);
    expect(both.fits('a')).toBe(false);
    expect(texts(both.addressesOf('a'))).toEqual(['10.42.3.2']);
    expect(texts(both.allocate('a'))).toEqual(['10.42.9.2']);
    expect(both.fits('a')).toBe(true);
    expect(both.ownerOf(parseAddress('10.42.3.2'))).toBeUndefined();
    // A second family: the first one's address stays.
    both.setSubnets(['10.42.9.0/24', 'fd42::/64'].map(parsePrefix));
    expect(both.fits('a')).toBe(false);
    expect(texts(both.allocate('a'))).toEqual(['10.42.9.2', 'fd42::2']);
  });

  it("takes the node's own address in a smaller subnet for none of a pod's", () => {
    const one = pool(['10.42.3.0/24']);
    one.reserve('a', [parseAddress('10.42.3.5')]);
    one.setSubnets([parsePrefix('10.42.3.4/30')]);
    expect(one.fits('a')).toBe(false);
    expect(texts(one.allocate('a'))).toEqual(['10.42.3.6']);
  });

  it('never gives two owners one address, and loses none', () => {
    const step = fc.tuple(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'), fc.constantFrom('allocate', 'free'));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const both = pool(['10.42.3.0/29', 'fd42::/125']);
        const owners = new Map<string, readonly IpAddress[]>();
        for (const [owner, what] of steps) {
          if (what === 'free') {
            both.free(owner);
            owners.delete(owner);
          } else if (owners.has(owner) || owners.size < 5) {
            owners.set(owner, both.allocate(owner));
          } else {
            expect(() => both.allocate(owner)).toThrow(code('POD_SUBNET_EXHAUSTED'));
          }
          const all = [...owners.values()].flatMap(texts);
          expect(new Set(all).size).toBe(all.length);
          for (const [one, addresses] of owners) expect(both.addressesOf(one)).toEqual(addresses);
        }
      }),
    );
  });
});
