import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { parseConfig } from '../../../src/config/load.ts';
import { formatAddress } from '../../../src/ip/address.ts';
import { LabNode } from '../../../src/lab/node.ts';
import { defaultNodeConfig, mergeConfig } from '../../../src/lab/node-config.ts';

function nodes(count: number, family: 'ipv4' | 'ipv6'): LabNode[] {
  return Array.from(
    { length: count },
    (_, index) =>
      new LabNode({
        lab: 'x7',
        name: `x7-${index}`,
        namespace: `warrenlab-x7-${index}`,
        number: index + 1,
        folder: `/run/warren/lab-x7/x7-${index}`,
        family,
        agent: undefined,
        onAgentChange: () => {},
      }),
  );
}

describe.each(['ipv4', 'ipv6'] as const)('a node of a lab on %s', (family) => {
  const all = nodes(5, family);
  const options = {
    ...{ nodes: all, family, ipv6Only: false, pods: ['web'], keyFile: '/run/cluster.key' },
    encapsulation: 'wireguard' as const,
  };

  test('its configuration is valid, and seeds are other nodes', () => {
    const text = stringify(defaultNodeConfig(all[1]!, options));
    const config = parseConfig(text, 'config.yaml');
    expect(config.node.name).toBe('x7-1');
    expect(config.cluster.keyFile).toBe('/run/cluster.key');
    expect(config.staticPods).toEqual(['web']);
    const own = config.underlay.address;
    expect(own === 'auto' ? own : formatAddress(own)).toBe(all[1]!.underlayAddress);
    const seeds = config.cluster.seeds.map((seed) => JSON.stringify(seed));
    expect(seeds).toHaveLength(3);
    expect(seeds.join()).not.toContain(`${all[1]!.underlayAddress}"`);
  });

  test('without IPv4 its pods have IPv6 addresses alone', () => {
    const config = parseConfig(
      stringify(defaultNodeConfig(all[0]!, { ...options, ipv6Only: true })),
      'c.yaml',
    );
    expect(config.cluster.podCidrs.map(({ range }) => range.family)).toEqual([6]);
  });

  test('a lone node has no seeds', () => {
    const lone = all.slice(0, 1);
    const config = defaultNodeConfig(lone[0]!, { ...options, nodes: lone });
    expect(config).toMatchObject({ cluster: { seeds: [] } });
  });
});

describe('mergeConfig', () => {
  test('goes into objects, replaces anything else, and removes what is undefined', () => {
    const base = { a: { x: 1, y: [1, 2] }, b: 'old', c: { z: 1 } };
    const over = { a: { y: [3] }, b: { now: 'object' }, c: undefined, d: 4 };
    expect(mergeConfig(base, over)).toEqual({ a: { x: 1, y: [3] }, b: { now: 'object' }, d: 4 });
    expect(base).toEqual({ a: { x: 1, y: [1, 2] }, b: 'old', c: { z: 1 } });
  });
});
