/** The configuration protocol as text: what is asked, what is refused with which number, what is answered. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatPrefix, parsePrefix } from '../../../src/ip/prefix.ts';
import { EINVAL, EPROTO } from '../../../src/sys/constants.ts';
import { reportText, statusText } from '../../../src/wireguard-device/uapi-answer.ts';
import { formatUapiEndpoint, parseUapiEndpoint } from '../../../src/wireguard-device/uapi-endpoint.ts';
import { parseRequest, type SetRequest, UapiError } from '../../../src/wireguard-device/uapi-request.ts';

const KEY = '0123456789abcdef'.repeat(4);
const PEER = 'fedcba9876543210'.repeat(4);
const NAMES = {
  numberOf: (name: string) => (name === 'eth0' ? 2 : undefined),
  nameOf: (number: number) => (number === 2 ? 'eth0' : undefined),
};

function set(...lines: string[]): SetRequest {
  const request = parseRequest(['set=1', ...lines]);
  if (request.operation !== 'set') throw new Error('no set');
  return request;
}

function errnoOf(...lines: string[]): number {
  try {
    parseRequest(lines);
    return 0;
  } catch (error) {
    if (error instanceof UapiError) return error.errno;
    throw error;
  }
}

describe('a request', () => {
  it('says what a device is to be', () => {
    const request = set(`private_key=${KEY}`, 'listen_port=51820', 'fwmark=4294967295', 'replace_peers=true');
    expect(request).toEqual({
      operation: 'set',
      privateKey: Buffer.from(KEY, 'hex'),
      listenPort: 51_820,
      fwmark: 0xffff_ffff,
      replacePeers: true,
      peers: [],
    });
  });

  it('says what peers are to be, one after the other', () => {
    const { peers } = set(
      `public_key=${KEY}`,
      'update_only=true',
      `preshared_key=${PEER}`,
      'endpoint=192.0.2.1:51820',
      'persistent_keepalive_interval=25',
      'replace_allowed_ips=true',
      'allowed_ip=10.1.2.3/24',
      'allowed_ip=-fd00::/8',
      'protocol_version=1',
      `public_key=${PEER.toUpperCase()}`,
      'remove=true',
    );
    expect(peers).toHaveLength(2);
    const [first, second] = peers;
    expect(first).toMatchObject({ updateOnly: true, remove: false, replaceAllowedIps: true });
    expect(first!.persistentKeepaliveS).toBe(25);
    expect(first!.presharedKey).toEqual(Buffer.from(PEER, 'hex'));
    expect(formatUapiEndpoint(first!.endpoint!)).toBe('192.0.2.1:51820');
    // Bits beyond the length do not count.
    const texts = first!.allowedIps.map(({ prefix, remove }) => [formatPrefix(prefix), remove]);
    expect(texts).toEqual([
      ['10.1.2.0/24', false],
      ['fd00::/8', true],
    ]);
    expect(second).toMatchObject({ publicKey: Buffer.from(PEER, 'hex'), remove: true });
  });

  it('forgets what a peer was given before replace_allowed_ips', () => {
    const { peers } = set(`public_key=${KEY}`, 'allowed_ip=10.0.0.0/8', 'replace_allowed_ips=true');
    expect(peers[0]).toMatchObject({ replaceAllowedIps: true, allowedIps: [] });
  });

  it.each([
    ['get=1'],
    ['set=1'],
    ['set=1', 'listen_port=0'],
    ['set=1', 'fwmark=0'],
    ['set=1', `public_key=${KEY}`, 'allowed_ip=0.0.0.0/0'],
    ['set=1', `public_key=${KEY}`, 'endpoint=[2001:db8::1]:1'],
  ])('is taken: %s %s %s', (...lines) => {
    expect(errnoOf(...lines.filter((line) => line !== undefined))).toBe(0);
  });

  it.each([
    [EPROTO, ['list=1']],
    [EPROTO, []],
    [EINVAL, ['get=1', 'private_key=1']],
    [EPROTO, ['set=1', 'listen_port']],
    [EINVAL, ['set=1', 'private_key=ab']],
    [EINVAL, ['set=1', `private_key=${KEY}0`]],
    [EINVAL, ['set=1', `private_key=${KEY.slice(1)}g`]],
    [EINVAL, ['set=1', 'listen_port=65536']],
    [EINVAL, ['set=1', 'listen_port=-1']],
    [EINVAL, ['set=1', 'listen_port=']],
    [EINVAL, ['set=1', 'fwmark=4294967296']],
    [EINVAL, ['set=1', 'fwmark=0x1']],
    [EINVAL, ['set=1', 'replace_peers=false']],
    [EINVAL, ['set=1', 'public_key=']],
    // Keys of a peer before there is one.
    [EINVAL, ['set=1', 'endpoint=192.0.2.1:1']],
    [EINVAL, ['set=1', `public_key=${KEY}`, 'listen_port=1']],
    [EINVAL, ['set=1', `public_key=${KEY}`, 'remove=1']],
    [EINVAL, ['set=1', `public_key=${KEY}`, 'update_only=yes']],
    [EINVAL, ['set=1', `public_key=${KEY}`, 'replace_allowed_ips=']],
    [EINVAL, ['set=1', `public_key=${KEY}`, 'preshared_key=00']],
    [EINVAL, ['set=1', `public_key=${KEY}`, 'endpoint=192.0.2.1']],
    [EINVAL, ['set=1', `public_key=${KEY}`, 'endpoint=example.org:1']],
    [EINVAL, ['set=1', `public_key=${KEY}`, 'endpoint=192.0.2.1:0']],
    [EINVAL, ['set=1', `public_key=${KEY}`, 'endpoint=2001:db8::1:1']],
    [EINVAL, ['set=1', `public_key=${KEY}`, 'persistent_keepalive_interval=65536']],
    [EINVAL, ['set=1', `public_key=${KEY}`, 'allowed_ip=10.0.0.0']],
    [EINVAL, ['set=1', `public_key=${KEY}`, 'allowed_ip=10.0.0.0/33']],
    [EINVAL, ['set=1', `public_key=${KEY}`, 'allowed_ip=fd00::/129']],
    [EINVAL, ['set=1', `public_key=${KEY}`, 'allowed_ip=ten/8']],
    [EINVAL, ['set=1', `public_key=${KEY}`, 'protocol_version=2']],
    [EINVAL, ['set=1', `public_key=${KEY}`, 'colour=green']],
  ] as const)('is refused with %i: %j', (errno, lines) => {
    expect(errnoOf(...lines)).toBe(errno);
  });

  it('throws nothing but why it is refused, whatever comes', () => {
    const key = fc.constantFrom(
      'private_key',
      'public_key',
      'listen_port',
      'endpoint',
      'allowed_ip',
      'remove',
      'fwmark',
      'x',
    );
    const value = fc.oneof(fc.string(), fc.constantFrom(KEY, 'true', '1', '10.0.0.0/8', '[::1]:1', '/', ':'));
    const line = fc.oneof(
      fc.string(),
      fc.tuple(key, value).map((pair) => pair.join('=')),
    );
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        errnoOf('set=1', ...lines);
        errnoOf(...lines);
      }),
    );
  });
});

describe('an endpoint', () => {
  it.each(['192.0.2.1:51820', '[2001:db8::1]:1', '[fe80::1%eth0]:65535'])(
    '%s is written as it is read',
    (text) => {
      expect(formatUapiEndpoint(parseUapiEndpoint(text, NAMES)!, NAMES)).toBe(text);
    },
  );

  it('has its interface by number where the name is not known', () => {
    const endpoint = parseUapiEndpoint('[fe80::1%9]:5', NAMES)!;
    expect(formatUapiEndpoint(endpoint, NAMES)).toBe('[fe80::1%9]:5');
    expect(parseUapiEndpoint('[fe80::1%eth9]:5', NAMES)).toBeUndefined();
  });

  it('of IPv4 is the same however it is written', () => {
    expect(parseUapiEndpoint('[::ffff:192.0.2.1]:7')).toEqual(parseUapiEndpoint('192.0.2.1:7'));
  });
});

describe('an answer', () => {
  it('has errno negated, as other implementations write it', () => {
    expect([0, EINVAL].map(statusText)).toEqual(['errno=0\n\n', 'errno=-22\n\n']);
  });

  it('leaves out what there is not', () => {
    expect(reportText({ privateKey: undefined, listenPort: 0, fwmark: 0, peers: [] })).toBe('errno=0\n\n');
  });

  it('tells all of a device', () => {
    const peer = {
      publicKey: Buffer.from(PEER, 'hex'),
      presharedKey: undefined,
      endpoint: parseUapiEndpoint('[2001:db8::1]:9'),
      lastHandshakeMs: 1_700_000_000_123,
      sentBytes: 148,
      receivedBytes: 92,
      persistentKeepaliveS: 25,
      allowedIps: ['10.0.0.0/8', 'fd00::/8'].map(parsePrefix),
    };
    const privateKey = Buffer.from(KEY, 'hex');
    expect(reportText({ privateKey, listenPort: 51_820, fwmark: 7, peers: [peer] }).split('\n')).toEqual([
      `private_key=${KEY}`,
      'listen_port=51820',
      'fwmark=7',
      `public_key=${PEER}`,
      `preshared_key=${'0'.repeat(64)}`,
      'protocol_version=1',
      'endpoint=[2001:db8::1]:9',
      'last_handshake_time_sec=1700000000',
      'last_handshake_time_nsec=123000000',
      'tx_bytes=148',
      'rx_bytes=92',
      'persistent_keepalive_interval=25',
      'allowed_ip=10.0.0.0/8',
      'allowed_ip=fd00::/8',
      'errno=0',
      '',
      '',
    ]);
  });
});
