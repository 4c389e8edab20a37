import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseConfig } from '../../../src/config/load.ts';
import { resolveUnderlay } from '../../../src/host/underlay-route.ts';
import { formatAddress } from '../../../src/ip/address.ts';
import { NO_NETNS, type ThrowawayNetns, throwawayNetns } from '../../helpers/throwaway-netns.ts';

describe.skipIf(NO_NETNS)(`the underlay address${NO_NETNS ? ` (skipped: ${NO_NETNS})` : ''}`, () => {
  let ns: ThrowawayNetns;
  beforeAll(() => {
    ns = throwawayNetns();
    ns.run('ip', 'link', 'set', 'dev', 'lo', 'up');
    for (const [name, mtu] of [
      ['under0', '1500'],
      ['under1', '9000'],
    ] as const) {
      ns.run('ip', 'link', 'add', 'name', name, 'mtu', mtu, 'type', 'veth', 'peer', 'name', `${name}p`);
      ns.run('ip', 'link', 'set', 'dev', `${name}p`, 'up');
      ns.run('ip', 'link', 'set', 'dev', name, 'up');
    }
    ns.run('ip', 'address', 'add', '198.51.100.1/24', 'dev', 'under0');
    ns.run('ip', 'address', 'add', '203.0.113.1/24', 'dev', 'under1');
    ns.run('ip', 'address', 'add', '2001:db8:1::1/64', 'dev', 'under1', 'nodad');
  });
  afterAll(() => ns?.remove());

  const resolve = async (rest: string, seeds = '[]') => {
    const config = parseConfig(
      `cluster: {podCidrs: [10.42.0.0/16], seeds: ${seeds}}\n${rest}`,
      'c.yaml',
      'a',
    );
    const { address, interfaceName, mtu } = await resolveUnderlay(config, { netns: ns.path });
    return `${formatAddress(address)} ${interfaceName} ${mtu}`;
  };

  it('is the one given, if this host has it', async () => {
    expect(await resolve('underlay: {address: 203.0.113.1}')).toBe('203.0.113.1 under1 9000');
    await expect(resolve('underlay: {address: 203.0.113.2}')).rejects.toMatchObject({
      code: 'UNDERLAY_ADDRESS_MISSING',
      hint: expect.stringContaining('198.51.100.1, 203.0.113.1, 2001:db8:1::1'),
    });
  });

  it('is the source address towards the first seed that is not this host', async () => {
    expect(await resolve('', '["203.0.113.9"]')).toBe('203.0.113.1 under1 9000');
    expect(await resolve('', '["203.0.113.1", "198.51.100.9"]')).toBe('198.51.100.1 under0 1500');
    expect(await resolve('', '["[2001:db8:1::9]:7946"]')).toBe('2001:db8:1::1 under1 9000');
    // No route, and a name that does not resolve: the next one counts.
    expect(await resolve('', '[192.0.2.77, no-such-host.invalid, 198.51.100.9]')).toBe(
      '198.51.100.1 under0 1500',
    );
  });

  it('says what to do where nothing tells', async () => {
    await expect(resolve('')).rejects.toMatchObject({
      code: 'UNDERLAY_ADDRESS_UNKNOWN',
      hint: 'Set underlay.address to one of: 198.51.100.1, 203.0.113.1, 2001:db8:1::1.',
    });
  });

  it('is the source address of the default route where there are no other seeds', async () => {
    ns.run('ip', 'route', 'add', 'default', 'via', '203.0.113.254');
    expect(await resolve('')).toBe('203.0.113.1 under1 9000');
    ns.run('ip', '-6', 'route', 'add', 'default', 'via', 'fe80::99', 'dev', 'under1');
    const peer = 'staticPeers: [{name: p, endpoint: "[2001:db8:1::9]", subnets: [10.43.0.0/24]}]';
    expect(await resolve(peer)).toBe('2001:db8:1::1 under1 9000');
  });
});
