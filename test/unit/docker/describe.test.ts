/** How attachments are called by what an engine says. */
import { describe, expect, it } from 'vitest';
import { entryNames } from '../../../src/dns/entry-names.ts';
import { containersByEndpoint, described, networkFacts, newEndpoint } from '../../../src/docker/describe.ts';
import type { EngineContainer } from '../../../src/docker/engine.ts';
import { reachOf } from '../../../src/inventory/workload.ts';

const compose = { 'com.docker.compose.project': 'shop', 'com.docker.compose.network': 'app' };
const ENDPOINT = 'e'.repeat(64);
const before = newEndpoint(ENDPOINT, 'a'.repeat(64), { name: 'app', reach: '' });

function container(more: Partial<EngineContainer> = {}): EngineContainer {
  return {
    Id: 'c'.repeat(64),
    Names: ['/web/link', '/shop_db_1'],
    NetworkSettings: { Networks: { app: { EndpointID: ENDPOINT }, none: null } },
    ...more,
  };
}

describe('the name of a network', () => {
  it.each([
    [{ Name: 'app' }, 'app'],
    [{ Name: 'shop_app', Labels: compose }, 'app'],
    [{ Name: 'ours', Labels: compose }, 'ours'],
    [{ Name: 'shop_app', Labels: compose, Options: { 'warren.network': 'shop' } }, 'shop'],
  ])('of %j is %s', (found, name) => {
    expect(networkFacts(found)).toEqual({ name, reach: '' });
  });

  it('comes with the networks that it may reach', () => {
    expect(networkFacts({ Name: 'app', Options: { 'warren.reach': 'db,cache' } }).reach).toBe('db,cache');
  });
});

describe('an attachment', () => {
  it('is called after its endpoint before the engine says more', () => {
    expect(before).toEqual({
      name: 'e'.repeat(12),
      network: 'app',
      labels: { 'docker.network.id': 'a'.repeat(64) },
    });
    expect(described(before, undefined, undefined)).toEqual(before);
  });

  it('has the name of its container, and what Compose says of it', () => {
    const labels = { 'com.docker.compose.service': 'db', 'com.docker.compose.project': 'shop', other: 'x' };
    const found = containersByEndpoint([container({ Labels: labels })]).get(ENDPOINT);
    const said = described(before, found, { name: 'back', reach: 'app,cache' });
    expect(said.labels).toEqual({
      'com.docker.compose.project': 'shop',
      'com.docker.compose.service': 'db',
      'docker.container.id': 'c'.repeat(64),
      'docker.network.id': 'a'.repeat(64),
      'docker.reach': 'app,cache',
    });
    expect(said).toMatchObject({ name: 'shop_db_1', network: 'back' });
    expect(entryNames(said)).toMatchObject({
      services: ['shop_db_1', 'db', 'c'.repeat(12)],
      ports: [],
      isHealthy: true,
    });
    expect(reachOf(said.labels)).toEqual(['app', 'cache']);
    // Told again it is the same, and what is no longer said is gone.
    expect(described(said, found, { name: 'back', reach: 'app,cache' })).toEqual(said);
    expect(reachOf(described(said, found, { name: 'back', reach: '' }).labels)).toEqual([]);
  });

  it('has its aliases, ports, and what its image or its user says for names', () => {
    const Ports = [
      { PrivatePort: 80, Type: 'tcp', PublicPort: 8080 },
      { PrivatePort: 80, Type: 'tcp' },
      { PrivatePort: 53, Type: 'udp' },
    ];
    const Labels = {
      ...{ 'warren.namespace': 'shop', 'warren.labels': 'app=web' },
      ...{ 'warren.service': 'front', 'com.docker.compose.oneoff': 'False' },
      'warren.aliases': 'two\nlines',
    };
    const aliases = ['db', 'c'.repeat(12), 'db', ...Array.from({ length: 50 }, (_, i) => `alias-${i}`)];
    const { labels } = described(before, container({ Ports, Labels }), undefined, aliases);
    expect(labels).toMatchObject({ 'warren.namespace': 'shop', 'warren.labels': 'app=web' });
    expect(labels).toMatchObject({ 'docker.ports': '53/udp,80/tcp', 'warren.service': 'front' });
    expect(labels['docker.aliases']).toMatch(/^db,alias-0,.*,alias-\d+$/);
    expect(labels['docker.aliases']!.length).toBeLessThan(201);
    for (const key of ['com.docker.compose.oneoff', 'warren.aliases'])
      expect(Object.keys(labels)).not.toContain(key);
    expect(entryNames({ ...before, labels }).services).toContain('db');
  });

  it.each([
    ['Up 3 minutes', true],
    ['Up 3 minutes (healthy)', true],
    ['Up 3 minutes (unhealthy)', false],
    ['Up 1 second (health: starting)', false],
    ['Up 3 minutes (Paused)', true],
  ])('of a container that is %s is healthy: %s', (Status, isHealthy) => {
    expect(entryNames(described(before, container({ Status }), undefined)).isHealthy).toBe(isHealthy);
  });

  it('keeps its name where the engine has none that fits', () => {
    expect(described(before, container({ Names: ['/a/b'] }), undefined).name).toBe(before.name);
    expect(described(before, container({ Names: null }), undefined).name).toBe(before.name);
    expect(described(before, container({ Names: [`/${'n'.repeat(400)}`] }), undefined).name).toHaveLength(
      200,
    );
  });
});
