/** A `Config` as the file that would give it: `warren config check` prints it, and it loads back the same. */
import { stringify } from 'yaml';
import { formatAddress } from '../ip/address.ts';
import { formatEndpoint, formatHostPort } from '../ip/endpoint.ts';
import { formatPrefix } from '../ip/prefix.ts';
import type { Config } from './config.ts';
import { formatDuration } from './fields.ts';

/** The effective configuration under the file's keys, as plain values. Absent options have no key. */
export function plainConfig(config: Config): Record<string, unknown> {
  const { cluster, underlay, api } = config;
  return {
    node: { ...config.node },
    cluster: {
      name: cluster.name,
      podCidrs: cluster.podCidrs.map(({ range }) => formatPrefix(range)),
      nodePrefixLengths: cluster.podCidrs.map(({ nodePrefixLength }) => nodePrefixLength),
      seeds: cluster.seeds.map(formatHostPort),
      ...(cluster.keyFile === undefined ? {} : { keyFile: cluster.keyFile }),
      admission: cluster.admission,
      approvers: [...cluster.approvers],
      timing: cluster.timing,
      leaseTtl: formatDuration(cluster.leaseTtlSeconds),
    },
    underlay: {
      address: underlay.address === 'auto' ? 'auto' : formatAddress(underlay.address),
      gossipPort: underlay.gossipPort,
      ...(underlay.allowFrom && { allowFrom: underlay.allowFrom.map(formatPrefix) }),
    },
    encapsulation: { ...config.encapsulation },
    egress: { masquerade: config.egress.masquerade, except: config.egress.except.map(formatPrefix) },
    kubernetes: {
      enabled: config.kubernetes.enabled,
      ipam: config.kubernetes.ipam,
      networkPolicies: config.kubernetes.networkPolicies,
      ...(config.kubernetes.nodeName !== undefined && { nodeName: config.kubernetes.nodeName }),
      ...(config.kubernetes.kubeconfig !== undefined && { kubeconfig: config.kubernetes.kubeconfig }),
    },
    dns: {
      enabled: config.dns.enabled,
      ...(config.dns.resolvers && { resolvers: config.dns.resolvers.map(formatAddress) }),
    },
    tun: { ...config.tun },
    datapath: { workers: config.datapath.workers, offload: { ...config.datapath.offload } },
    staticPeers: config.staticPeers.map((peer) => ({
      name: peer.name,
      ...(peer.endpoint && { endpoint: formatEndpoint(peer.endpoint) }),
      subnets: peer.subnets.map(formatPrefix),
      ...(peer.publicKey && { publicKey: Buffer.from(peer.publicKey).toString('base64') }),
      ...(peer.presharedKey && { presharedKey: Buffer.from(peer.presharedKey).toString('base64') }),
      ...(peer.persistentKeepaliveSeconds && { persistentKeepalive: peer.persistentKeepaliveSeconds }),
    })),
    staticPods: [...config.staticPods],
    api: {
      ...(api.socketGroup !== undefined && { socketGroup: api.socketGroup }),
      ...(api.readOnlySocket !== undefined && { readOnlySocket: api.readOnlySocket }),
      ...(api.readOnlyGroup !== undefined && { readOnlyGroup: api.readOnlyGroup }),
      remoteCapture: api.remoteCapture,
      listen: listenText(api.listen),
      ...(api.tls !== undefined && { tls: { ...api.tls } }),
      ...(api.tokenFile !== undefined && { tokenFile: api.tokenFile }),
    },
    log: { ...config.log },
  };
}

function listenText(listen: Config['api']['listen']): string {
  if (listen === undefined) return 'off';
  return listen === 'auto' ? listen : formatHostPort(listen);
}

export function renderConfig(config: Config): string {
  return stringify(plainConfig(config), { lineWidth: 0 });
}
