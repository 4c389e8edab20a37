/** The host's resolvers, as resolv.conf(5) names them. */
import { isIP } from 'node:net';

/** glibc and musl use no more. */
const MAX_RESOLVERS = 3;
/** Of the file; what is longer is cut. */
const MAX_BYTES = 64 * 1024;

/**
 * Addresses in order, as text, an IPv6 one perhaps with an interface (`fe80::1%eth0`). `isOwn`: those are left out, for
 * whoever asks itself never gets an answer.
 */
export function resolversOf(text: string, isOwn: (address: string) => boolean): string[] {
  const found: string[] = [];
  for (const line of text.slice(0, MAX_BYTES).split('\n')) {
    const [, address = ''] = /^\s*nameserver\s+([^\s#;]+)/.exec(line) ?? [];
    const isAddress = isIP(address) !== 0 && !found.includes(address);
    if (isAddress && !isOwn(address)) found.push(address);
  }
  return found.slice(0, MAX_RESOLVERS);
}
