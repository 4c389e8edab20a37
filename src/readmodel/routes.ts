/** Which prefix goes to whom: what packets go by, not what is yet to come there. */
import type { Endpoint } from '../ip/endpoint.ts';
import { formatEndpoint } from '../ip/endpoint.ts';
import { formatPrefix, type Prefix } from '../ip/prefix.ts';
import type { ReadModelSources } from './ports.ts';
import type { RouteReport } from './reports.ts';

/** IPv4 first, then by address. This node's own subnets win over everybody's. */
export function routeReports({
  forwarded,
  dataPlane,
  own,
}: Pick<ReadModelSources, 'forwarded' | 'dataPlane' | 'own'>): RouteReport[] {
  const ownSubnets = own.subnets();
  const ownTexts = new Set(ownSubnets.map(formatPrefix));
  const routes: { prefix: Prefix; text: string; via: string; endpoint: Endpoint | undefined }[] =
    ownSubnets.map((prefix) => ({
      prefix,
      text: formatPrefix(prefix),
      via: 'local',
      endpoint: dataPlane.vtep,
    }));
  for (const { key, name, endpoint: said, subnets } of forwarded()) {
    const endpoint = dataPlane.movedTo?.(key) ?? said;
    for (const prefix of subnets) {
      const text = formatPrefix(prefix);
      if (!ownTexts.has(text)) routes.push({ prefix, text, via: name, endpoint });
    }
  }
  return routes
    .sort((a, b) => a.prefix.family - b.prefix.family || compareValues(a.prefix.value, b.prefix.value))
    .map(({ text, via, endpoint }) => ({
      prefix: text,
      via,
      endpoint: endpoint === undefined ? '' : formatEndpoint(endpoint),
    }));
}

function compareValues(a: bigint, b: bigint): number {
  return a === b ? 0 : a > b ? 1 : -1;
}
