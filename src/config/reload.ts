/** What is different in a configuration that was read again, and what of it needs a restart of the agent. */
import type { Config } from './config.ts';
import { plainConfig } from './render.ts';

export interface ConfigChange {
  /** Keys whose new value counts from now on, such as `staticPeers`. */
  readonly changed: readonly string[];
  /** Keys whose new value counts after a restart, such as `tun.name`. */
  readonly needsRestart: readonly string[];
}

/** What an agent takes over while it runs: these keys, and what lies below them. */
const AT_ONCE: readonly string[] = [
  'cluster.admission',
  'cluster.approvers',
  'log.level',
  'dns',
  'egress',
  'staticPeers',
  'staticPods',
  'datapath.offload',
  'api.remoteCapture',
];

export function configChange(before: Config, after: Config): ConfigChange {
  const [old, next] = [flat(plainConfig(before)), flat(plainConfig(after))];
  const keys = [...new Set([...old.keys(), ...next.keys()])].filter((key) => old.get(key) !== next.get(key));
  return {
    changed: keys.filter(countsAtOnce),
    needsRestart: keys.filter((key) => !countsAtOnce(key)),
  };
}

function countsAtOnce(key: string): boolean {
  return AT_ONCE.some((one) => key === one || key.startsWith(`${one}.`));
}

/** `section.key` with its value as text; lists are one value. */
function flat(config: object): Map<string, string> {
  const all = new Map<string, string>();
  for (const [key, content] of Object.entries(config)) {
    if (typeof content !== 'object' || Array.isArray(content)) all.set(key, JSON.stringify(content));
    else for (const [below, value] of flat(content)) all.set(`${key}.${below}`, value);
  }
  return all;
}
