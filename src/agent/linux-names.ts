/** Sockets and files of names on Linux. */
import { realClock } from '../clock.ts';
import { HostResolvers } from '../dns/host-resolvers.ts';
import { listenOnSockets } from '../dns/listener.ts';
import { exchangeOverSockets } from '../dns/upstream-sockets.ts';
import { NetnsResolvFiles } from '../host/netns-resolv.ts';
import type { NameParts } from './names.ts';

export function linuxNameParts(): NameParts {
  const files = new HostResolvers();
  return {
    listen: listenOnSockets,
    exchange: exchangeOverSockets(),
    files: (nodeId) => new NetnsResolvFiles(nodeId),
    resolvers: (isOwn) => files.list(realClock.now(), isOwn),
  };
}
