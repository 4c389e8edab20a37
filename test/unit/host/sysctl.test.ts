import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enableForwarding } from '../../../src/host/forwarding.ts';
import { dotted, readSysctl, setSysctls } from '../../../src/host/sysctl.ts';
import { NO_NETNS, type ThrowawayNetns, throwawayNetns } from '../../helpers/throwaway-netns.ts';

it('writes a name the way sysctl takes it', () => {
  expect(dotted('net/ipv4/conf/eth0.100/rp_filter')).toBe('net.ipv4.conf.eth0/100.rp_filter');
});

it('knows a setting that does not exist', async () => {
  expect(await readSysctl('net/ipv4/no_such_setting')).toBeUndefined();
  await expect(setSysctls(['net/ipv4/no_such_setting'], '1')).rejects.toMatchObject({
    code: 'SYSCTL_UNKNOWN',
    message: expect.stringContaining('net.ipv4.no_such_setting'),
  });
});

it('does not write what is right already', async () => {
  const current = await readSysctl('net/ipv4/ip_forward');
  expect(await setSysctls(['net/ipv4/ip_forward'], current!)).toEqual([]);
});

describe.skipIf(NO_NETNS)(`in a network namespace${NO_NETNS ? ` (skipped: ${NO_NETNS})` : ''}`, () => {
  let ns: ThrowawayNetns;
  let where: { netns: string };
  beforeAll(() => {
    ns = throwawayNetns();
    where = { netns: ns.path };
    ns.run('ip', 'link', 'add', 'name', 'under.1', 'type', 'bridge');
  });
  afterAll(() => ns?.remove());

  it('sets several at once, in that namespace only', async () => {
    const names = ['net/ipv6/conf/under.1/accept_ra', 'net/ipv6/conf/under.1/accept_dad'] as const;
    await setSysctls(names, '0', where);
    for (const name of names) expect(await readSysctl(name, where)).toBe('0');
    expect(await readSysctl(names[0])).toBeUndefined();
    await expect(setSysctls(['net/ipv6/conf/gone/accept_ra'], '0', where)).rejects.toMatchObject({
      code: 'SYSCTL_UNKNOWN',
    });
  });

  it('turns forwarding on, and router advertisements on the underlay stay accepted', async () => {
    await setSysctls(['net/ipv6/conf/under.1/accept_ra'], '1', where);
    const first = await enableForwarding(new Set([4, 6]), 'under.1', where);
    expect(first).toContain('net/ipv6/conf/all/forwarding');
    expect(await readSysctl('net/ipv4/ip_forward', where)).toBe('1');
    expect(await readSysctl('net/ipv6/conf/all/forwarding', where)).toBe('1');
    expect(await readSysctl('net/ipv6/conf/under.1/accept_ra', where)).toBe('2');
    expect(await enableForwarding(new Set([4, 6]), 'under.1', where)).toEqual([]);
  });
});
