import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listAddresses, listRoutes } from '../../../src/host/ip.ts';
import { configureTun, inspectTun, removeTun, type TunNetwork } from '../../../src/host/tun-network.ts';
import { parseAddress } from '../../../src/ip/address.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';
import { NO_NETNS, type ThrowawayNetns, throwawayNetns } from '../../helpers/throwaway-netns.ts';

const network: TunNetwork = {
  name: 'warren0',
  mtu: 1400,
  gsoMaxSegments: 44,
  addresses: [parseAddress('10.42.3.1'), parseAddress('fd42:0:0:3::1')],
  podRanges: [parsePrefix('10.42.0.0/16'), parsePrefix('fd42::/48')],
  ownSubnets: [parsePrefix('10.42.3.0/24'), parsePrefix('fd42:0:0:3::/64')],
  extraPrefixes: [parsePrefix('10.43.9.0/24'), parsePrefix('10.42.9.0/24'), parsePrefix('fd43::1/128')],
};

describe.skipIf(NO_NETNS)(`the TUN device's network${NO_NETNS ? ` (skipped: ${NO_NETNS})` : ''}`, () => {
  let ns: ThrowawayNetns;
  let where: { netns: string };
  beforeAll(() => {
    ns = throwawayNetns();
    where = { netns: ns.path };
    ns.run('ip', 'link', 'set', 'dev', 'lo', 'up');
    ns.run('ip', 'tuntap', 'add', 'dev', 'warren0', 'mode', 'tun');
  });
  afterAll(() => ns?.remove());

  const addresses = async () =>
    (await listAddresses({ ...where, name: 'warren0' }))[0]!.addresses.map(
      ({ local, prefixlen }) => `${local}/${prefixlen}`,
    );
  const routes = async () => {
    const all = [
      ...(await listRoutes(4, ['proto', '87'], where)),
      ...(await listRoutes(6, ['proto', '87'], where)),
    ];
    return all
      .map((route) => `${route.type ?? 'to'} ${route.dst} ${route.dev} ${route.prefsrc ?? ''}`.trim())
      .sort();
  };

  it('gets addresses, routes and no router advertisements', async () => {
    await configureTun(network, where);
    expect(await addresses()).toEqual(['10.42.3.1/32', 'fd42:0:0:3::1/128']);
    expect(await routes()).toEqual([
      'to 10.42.0.0/16 warren0 10.42.3.1',
      'to 10.43.9.0/24 warren0 10.42.3.1',
      'to fd42::/48 warren0 fd42:0:0:3::1',
      'to fd43::1 warren0 fd42:0:0:3::1',
      'unreachable 10.42.3.0/24 undefined',
      'unreachable fd42:0:0:3::/64 lo',
    ]);
    expect(ns.run('cat', '/proc/sys/net/ipv6/conf/warren0/accept_ra').trim()).toBe('0');
    expect(ns.run('ip', 'link', 'show', 'dev', 'warren0')).toMatch(/UP.* mtu 1400/);
    expect(() => ns.run('ip', 'route', 'get', '10.42.3.77')).toThrow(/No route to host/);
    expect(ns.run('ip', 'route', 'get', '10.42.4.77')).toMatch(/dev warren0 src 10\.42\.3\.1/);
  });

  it('leads to guests with addresses of the own subnets, and sends nobody a redirect', async () => {
    const setting = '/proc/sys/net/ipv4/conf';
    const redirects = () =>
      ['warren0', 'all', 'lo'].map((name) => ns.run('cat', `${setting}/${name}/send_redirects`).trim());
    expect(redirects()).toEqual(['1', '1', '1']);
    const guests = [parsePrefix('10.42.3.9/32'), parsePrefix('fd42:0:0:3::9/128')];
    const withGuests = { ...network, extraPrefixes: [...network.extraPrefixes, ...guests] };
    await configureTun(withGuests, where);
    expect(await routes()).toEqual(
      expect.arrayContaining(['to 10.42.3.9 warren0 10.42.3.1', 'to fd42:0:0:3::9 warren0 fd42:0:0:3::1']),
    );
    expect(await inspectTun(withGuests, where)).toEqual([]);
    expect(ns.run('ip', 'route', 'get', '10.42.3.9')).toMatch(/dev warren0 src 10\.42\.3\.1/);
    // Other interfaces go on as they were.
    expect(redirects()).toEqual(['0', '0', '1']);
    await configureTun(network, where);
    expect((await routes()).filter((route) => /42\.3\.9|3::9/.test(route))).toEqual([]);
  });

  it('is not disturbed by a second time', async () => {
    // Counts every change to addresses, links and routes that is more than a refresh.
    const before = [await addresses(), await routes()];
    const index = ns.run('ip', '-o', 'link', 'show', 'dev', 'warren0').split(':')[0];
    await configureTun(network, where);
    expect([await addresses(), await routes()]).toEqual(before);
    expect(ns.run('ip', '-o', 'link', 'show', 'dev', 'warren0').split(':')[0]).toBe(index);
  });

  it.each([
    ['another limit of superpackets', 'gso_max_segs', '10'],
    ['another MTU', 'mtu', '1300'],
  ])('notices %s, and puts it right', async (_what, setting, value) => {
    expect(await inspectTun(network, where)).toEqual([]);
    ns.run('ip', 'link', 'set', 'dev', 'warren0', setting, value);
    expect(await inspectTun(network, where)).toEqual(['link']);
    await configureTun(network, where);
    expect(await inspectTun(network, where)).toEqual([]);
  });

  it('puts back what was taken away, and takes away what is no longer wanted', async () => {
    ns.run('ip', 'route', 'delete', '10.42.0.0/16');
    ns.run('ip', 'address', 'add', '10.99.0.1/16', 'dev', 'warren0');
    // Not ours: another agent's mark, outside of the ranges; and a route of the administrator's.
    ns.run('ip', 'route', 'add', 'unreachable', '10.77.0.0/16', 'proto', '87');
    ns.run('ip', 'route', 'add', '10.78.0.0/16', 'dev', 'warren0', 'proto', 'static');
    await configureTun(
      {
        ...network,
        mtu: 1380,
        addresses: [parseAddress('10.42.4.1')],
        ownSubnets: [parsePrefix('10.42.4.0/24')],
        extraPrefixes: [],
      },
      where,
    );
    expect(await addresses()).toEqual(['10.42.4.1/32']);
    expect(await routes()).toEqual([
      'to 10.42.0.0/16 warren0 10.42.4.1',
      'to fd42::/48 warren0',
      'unreachable 10.42.4.0/24 undefined',
      'unreachable 10.77.0.0/16 undefined',
    ]);
    expect(ns.run('ip', 'route', 'show', '10.78.0.0/16')).toContain('warren0');
    expect(ns.run('ip', 'link', 'show', 'dev', 'warren0')).toMatch(/ mtu 1380/);
  });

  it('keeps the ranges in the tunnel, and nothing for itself, where the node has no subnet any more', async () => {
    await configureTun(network, where);
    const without = { ...network, addresses: [], ownSubnets: [], extraPrefixes: [] };
    await configureTun(without, where);
    expect(await addresses()).toEqual([]);
    expect(await routes()).toEqual([
      'to 10.42.0.0/16 warren0',
      'to fd42::/48 warren0',
      'unreachable 10.77.0.0/16 undefined',
    ]);
    expect(await inspectTun(without, where)).toEqual([]);
    expect(ns.run('ip', 'route', 'get', '10.42.3.77')).toContain('dev warren0');
  });

  it('has no route into the tunnel where one subnet is the whole range', async () => {
    const whole = parsePrefix('10.42.0.0/16');
    await configureTun(
      {
        ...network,
        addresses: [parseAddress('10.42.0.1')],
        podRanges: [whole],
        ownSubnets: [whole],
        extraPrefixes: [],
      },
      where,
    );
    expect(await routes()).toEqual([
      'unreachable 10.42.0.0/16 undefined',
      'unreachable 10.77.0.0/16 undefined',
    ]);
  });

  it('tells the default routes of both families apart, and leaves those of other tables alone', async () => {
    const all = { ...network, extraPrefixes: [parsePrefix('0.0.0.0/0'), parsePrefix('::/0')] };
    await configureTun(all, where);
    ns.run('ip', 'route', 'add', '10.50.0.0/16', 'dev', 'warren0', 'table', '99', 'proto', '87');
    expect(await inspectTun(all, where)).toEqual([]);
    ns.run('ip', '-6', 'route', 'delete', 'default', 'dev', 'warren0');
    expect(await inspectTun(all, where)).toEqual(['route']);
    await configureTun(network, where);
    expect((await routes()).filter((route) => route.includes('default'))).toEqual([]);
    expect(ns.run('ip', 'route', 'show', 'table', '99')).toContain('10.50.0.0/16');
  });

  it('is removed with all of its routes, twice without complaint', async () => {
    await configureTun(network, where);
    await removeTun('warren0', network.podRanges, where);
    await removeTun('warren0', network.podRanges, where);
    expect(() => ns.run('ip', 'link', 'show', 'dev', 'warren0')).toThrow(/does not exist/);
    expect(await routes()).toEqual(['unreachable 10.77.0.0/16 undefined']);
  });
});
