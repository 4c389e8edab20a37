import { expect, it } from 'vitest';
import { LOOKUP_MS, type Lookup, seedAddresses } from '../../../src/host/seed-addresses.ts';
import { formatAddress, parseAddress } from '../../../src/ip/address.ts';
import { settled } from '../../../src/simulate/in-time.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';

/** What each name resolves to, and after how long; the others are never answered. */
const names: Record<string, readonly [atMs: number, ...addresses: string[]]> = {
  quick: [10, '192.0.2.1', '2001:db8::1'],
  slow: [LOOKUP_MS - 1, '192.0.2.2'],
  late: [LOOKUP_MS + 1, '192.0.2.3'],
  wrong: [20],
};

function setUp(...hosts: string[]) {
  const clock = new VirtualClock();
  const asked: string[] = [];
  const lookup: Lookup = (host) => {
    asked.push(host);
    return new Promise((resolve, reject) => {
      const [atMs, ...addresses] = names[host] ?? [Number.NaN];
      if (Number.isNaN(atMs)) return;
      clock.after(atMs, () => {
        if (addresses.length > 0) resolve(addresses.map(parseAddress));
        else reject(new Error('no such name'));
      });
    });
  };
  const found: string[] = [];
  const take = async (most = Number.POSITIVE_INFINITY) => {
    for await (const address of seedAddresses(hosts, lookup, clock)) {
      found.push(formatAddress(address));
      if (found.length >= most) break;
    }
  };
  /** How long it takes, in virtual time. */
  const time = async (work: Promise<void>) => {
    let isDone = false;
    void work.then(() => {
      isDone = true;
    });
    for (await settled(); !isDone && clock.now() < 60_000; await settled()) clock.advance(1);
    return clock.now();
  };
  return { asked, found, take, time };
}

it('names are looked up at once, and come in the order of the seeds', async () => {
  const { asked, found, take, time } = setUp('slow', 'wrong', 'quick', 'slow');
  expect(await time(take())).toBe(LOOKUP_MS - 1);
  expect(asked).toEqual(['slow', 'wrong', 'quick']);
  expect(found).toEqual(['192.0.2.2', '192.0.2.1', '2001:db8::1']);
});

it('however many name servers are dead, they are waited for once, and what has answered counts', async () => {
  const { found, take, time } = setUp('dead1', 'dead2', 'late', 'quick', 'dead3', 'wrong');
  expect(await time(take())).toBe(LOOKUP_MS);
  expect(found).toEqual(['192.0.2.1', '2001:db8::1']);
});

it('the first address that will do ends it', async () => {
  const { found, take, time } = setUp('quick', 'dead1', 'dead2');
  expect(await time(take(1))).toBe(10);
  expect(found).toEqual(['192.0.2.1']);
});
