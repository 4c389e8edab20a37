/** Two devices at work on real sockets of this host's loopback, with TUNs in memory, in virtual time. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WorkerCounters } from '../../../src/datapath/counters.ts';
import { chooseAead } from '../../../src/encapsulation/wireguard/choose-aead.ts';
import { Timestamps } from '../../../src/encapsulation/wireguard/tai64n.ts';
import {
  generateKeyPair,
  type KeyPair,
  privateKeyBytes,
} from '../../../src/encapsulation/wireguard/x25519.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import * as libc from '../../../src/sys/libc.ts';
import { AllowedIps } from '../../../src/wireguard-device/allowed-ips.ts';
import { openTunnelSocket } from '../../../src/wireguard-device/open-socket.ts';
import type { PeerSettings, PeerState } from '../../../src/wireguard-device/thread-messages.ts';
import { Tunnel } from '../../../src/wireguard-device/tunnel.ts';
import { TunnelSocket } from '../../../src/wireguard-device/tunnel-socket.ts';
import { formatUapiEndpoint, parseUapiEndpoint } from '../../../src/wireguard-device/uapi-endpoint.ts';
import { echoRequest } from '../../helpers/echo.ts';
import { MemoryTun } from '../../helpers/memory-sockets.ts';

const INITIATION_BYTES = 148;
const RESPONSE_BYTES = 92;
const EMPTY_BYTES = 32;
const A_ADDRESS = '10.0.0.1';
const B_ADDRESS = '10.0.0.2';

interface WantedPeer {
  readonly key: KeyPair;
  readonly allowed: readonly string[];
  readonly endpoint?: string;
  readonly presharedKey?: Uint8Array;
  readonly keepaliveS?: number;
  readonly id?: number;
}

class Host {
  own = generateKeyPair();
  readonly clock: VirtualClock;
  readonly delivered: Buffer[] = [];
  readonly tun = new MemoryTun(0, (packet) => void this.delivered.push(Buffer.from(packet)));
  readonly socket: TunnelSocket;
  readonly tunnel: Tunnel;
  port = 0;

  /** 4: as where the kernel has no IPv6. */
  constructor(clock: VirtualClock, family: 4 | 6 = 6) {
    this.clock = clock;
    this.socket = new TunnelSocket(family);
    this.tunnel = new Tunnel({
      clock,
      timestamps: new Timestamps(() => clock.wallTime(), { load: () => undefined, save: () => {} }),
      engine: chooseAead().engine,
      tun: this.tun,
      socket: this.socket,
      counters: new WorkerCounters(),
      sendRoom: () => false,
      writeRoom: () => false,
      failed: (error) => {
        throw error;
      },
    });
    this.rebind();
  }

  /** Another port. */
  rebind(): void {
    const before = this.socket.fd;
    const { fd, port } = openTunnelSocket(this.socket.family, 0, 0);
    this.socket.fd = fd;
    this.port = port;
    if (before >= 0) libc.close(before);
  }

  configure(...wanted: readonly WantedPeer[]): void {
    const allowed = new AllowedIps<number>();
    wanted.forEach((one, slot) => {
      for (const prefix of one.allowed) allowed.add(parsePrefix(prefix), slot);
    });
    const peers = wanted.map(
      ({ key, presharedKey, keepaliveS = 0, id }, slot): PeerSettings => ({
        slot,
        id: id ?? slot + 1,
        publicKey: key.publicKey,
        presharedKey,
        persistentKeepaliveMs: 1_000 * keepaliveS,
        keepaliveNow: keepaliveS > 0,
      }),
    );
    this.tunnel.configure({
      privateKey: privateKeyBytes(this.own),
      peers,
      moved: wanted.flatMap(({ endpoint }, slot) =>
        endpoint === undefined ? [] : [{ slot, endpoint: parseUapiEndpoint(endpoint)! }],
      ),
      allowedIps: allowed.snapshot((slot) => slot),
    });
  }

  state(slot = 0): PeerState {
    return this.tunnel.peers().find((peer) => peer.slot === slot)!;
  }

  get peerEndpoint(): string {
    return formatUapiEndpoint(this.state().endpoint!);
  }

  sends(packet: Buffer): void {
    this.tun.push(packet);
    this.tunnel.drainTun();
    this.tunnel.settle();
  }
}

let clock: VirtualClock;
let a: Host;
let b: Host;

beforeEach(() => {
  clock = new VirtualClock();
  a = new Host(clock);
  b = new Host(clock);
});
afterEach(() => {
  for (const { tunnel, socket } of [a, b]) {
    tunnel.close();
    libc.close(socket.fd);
  }
});

/** What is on its way arrives, and what that brings about. */
function settle(): void {
  for (let i = 0; i < 8; i++) {
    for (const { tunnel } of [a, b]) {
      tunnel.drainSocket();
      tunnel.settle();
    }
  }
}

function advance(ms: number): void {
  for (let left = ms; left > 0; left -= 100) {
    clock.advance(Math.min(100, left));
    settle();
  }
}

function both(extra: Partial<WantedPeer> = {}): void {
  a.configure({ key: b.own, allowed: [`${B_ADDRESS}/32`], endpoint: `127.0.0.1:${b.port}`, ...extra });
  b.configure({
    key: a.own,
    allowed: [`${A_ADDRESS}/32`],
    ...(extra.presharedKey && { presharedKey: extra.presharedKey }),
  });
}

/** Whether a packet gets from one to the other. */
function reaches(from: Host, to: Host): boolean {
  const [source, destination] = from === a ? [A_ADDRESS, B_ADDRESS] : [B_ADDRESS, A_ADDRESS];
  const count = to.delivered.length;
  const packet = echoRequest(source, destination, count);
  from.sends(packet);
  settle();
  const last = to.delivered.at(-1);
  return to.delivered.length === count + 1 && last!.subarray(0, packet.length).equals(packet);
}

describe('two devices', () => {
  it('reach each other, and count every byte on the wire', () => {
    both();
    expect(reaches(a, b)).toBe(true);
    expect(reaches(b, a)).toBe(true);
    const data = 32 + 96;
    expect(a.state()).toMatchObject({
      sentBytes: INITIATION_BYTES + data,
      receivedBytes: RESPONSE_BYTES + data,
    });
    expect(b.state()).toMatchObject({
      sentBytes: RESPONSE_BYTES + data,
      receivedBytes: INITIATION_BYTES + data,
      lastHandshakeMs: clock.wallTime(),
    });
    expect(b.peerEndpoint).toBe(`127.0.0.1:${a.port}`);
  });

  it.each(['127.0.0.1', '[::1]'])('by %s, with a pre-shared key', (host) => {
    both({ presharedKey: Buffer.alloc(32, 7), endpoint: `${host}:${b.port}` });
    expect(reaches(a, b) && reaches(b, a)).toBe(true);
  });

  it('with different pre-shared keys do not', () => {
    both({ presharedKey: Buffer.alloc(32, 7) });
    b.configure({ key: a.own, allowed: [`${A_ADDRESS}/32`], presharedKey: Buffer.alloc(32, 8) });
    expect(reaches(a, b)).toBe(false);
  });

  it('go on with their session when the pre-shared key changes, and use it for the next', () => {
    both();
    expect(reaches(a, b)).toBe(true);
    const presharedKey = Buffer.alloc(32, 9);
    both({ presharedKey });
    expect(reaches(a, b) && reaches(b, a)).toBe(true);
    const [before] = [a.state().lastHandshakeMs];
    advance(130_000);
    expect(reaches(a, b) && reaches(b, a)).toBe(true);
    expect(a.state().lastHandshakeMs).toBeGreaterThan(before);
  });

  it('send nothing to a peer of whom nobody says where it is', () => {
    both();
    expect(reaches(b, a)).toBe(false);
    expect(b.state()).toMatchObject({ sentBytes: 0, endpoint: undefined });
    expect(reaches(a, b)).toBe(true);
    // What was to be sent before is not sent late.
    expect(a.delivered).toEqual([]);
  });
});

describe('a peer', () => {
  it('that has another port is answered there', () => {
    both();
    expect(reaches(a, b)).toBe(true);
    a.rebind();
    expect(reaches(a, b)).toBe(true);
    expect(b.peerEndpoint).toBe(`127.0.0.1:${a.port}`);
    expect(reaches(b, a)).toBe(true);
  });

  it('that comes by the other family is answered there', () => {
    both();
    expect(reaches(a, b)).toBe(true);
    both({ endpoint: `[::1]:${b.port}` });
    expect(reaches(a, b)).toBe(true);
    expect(b.peerEndpoint).toBe(`[::1]:${a.port}`);
    expect(reaches(b, a)).toBe(true);
  });

  it('is answered from the address that it sent to', () => {
    for (const address of ['127.0.0.7', '127.0.0.8']) {
      both({ endpoint: `${address}:${b.port}` });
      expect(reaches(a, b) && reaches(b, a)).toBe(true);
      // Else it would have moved to where the answer came from.
      expect(a.peerEndpoint).toBe(`${address}:${b.port}`);
    }
  });

  it('is answered from an address that there is, once that one is refused', () => {
    both({ endpoint: `127.0.0.7:${b.port}` });
    expect(reaches(a, b)).toBe(true);
    expect(b.state().source).toBeDefined();
    b.tunnel.forgetSources([0]);
    expect(b.state().source).toBeUndefined();
    expect(reaches(b, a)).toBe(true);
    expect(a.peerEndpoint).toBe(`127.0.0.1:${b.port}`);
  });

  it('may not send what belongs to another', () => {
    both();
    expect(reaches(a, b)).toBe(true);
    const other = { key: generateKeyPair(), allowed: [`${A_ADDRESS}/32`] };
    b.configure({ key: a.own, allowed: ['10.0.0.0/24'] }, other);
    expect(reaches(a, b)).toBe(false);
    b.configure({ key: a.own, allowed: ['10.0.0.0/24'] });
    expect(reaches(a, b)).toBe(true);
  });

  it('that was removed is not heard any more, and begins anew when it is added again', () => {
    both();
    expect(reaches(a, b)).toBe(true);
    b.configure();
    expect(reaches(a, b)).toBe(false);
    b.configure({ key: a.own, allowed: [`${A_ADDRESS}/32`], id: 7 });
    expect(b.state()).toMatchObject({ sentBytes: 0, receivedBytes: 0, lastHandshakeMs: 0 });
    // Data is sent and not answered: after 15 seconds there is a new handshake.
    advance(21_000);
    expect(reaches(a, b)).toBe(true);
  });

  it('with keepalives sends some, from when they are asked for', () => {
    both({ keepaliveS: 1 });
    settle();
    const sent = a.state().sentBytes;
    expect(sent).toBe(INITIATION_BYTES + EMPTY_BYTES);
    advance(3_000);
    expect(a.state().sentBytes).toBe(sent + 3 * EMPTY_BYTES);
    both({ keepaliveS: 0 });
    advance(5_000);
    expect(a.state().sentBytes).toBe(sent + 3 * EMPTY_BYTES);
    expect(b.peerEndpoint).toBe(`127.0.0.1:${a.port}`);
  });
});

describe('without IPv6 in the kernel', () => {
  beforeEach(() => {
    for (const { tunnel, socket } of [a, b]) {
      tunnel.close();
      libc.close(socket.fd);
    }
    a = new Host(clock, 4);
    b = new Host(clock, 4);
  });

  it('devices reach each other over IPv4, and follow each other', () => {
    both();
    expect(reaches(a, b) && reaches(b, a)).toBe(true);
    a.rebind();
    expect(reaches(a, b)).toBe(true);
    expect(b.peerEndpoint).toBe(`127.0.0.1:${a.port}`);
    expect(reaches(b, a)).toBe(true);
  });

  it('a peer at an IPv6 address is not reached, and nothing else suffers', () => {
    both({ endpoint: `[::1]:${b.port}` });
    expect(reaches(a, b)).toBe(false);
    both();
    advance(6_000);
    expect(reaches(a, b)).toBe(true);
  });
});

describe('a device', () => {
  it('with another key is who it was not, at once', () => {
    both();
    expect(reaches(a, b)).toBe(true);
    a.own = generateKeyPair();
    both();
    expect(reaches(a, b)).toBe(false);
    b.configure({ key: a.own, allowed: [`${A_ADDRESS}/32`], id: 2 });
    advance(5_500);
    expect(b.delivered.length).toBeGreaterThan(1);
    expect(reaches(b, a)).toBe(true);
  });

  it('without a key does nothing', () => {
    both();
    a.tunnel.configure({ privateKey: undefined, peers: [], moved: [], allowedIps: undefined });
    expect(reaches(a, b)).toBe(false);
  });

  it('has no sessions while its interface is down, and begins when it comes up', () => {
    both({ keepaliveS: 25 });
    expect(reaches(a, b)).toBe(true);
    const endpoint = a.peerEndpoint;
    a.tunnel.setUp(false);
    const sent = a.state().sentBytes;
    advance(60_000);
    expect(reaches(b, a)).toBe(false);
    expect(a.state().sentBytes).toBe(sent);
    expect(a.peerEndpoint).toBe(endpoint);
    a.tunnel.setUp(true);
    settle();
    expect(reaches(b, a)).toBe(true);
  });

  it('pads packets, but not beyond the MTU', () => {
    both();
    a.tunnel.setMtu(1_420);
    expect(reaches(a, b)).toBe(true);
    const before = a.state().sentBytes;
    const sizes = [1_401, 1_409, 1_420, 1_421];
    for (const bytes of sizes) a.sends(echoRequest(A_ADDRESS, B_ADDRESS, 1, bytes));
    settle();
    expect(a.state().sentBytes - before).toBe(1_408 + 1_420 + 1_420 + 1_421 + sizes.length * EMPTY_BYTES);
    expect(b.delivered.slice(-4).map((packet) => packet.length)).toEqual(sizes);
  });

  it('carries what is to many, and from whomever the host routes', () => {
    both();
    expect(reaches(a, b)).toBe(true);
    a.configure({ key: b.own, allowed: ['0.0.0.0/0', '::/0'] });
    b.configure({ key: a.own, allowed: ['0.0.0.0/0', '::/0'] });
    const before = b.delivered.length;
    a.sends(echoRequest('192.0.2.9', '224.0.0.5', 1));
    a.sends(echoRequest('2001:db8::9', 'ff02::1', 2));
    settle();
    expect(b.delivered.length - before).toBe(2);
  });
});
