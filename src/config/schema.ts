/** The sections of the configuration file, one schema each; `checks.ts` holds what spans several keys. */
import { IPV6_MIN_MTU } from '../wire/ipv6.ts';
import { z } from '../zod.ts';
import {
  absolutePath,
  address,
  addressOrAuto,
  allOffloads,
  autoOrNumber,
  clusterName,
  DEFAULT_GOSSIP_PORT,
  dscp,
  duration,
  endpoint,
  groupName,
  interfaceName,
  kubernetesNodeName,
  listenAddress,
  nodeId,
  nodeName,
  offload,
  podName,
  port,
  prefix,
  seed,
  socketPath,
  wholeNumber,
  wireguardKey,
} from './fields.ts';

const MAX_WORKERS = 64;

export const sections = {
  node: z.strictObject({
    name: nodeName.optional(),
    stateDir: absolutePath.default('/var/lib/warren'),
    socket: socketPath.default('/run/warren/agent.sock'),
  }),
  cluster: z.strictObject({
    name: clusterName.default('warren'),
    podCidrs: z.array(prefix),
    nodePrefixLengths: z.array(wholeNumber(1, 126)).optional(),
    seeds: z.array(seed).default([]),
    keyFile: absolutePath.optional(),
    admission: z.enum(['open', 'allowlist']).default('open'),
    approvers: z.array(nodeId).max(8, 'must name 8 nodes at most').default([]),
    timing: z.enum(['lan', 'wan', 'local']).default('lan'),
    leaseTtl: duration(1, 365 * 24 * 3600).default(24 * 3600),
  }),
  underlay: z.strictObject({
    address: addressOrAuto.default('auto'),
    gossipPort: port.default(DEFAULT_GOSSIP_PORT),
    allowFrom: z
      .array(prefix)
      .min(1, 'must name a range at least (leave the key out to allow all)')
      .max(64, 'must name 64 ranges at most')
      .optional(),
  }),
  encapsulation: z.strictObject({
    type: z.enum(['wireguard', 'vxlan-gpe']).optional(),
    accept: z.enum(['vxlan-gpe']).optional(),
    postQuantum: z.enum(['on', 'off', 'require']).optional(),
    port: port.optional(),
    vni: wholeNumber(0, 2 ** 24 - 1).default(42),
    dscp: dscp.optional(),
  }),
  egress: z.strictObject({
    masquerade: z.boolean().default(false),
    except: z.array(prefix).default([]),
  }),
  kubernetes: z.strictObject({
    enabled: z.boolean().default(false),
    ipam: z.enum(['warren', 'kubernetes']).default('warren'),
    networkPolicies: z.boolean().default(true),
    nodeName: kubernetesNodeName.optional(),
    kubeconfig: absolutePath.optional(),
  }),
  dns: z.strictObject({
    enabled: z.boolean().default(true),
    resolvers: z
      .array(address)
      .min(1, 'must name an address at least (leave the key out for those of this host)')
      .max(3, 'must name 3 addresses at most')
      .optional(),
  }),
  tun: z.strictObject({
    name: interfaceName.default('warren0'),
    mtu: autoOrNumber(IPV6_MIN_MTU, 65_535).default('auto'),
  }),
  datapath: z.strictObject({
    workers: autoOrNumber(1, MAX_WORKERS).default('auto'),
    offload: offload.default(allOffloads(true)),
  }),
  staticPeers: z.array(
    z.strictObject({
      name: nodeName,
      endpoint: endpoint.optional(),
      subnets: z.array(prefix),
      publicKey: wireguardKey.optional(),
      presharedKey: wireguardKey.optional(),
      persistentKeepalive: wholeNumber(1, 65_535).optional(),
    }),
  ),
  staticPods: z.array(podName),
  api: z.strictObject({
    socketGroup: groupName.optional(),
    readOnlySocket: socketPath.optional(),
    readOnlyGroup: groupName.optional(),
    remoteCapture: z.boolean().default(false),
    listen: listenAddress.default('auto'),
    tls: z.strictObject({ certFile: absolutePath, keyFile: absolutePath }).optional(),
    tokenFile: absolutePath.optional(),
  }),
  log: z.strictObject({
    level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
    format: z.enum(['text', 'json']).default('text'),
  }),
} as const;

export type SectionName = keyof typeof sections;
/** What a file says, section by section; a section that is wrong in itself is absent. */
export type Parsed = { -readonly [K in SectionName]?: z.output<(typeof sections)[K]> };

export const sectionNames = Object.keys(sections) as SectionName[];

/** The value of a section that the file does not mention. */
export function emptySection(name: SectionName): unknown {
  return sections[name] instanceof z.ZodArray ? [] : {};
}

/** The keys that the mapping at `path` may have. */
export function knownKeys(path: readonly (string | number)[]): string[] {
  let schema: unknown = path.length === 0 ? undefined : sections[path[0] as SectionName];
  if (path.length === 0) return sectionNames;
  if (schema instanceof z.ZodArray) schema = schema.element;
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}
