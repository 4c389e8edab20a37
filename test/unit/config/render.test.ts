import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { loadConfig, parseConfig } from '../../../src/config/load.ts';
import { renderConfig } from '../../../src/config/render.ts';

const examples = new URL('../../../config/', import.meta.url).pathname;

describe('the effective configuration', () => {
  it('loads back as the same configuration', () => {
    const config = parseConfig(
      `
cluster: {podCidrs: ["fd42::/48", 10.42.0.0/16], seeds: ["[2001:db8::1]:7000", node-b]}
underlay: {address: "2001:db8::2"}
staticPeers: [{name: p, endpoint: "[2001:db8::9]:4790", subnets: [10.43.0.0/24]}]
staticPods: [web]
egress: {masquerade: true, except: [192.168.0.0/16, "fd00:1::/64"]}
api: {listen: 9095, socketGroup: "4242", readOnlySocket: /run/r.sock, readOnlyGroup: warren-read}
`,
      'c.yaml',
      'host-a',
    );
    expect(parseConfig(renderConfig(config), 'again.yaml')).toEqual(config);
  });

  it('of every example file is valid', () => {
    const files = readdirSync(examples).filter((name) => name.endsWith('.yaml'));
    expect(files.length).toBeGreaterThan(0);
    for (const file of files) {
      const config = loadConfig(examples + file);
      expect(parseConfig(renderConfig(config), file)).toEqual(config);
    }
  });
});
