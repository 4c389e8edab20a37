/** The addresses of seeds, in the seeds' order: all are looked up at once, and what takes too long is left out. */
import { lookup as dnsLookup } from 'node:dns/promises';
import { type Clock, realClock } from '../clock.ts';
import { type IpAddress, parseAddress } from '../ip/address.ts';

/** Rejects where the name does not resolve. */
export type Lookup = (host: string) => Promise<readonly IpAddress[]>;

/** For all names together: a name server that is dead is not waited for, one on another continent is. */
export const LOOKUP_MS = 2000;

export const hostLookup: Lookup = async (host) =>
  (await dnsLookup(host, { all: true, verbatim: true })).map(({ address }) => parseAddress(address));

/** Ends early where the caller stops asking. A seed that does not resolve now is tried again when joining. */
export async function* seedAddresses(
  hosts: readonly string[],
  lookup: Lookup = hostLookup,
  clock: Clock = realClock,
): AsyncGenerator<IpAddress> {
  const answers = new Map([...new Set(hosts)].map((host) => [host, lookup(host).catch(() => [])]));
  let tooLate = () => {};
  const late = new Promise<readonly IpAddress[]>((resolve) => {
    tooLate = () => resolve([]);
  });
  const timer = clock.after(LOOKUP_MS, tooLate);
  try {
    // An answer that is there counts, however late it is asked for.
    for (const answer of answers.values()) yield* await Promise.race([answer, late]);
  } finally {
    timer.cancel();
  }
}
