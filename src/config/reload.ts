/** What is different in a configuration that was read again, and what of it needs a restart of the agent. */
import type { Config } from './config.ts';
import { plainConfig } from './render.ts';

export interface ConfigChange {
  /** Keys whose new value counts from now on, such as `staticPeers`. */
  readonly changed: readonly string[];
  /** Keys whose new value counts after a restart, such as `tun.name`. */
  readonly needsRestart: readonly string[];
}

/** What an agent takes over while it runs. */
const AT_ONCE: ReadonlySet<string> = new Set([
  'egress.masquerade',
  'egress.except',
  'log.level',
  'staticPeers',
  'staticPods',
]);

export function configChange(before: Config, after: Config): ConfigChange {
  const [old, next] = [flat(plainConfig(before)), flat(plainConfig(after))];
  const keys = [...new Set([...old.keys(), ...next.keys()])].filter((key) => old.get(key) !== next.get(key));
  return {
    changed: keys.filter((key) => AT_ONCE.has(key)),
    needsRestart: keys.filter((key) => !AT_ONCE.has(key)),
  };
}

/** `section.key` with its value as text; lists are one value. */
function flat(config: object): Map<string, string> {
  const all = new Map<string, string>();
  for (const [section, content] of Object.entries(config)) {
    if (Array.isArray(content)) all.set(section, JSON.stringify(content));
    else
      for (const [key, value] of Object.entries(content)) all.set(`${section}.${key}`, JSON.stringify(value));
  }
  return all;
}
