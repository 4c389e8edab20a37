/** Sockets and files of names on Linux. */
import { realClock } from '../clock.ts';
import { HostResolvers } from '../dns/host-resolvers.ts';
import { listenOnSockets } from '../dns/listener.ts';
import { exchangeOverSockets } from '../dns/upstream-sockets.ts';
import type { NameParts } from './names.ts';

export function linuxNameParts(): NameParts {
  const files = new HostResolvers();
  return {
    listen: listenOnSockets,
    exchange: exchangeOverSockets(),
    resolvers: (isOwn) => files.list(realClock.now(), isOwn),
  };
}
