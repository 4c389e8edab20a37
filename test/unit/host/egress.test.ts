import { describe, expect, it } from 'vitest';
import { egressScript } from '../../../src/host/rules/egress.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';

describe('the rules of egress', () => {
  const script = (podRanges: string[], except: string[], tunName = 'warren0') =>
    egressScript({ tunName, podRanges: podRanges.map(parsePrefix) }, except.map(parsePrefix));

  it('are one transaction that touches nothing else in the table', () => {
    expect(script(['10.42.0.0/16', 'fd42::/48'], ['192.168.0.0/16', 'fd00:1::/64'])).toBe(
      [
        'add table inet warren',
        'add chain inet warren egress_warren0 { type nat hook postrouting priority 100; policy accept; }',
        'flush chain inet warren egress_warren0',
        'add rule inet warren egress_warren0 oifname != "warren0" ip saddr 10.42.0.0/16 ip daddr != { 10.42.0.0/16, 192.168.0.0/16 } masquerade fully-random',
        'add rule inet warren egress_warren0 oifname "warren0" ip saddr != 10.42.0.0/16 fib saddr type local masquerade',
        'add rule inet warren egress_warren0 oifname != "warren0" ip6 saddr fd42::/48 ip6 daddr != { fd42::/48, fd00:1::/64 } masquerade fully-random',
        'add rule inet warren egress_warren0 oifname "warren0" ip6 saddr != fd42::/48 fib saddr type local masquerade',
        '',
      ].join('\n'),
    );
  });

  it('name each prefix once, and none within another', () => {
    const text = script(['10.42.0.0/16'], ['10.9.0.0/16', '10.42.7.0/24', '10.9.0.0/16', '10.9.1.0/24']);
    expect(text).toContain('ip daddr != { 10.42.0.0/16, 10.9.0.0/16 } ');
    expect(script(['10.42.0.0/16'], ['10.0.0.0/8'])).toContain('ip daddr != { 10.0.0.0/8 } ');
  });

  it('leave out a family without pods', () => {
    expect(script(['fd42::/48'], ['10.9.0.0/16'])).not.toMatch(/ip saddr|ip daddr/);
  });

  it('use no packet marks', () => {
    expect(script(['10.42.0.0/16', 'fd42::/48'], [])).not.toMatch(/mark/);
  });
});
