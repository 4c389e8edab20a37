import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { describe, expect, it } from 'vitest';
import { formatAddress, parseAddress } from '../../../src/ip/address.ts';

describe('parsing an address', () => {
  it.each([
    ['0.0.0.0', 4, 0n],
    ['192.0.2.1', 4, 0xc0000201n],
    ['255.255.255.255', 4, 0xffff_ffffn],
    ['::', 6, 0n],
    ['2001:DB8:0::1', 6, 0x2001_0db8_0000_0000_0000_0000_0000_0001n],
    ['::ffff:192.0.2.1', 4, 0xc0000201n],
  ] as const)('takes %s', (text, family, value) => {
    expect(parseAddress(text)).toEqual({ family, value });
  });

  it.each([
    '',
    '192.0.2',
    '192.0.2.256',
    '192.0.02.1',
    '0xc0.0.2.1',
    '3221225985',
    ' 192.0.2.1',
    '192.0.2.1 ',
    'fe80::1%eth0',
    '::g',
  ])('refuses "%s"', (text) => {
    expect(() => parseAddress(text)).toThrow(expect.objectContaining({ code: 'ADDRESS_INVALID' }));
  });

  it('takes as IPv4 what four decimal parts are, and nothing else', () => {
    const part = fc.oneof(
      fc.nat(300).map(String),
      fc.nat(99).map((n) => `0${n}`),
      fc.constantFrom('', '0x1', '-1'),
    );
    fc.assert(
      fc.property(fc.array(part, { minLength: 3, maxLength: 5 }), (parts) => {
        const text = parts.join('.');
        const isAddress = ipaddr.IPv4.isValidFourPartDecimal(text);
        if (isAddress) expect(formatAddress(parseAddress(text))).toBe(ipaddr.parse(text).toString());
        else expect(() => parseAddress(text)).toThrow();
      }),
    );
  });
});
