/**
 * What names of a cluster mean (Kubernetes' "DNS-Based Service Discovery", as much of it as its own tests ask for):
 *
 *     SERVICE.NAMESPACE.svc.cluster.local          its address; of a headless one those of its pods; or another name
 *     HOST.SERVICE.NAMESPACE.svc.cluster.local     of one pod of a headless service
 *     _PORT._tcp.SERVICE.NAMESPACE.svc…            SRV
 *     10-244-1-2.NAMESPACE.pod.cluster.local       a pod's address, which the name says
 */
import type { Answer } from 'dns-packet';

const DOMAIN = 'cluster.local';
const TTL_SECONDS = 1;

export interface Service {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: {
    readonly type?: string;
    readonly clusterIP?: string;
    readonly externalName?: string;
    readonly ports?: readonly { readonly name?: string; readonly protocol?: string; readonly port: number }[];
  };
}
export interface Endpoints {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly subsets?: readonly {
    readonly addresses?: readonly { readonly ip: string; readonly hostname?: string }[];
  }[];
}

/** The records of a name; undefined: there is no such name, which is something else than none of that type. */
export function resolveName(
  name: string,
  type: string,
  services: readonly Service[],
  endpoints: readonly Endpoints[],
): Answer[] | undefined {
  const lower = name.toLowerCase();
  if (!lower.endsWith(`.${DOMAIN}`)) return undefined;
  const labels = lower.slice(0, -DOMAIN.length - 1).split('.');
  const kind = labels.pop();
  const namespace = labels.pop();
  if (kind === 'pod' && labels.length === 1)
    return addressRecords(name, type, [labels[0]!.replaceAll('-', '.')]);
  const serviceName = labels.pop();
  if (kind !== 'svc' || serviceName === undefined) return undefined;
  const isOurs = ({ metadata }: Service | Endpoints) =>
    metadata.name === serviceName && metadata.namespace === namespace;
  const service = services.find(isOurs);
  if (service === undefined) return undefined;
  const { spec } = service;
  if (spec.type === 'ExternalName') {
    return [{ type: 'CNAME', name, ttl: TTL_SECONDS, data: spec.externalName ?? '.' }];
  }
  const pods = (endpoints.find(isOurs)?.subsets ?? []).flatMap(({ addresses }) => addresses ?? []);
  if (labels.length === 0) {
    const ips = spec.clusterIP === 'None' ? pods.map(({ ip }) => ip) : [spec.clusterIP ?? ''];
    return addressRecords(name, type, ips);
  }
  if (labels.length === 1) {
    const ips = pods.filter(({ hostname }) => hostname === labels[0]).map(({ ip }) => ip);
    return ips.length === 0 ? undefined : addressRecords(name, type, ips);
  }
  const [port, protocol] = labels;
  const found = spec.ports?.find(
    (one) => `_${one.name}` === port && `_${one.protocol?.toLowerCase()}` === protocol,
  );
  if (found === undefined || labels.length > 2) return undefined;
  const target = `${serviceName}.${namespace}.svc.${DOMAIN}`;
  return [
    { type: 'SRV', name, ttl: TTL_SECONDS, data: { port: found.port, target, priority: 0, weight: 100 } },
  ];
}

function addressRecords(name: string, type: string, addresses: readonly string[]): Answer[] {
  const wanted = addresses.filter((address) => address.includes(':') === (type === 'AAAA'));
  if (type !== 'A' && type !== 'AAAA') return [];
  return wanted.map((data) => ({ type, name, ttl: TTL_SECONDS, data }));
}
