/** The configuration file of a lab's node: what the lab decides, and what the caller puts over it. */
import { DEFAULT_GOSSIP_PORT } from '../config/fields.ts';
import type { LabNode, RawConfig } from './node.ts';

/** The most seeds a node is given: enough that one of them is up. */
const MAX_SEEDS = 3;

export interface NodeConfigOptions {
  readonly nodes: readonly LabNode[];
  readonly family: 'ipv4' | 'ipv6';
  readonly ipv6Only: boolean;
  readonly pods: readonly string[];
  readonly keyFile: string | undefined;
  readonly encapsulation: 'wireguard' | 'vxlan-gpe';
}

/** What `node`'s file says unless overridden. */
export function defaultNodeConfig(node: LabNode, options: NodeConfigOptions): RawConfig {
  const seeds = options.nodes
    .filter((other) => other !== node)
    .slice(0, MAX_SEEDS)
    .map(({ underlayAddress }) =>
      options.family === 'ipv6'
        ? `[${underlayAddress}]:${DEFAULT_GOSSIP_PORT}`
        : `${underlayAddress}:${DEFAULT_GOSSIP_PORT}`,
    );
  return {
    node: { name: node.name, stateDir: `${node.folder}/state`, socket: node.socket },
    cluster: {
      podCidrs: options.ipv6Only ? ['fd42::/48'] : ['10.42.0.0/16', 'fd42::/48'],
      nodePrefixLengths: options.ipv6Only ? [64] : [24, 64],
      seeds,
      ...(options.keyFile === undefined ? {} : { keyFile: options.keyFile }),
    },
    underlay: { address: node.underlayAddress, gossipPort: DEFAULT_GOSSIP_PORT },
    encapsulation: { type: options.encapsulation },
    staticPods: [...options.pods],
  };
}

/** `base` with `over` put over it: objects key by key, anything else replaced; `undefined` removes a key. */
export function mergeConfig(base: RawConfig, over: RawConfig): RawConfig {
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const old = merged[key];
    if (value === undefined) delete merged[key];
    else merged[key] = isObject(old) && isObject(value) ? mergeConfig(old, value) : value;
  }
  return merged;
}

function isObject(value: unknown): value is RawConfig {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
