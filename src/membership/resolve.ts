/** Host names to addresses. Seeds are resolved anew each time they are tried: names move. */
import { lookup } from 'node:dns';
import { type IpAddress, parseAddress } from '../ip/address.ts';

export type Resolve = (host: string, done: (result: readonly IpAddress[] | Error) => void) => void;

/** Through the host's own resolver (/etc/hosts included). */
export const resolveHost: Resolve = (host, done) => {
  lookup(host, { all: true }, (error, found) => {
    done(error ?? found.map(({ address }) => parseAddress(address)));
  });
};

/** The address that `host` spells out, or undefined if it is a name. */
export function literalAddress(host: string): IpAddress | undefined {
  try {
    return parseAddress(host);
  } catch {
    return undefined;
  }
}
