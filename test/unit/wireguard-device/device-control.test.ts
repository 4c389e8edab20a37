/** What requests do to a device: which of its parts change, and that a refused one changes nothing. */
import { beforeEach, describe, expect, it } from 'vitest';
import { generateKeyPair, keyPairOf, privateKeyBytes } from '../../../src/encapsulation/wireguard/x25519.ts';
import { Fdb } from '../../../src/fdb/fdb.ts';
import { FDB_MISS } from '../../../src/fdb/snapshot.ts';
import { addressWords, parseAddress } from '../../../src/ip/address.ts';
import { EADDRINUSE, EINVAL } from '../../../src/sys/constants.ts';
import { SysError } from '../../../src/sys/errors.ts';
import { DeviceControl } from '../../../src/wireguard-device/device-control.ts';
import { DeviceModel } from '../../../src/wireguard-device/device-model.ts';
import type { TunnelSettings } from '../../../src/wireguard-device/thread-messages.ts';
import { parseRequest } from '../../../src/wireguard-device/uapi-request.ts';

const MAX_PEERS = 3;
const [A, B, C, D] = ['aa', 'bb', 'cc', 'dd'].map((byte) => byte.repeat(32)) as [
  string,
  string,
  string,
  string,
];

let control: DeviceControl;
let configured: TunnelSettings[];
/** What sockets there were: opened, used, closed. */
let events: string[];
let taken: Set<number>;

beforeEach(() => {
  configured = [];
  events = [];
  taken = new Set();
  let nextFd = 10;
  control = new DeviceControl({
    model: new DeviceModel(MAX_PEERS),
    tunnel: {
      configure: async (settings) => void configured.push(settings),
      useSocket: async (fd) => void events.push(`use ${fd}`),
      setInterface: async () => {},
      forgetSources: async () => {},
      peers: async () => [],
      stop: async () => {},
    },
    sockets: {
      open: (port, fwmark) => {
        if (taken.has(port)) throw new SysError('bind', EADDRINUSE, 'opening a socket');
        const fd = nextFd++;
        events.push(`open ${fd} port ${port} mark ${fwmark}`);
        return { fd, port: port === 0 ? 40_000 + fd : port };
      },
      setMark: (fd, fwmark) => void events.push(`mark ${fd} ${fwmark}`),
      close: (fd) => void events.push(`close ${fd}`),
    },
  });
});

async function set(...lines: string[]): Promise<string> {
  return await control.handle(parseRequest(['set=1', ...lines]));
}

async function get(): Promise<string[]> {
  return (await control.handle({ operation: 'get' })).split('\n');
}

/** Whose an address is, by public key. */
function ownerOf(address: string): string | undefined {
  const { allowedIps } = configured.findLast((settings) => settings.allowedIps !== undefined)!;
  const slot = new Fdb(allowedIps!).lookup4(addressWords(parseAddress(address))[0]!);
  if (slot === FDB_MISS) return undefined;
  const peer = configured.at(-1)!.peers.find((one) => one.slot === slot);
  return Buffer.from(peer!.publicKey).toString('hex');
}

describe('a port', () => {
  it('is any until one is asked for, and another while it runs', async () => {
    await set(`public_key=${A}`);
    expect(await get()).toContain('listen_port=40010');
    await set('listen_port=51820');
    expect(await get()).toContain('listen_port=51820');
    expect(events).toEqual([
      'open 10 port 0 mark 0',
      'use 10',
      'open 11 port 51820 mark 0',
      'use 11',
      'close 10',
    ]);
  });

  it('that is the same leaves the socket alone', async () => {
    await set('listen_port=51820');
    await set('listen_port=51820');
    expect(events).toHaveLength(2);
  });

  it('that is in use changes nothing, and says so', async () => {
    await set('listen_port=1', `public_key=${A}`);
    taken.add(2);
    await expect(set('listen_port=2', 'fwmark=7', `public_key=${B}`)).rejects.toMatchObject({
      errno: EADDRINUSE,
    });
    const report = await get();
    expect(report).toContain('listen_port=1');
    expect(report).not.toContain(`public_key=${B}`);
    expect(report.some((line) => line.startsWith('fwmark'))).toBe(false);
  });

  it('is opened with the mark that there is', async () => {
    await set('fwmark=7');
    await set('fwmark=9');
    await set('listen_port=3');
    expect(events.filter((event) => !event.startsWith('use'))).toEqual([
      'open 10 port 0 mark 7',
      'mark 10 9',
      'open 11 port 3 mark 9',
      'close 10',
    ]);
  });
});

describe('peers', () => {
  it('are added, changed and removed', async () => {
    await set(`public_key=${A}`, 'allowed_ip=10.0.0.0/8', `public_key=${B}`, 'allowed_ip=10.1.0.0/16');
    expect([ownerOf('10.1.2.3'), ownerOf('10.2.2.3'), ownerOf('11.0.0.1')]).toEqual([B, A, undefined]);
    await set(`public_key=${B}`, 'remove=true');
    expect(ownerOf('10.1.2.3')).toBe(A);
    await set(`public_key=${A}`, 'replace_allowed_ips=true', 'allowed_ip=11.0.0.0/8');
    expect([ownerOf('10.1.2.3'), ownerOf('11.0.0.1')]).toEqual([undefined, A]);
    await set('replace_peers=true', `public_key=${C}`);
    expect(configured.at(-1)!.peers.map(({ publicKey }) => Buffer.from(publicKey).toString('hex'))).toEqual([
      C,
    ]);
  });

  it('take allowed addresses from each other', async () => {
    await set(`public_key=${A}`, 'allowed_ip=10.0.0.0/8');
    await set(`public_key=${B}`, 'allowed_ip=10.0.0.0/8');
    expect(ownerOf('10.0.0.1')).toBe(B);
    await set(`public_key=${A}`, 'allowed_ip=-10.0.0.0/8');
    expect(ownerOf('10.0.0.1')).toBe(B);
    await set(`public_key=${B}`, 'allowed_ip=-10.0.0.0/8');
    expect(ownerOf('10.0.0.1')).toBeUndefined();
  });

  it('with update_only are changed, but not made', async () => {
    await set(`public_key=${A}`, 'update_only=true', 'allowed_ip=10.0.0.0/8');
    expect(configured.at(-1)!.peers).toEqual([]);
    await set(`public_key=${A}`);
    await set(`public_key=${A}`, 'update_only=true', 'persistent_keepalive_interval=5');
    expect(configured.at(-1)!.peers).toMatchObject([{ persistentKeepaliveMs: 5_000, keepaliveNow: true }]);
    await set(`public_key=${A}`, 'persistent_keepalive_interval=6');
    expect(configured.at(-1)!.peers).toMatchObject([{ persistentKeepaliveMs: 6_000, keepaliveNow: false }]);
  });

  it('that are removed and added at once begin anew', async () => {
    await set(`public_key=${A}`, `preshared_key=${B}`);
    const [before] = configured.at(-1)!.peers;
    await set(`public_key=${A}`, 'remove=true', `public_key=${A}`, 'endpoint=192.0.2.1:9');
    const [after] = configured.at(-1)!.peers;
    expect(after!.id).not.toBe(before!.id);
    expect(after!.presharedKey).toBeUndefined();
    expect(configured.at(-1)!.moved).toHaveLength(1);
  });

  it('have no endpoint any more once they are gone', async () => {
    await set(`public_key=${A}`, 'endpoint=192.0.2.1:9', `public_key=${A}`, 'remove=true');
    expect(configured.at(-1)).toMatchObject({ peers: [], moved: [] });
  });

  it('are no more than there is room for, and then nothing changes', async () => {
    await set(...[A, B, C].map((key) => `public_key=${key}`));
    await expect(set('fwmark=1', `public_key=${D}`)).rejects.toMatchObject({ errno: EINVAL });
    expect(configured).toHaveLength(1);
    await set(`public_key=${A}`, 'remove=true', `public_key=${D}`);
    expect(
      configured
        .at(-1)!
        .peers.map(({ slot }) => slot)
        .sort(),
    ).toEqual([0, 1, 2]);
  });

  it('are never the device itself', async () => {
    const own = generateKeyPair();
    const privateKey = privateKeyBytes(own).toString('hex');
    const publicKey = own.publicKey.toString('hex');
    await set(`public_key=${publicKey}`);
    expect(configured.at(-1)!.peers).toHaveLength(1);
    await set(`private_key=${privateKey}`);
    expect(configured.at(-1)!.peers).toEqual([]);
    await set(`public_key=${publicKey}`);
    expect(configured.at(-1)!.peers).toEqual([]);
  });
});

describe('a private key', () => {
  it('is shown as it is used, and goes with zeros', async () => {
    await set(`private_key=${'ff'.repeat(32)}`);
    const shown = `f8${'ff'.repeat(30)}7f`;
    expect(await get()).toContain(`private_key=${shown}`);
    const [given, used] = ['ff'.repeat(32), shown].map((hex) => keyPairOf(Buffer.from(hex, 'hex')).publicKey);
    expect(used).toEqual(given);
    await set(`private_key=${'00'.repeat(32)}`);
    expect((await get()).some((line) => line.startsWith('private_key'))).toBe(false);
    expect(configured.at(-1)!.privateKey).toBeUndefined();
  });
});
