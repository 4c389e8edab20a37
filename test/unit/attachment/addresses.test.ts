import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nextPodAddress, nodeAddress, podCapacity } from '../../../src/attachment/addresses.ts';
import { formatAddress } from '../../../src/ip/address.ts';
import { parsePrefix, prefixContains } from '../../../src/ip/prefix.ts';

const none = new Set<bigint>();

describe('addresses of a subnet', () => {
  it.each([
    ['10.42.3.0/24', '10.42.3.1', 253n, '10.42.3.2'],
    ['10.42.3.4/30', '10.42.3.5', 1n, '10.42.3.6'],
    ['fd42:0:0:3::/64', 'fd42:0:0:3::1', 2n ** 64n - 2n, 'fd42:0:0:3::2'],
    ['fd42::/126', 'fd42::1', 2n, 'fd42::2'],
  ])('%s: the node has %s, %s pods, the first %s', (text, node, capacity, first) => {
    const subnet = parsePrefix(text);
    expect(formatAddress(nodeAddress(subnet))).toBe(node);
    expect(podCapacity(subnet)).toBe(capacity);
    expect(formatAddress(nextPodAddress(subnet, none, undefined)!)).toBe(first);
  });

  it('goes on after the last one, and round at the end', () => {
    const subnet = parsePrefix('10.42.3.0/29');
    const used = new Set<bigint>();
    const given: string[] = [];
    let last: bigint | undefined;
    for (let i = 0; i < 8; i++) {
      const address = nextPodAddress(subnet, used, last)!;
      last = address.value;
      given.push(formatAddress(address));
    }
    expect(given.map((text) => text.split('.')[3])).toEqual(['2', '3', '4', '5', '6', '2', '3', '4']);
  });

  it('has none left when all are used, and finds the only free one', () => {
    const subnet = parsePrefix('10.42.3.0/29');
    const used = new Set([2n, 3n, 4n, 5n, 6n].map((index) => subnet.value + index));
    expect(nextPodAddress(subnet, used, undefined)).toBeUndefined();
    used.delete(subnet.value + 4n);
    for (const last of [undefined, ...used]) {
      expect(formatAddress(nextPodAddress(subnet, used, last)!)).toBe('10.42.3.4');
    }
  });

  it('ignores a last address of another subnet', () => {
    const subnet = parsePrefix('10.42.3.0/24');
    expect(formatAddress(nextPodAddress(subnet, none, 0x0a2a0909n)!)).toBe('10.42.3.2');
  });

  it('never gives out a used address, the node, the network or the broadcast address', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('10.42.3.0/24', '10.42.3.0/27', 'fd42::/120', 'fd42::/64'),
        fc.uniqueArray(fc.bigInt({ min: 2n, max: 40n })),
        fc.option(fc.bigInt({ min: 0n, max: 300n }), { nil: undefined }),
        (text, indexes, lastIndex) => {
          const subnet = parsePrefix(text);
          const used = new Set(indexes.map((index) => subnet.value + index));
          const last = lastIndex === undefined ? undefined : subnet.value + lastIndex;
          const address = nextPodAddress(subnet, used, last);
          if (address === undefined) {
            expect(BigInt(indexes.filter((index) => index - 1n <= podCapacity(subnet)).length)).toBe(
              podCapacity(subnet),
            );
            return;
          }
          const index = address.value - subnet.value;
          expect(prefixContains(subnet, address)).toBe(true);
          expect(used.has(address.value)).toBe(false);
          expect(index).toBeGreaterThanOrEqual(2n);
          expect(index).toBeLessThanOrEqual(podCapacity(subnet) + 1n);
        },
      ),
    );
  });
});
