/** Sessions with peers that need keys of the pair: none without, whatever comes, and at once with them. */
import { beforeEach, describe, expect, it } from 'vitest';
import { WorkerCounters } from '../../../../src/datapath/counters.ts';
import { chooseAead } from '../../../../src/encapsulation/wireguard/choose-aead.ts';
import { MESSAGE } from '../../../../src/encapsulation/wireguard/data-message.ts';
import { KeyExchange, type KeyedPeer } from '../../../../src/encapsulation/wireguard/key-exchange.ts';
import { SharedSessions } from '../../../../src/encapsulation/wireguard/shared-sessions.ts';
import { Timestamps } from '../../../../src/encapsulation/wireguard/tai64n.ts';
import { generateKeyPair } from '../../../../src/encapsulation/wireguard/x25519.ts';
import { VirtualClock } from '../../../../src/simulate/virtual-clock.ts';
import { ipv4Packet } from '../../../helpers/packets.ts';

const VTEP = 3;
const KEY = Buffer.alloc(32, 1);
const OTHER = Buffer.alloc(32, 2);

let clock: VirtualClock;
let a: Side;
let b: Side;
/** Types of messages, in order, by who sent them. */
let sent: string[];

class Side {
  readonly own = generateKeyPair();
  readonly shared = new SharedSessions();
  readonly counters = new WorkerCounters();
  readonly exchange: KeyExchange;
  readonly endpoint: Uint8Array;
  wanted = 0;

  constructor(name: string, last: number, other: () => Side) {
    this.endpoint = Uint8Array.of(192, 0, 2, last, 0xca, 0x6c);
    this.exchange = new KeyExchange({
      own: this.own,
      clock,
      timestamps: new Timestamps(() => clock.wallTime(), { load: () => undefined, save: () => {} }),
      engine: chooseAead().engine,
      shared: this.shared,
      workers: 1,
      counters: this.counters,
      send: (datagram) => {
        sent.push(`${name}${datagram[0]}`);
        // Data is a packet path's, which says what it has opened with.
        const localIndex = datagram.readUInt32LE(4);
        clock.after(1, () => {
          const { exchange } = other();
          if (datagram[0] === MESSAGE.data) exchange.take({ kind: 'confirmed', localIndex });
          else exchange.receive(datagram, this.endpoint);
        });
      },
      failed: (error) => {
        throw error;
      },
      pairKeyWanted: (vtep) => {
        expect(vtep).toBe(VTEP);
        this.wanted++;
      },
    });
  }

  knows(other: Side, more: Partial<KeyedPeer> = {}): void {
    const { endpoint, own } = other;
    const peer = {
      vtep: VTEP,
      publicKey: own.publicKey,
      endpoint,
      run: 'first',
      needsPairKey: true,
      ...more,
    };
    this.exchange.update([peer], 1_420);
  }

  uses(...keys: readonly Uint8Array[]): void {
    this.exchange.setPairKeys(VTEP, { run: 'first', respondWith: keys[0], accept: keys });
  }

  sends(): void {
    const packet = Buffer.from(ipv4Packet('10.42.1.1', '10.42.2.1', {}));
    this.exchange.take({ kind: 'waiting', vtep: VTEP, serial: this.shared.serial(VTEP), packet });
  }

  get hasSession(): boolean {
    return this.shared.sendingTo(VTEP) !== 0;
  }
}

beforeEach(() => {
  clock = new VirtualClock();
  sent = [];
  a = new Side('a', 1, () => b);
  b = new Side('b', 2, () => a);
  a.knows(b);
  b.knows(a);
});

describe('a peer that needs a key of the pair', () => {
  it('is sent nothing before there is one, and everything that waited then', () => {
    a.sends();
    clock.advance(20_000);
    expect([sent, a.hasSession, a.wanted > 3]).toEqual([[], false, true]);
    b.uses(KEY);
    a.uses(KEY);
    clock.advance(10);
    expect(sent).toEqual(['a1', 'b2', 'a4']);
    expect([a.hasSession, b.hasSession]).toEqual([true, true]);
  });

  it('is answered nothing before there is one, which is wanted then', () => {
    a.uses(KEY);
    a.sends();
    clock.advance(10);
    expect([sent, b.wanted, b.hasSession]).toEqual([['a1'], 1, false]);
  });

  it.each([
    ['another key', (side: Side) => side.uses(OTHER)],
    ['a key of zeros', () => [a, b].forEach((side) => void side.uses(Buffer.alloc(32)))],
    [
      'a key with another run',
      (side: Side) => {
        side.exchange.setPairKeys(VTEP, { run: 'second', respondWith: KEY, accept: [KEY] });
      },
    ],
    [
      'a key that was taken away again',
      (side: Side) => {
        side.uses(KEY);
        side.exchange.setPairKeys(VTEP, undefined);
      },
    ],
    ['no need for one', (side: Side) => side.knows(a, { needsPairKey: false })],
  ])('has no session by %s', (_, change) => {
    a.uses(KEY);
    change(b);
    a.sends();
    b.sends();
    clock.advance(20_000);
    expect([a.hasSession, b.hasSession]).toEqual([false, false]);
  });

  it('goes on with its session while keys come and go, and makes the next one by what the other has', () => {
    for (const side of [a, b]) side.uses(KEY);
    a.sends();
    clock.advance(10);
    b.uses(OTHER, KEY);
    clock.advance(60_000);
    expect([a.hasSession, b.hasSession]).toEqual([true, true]);
    a.uses(OTHER, KEY);
    sent.length = 0;
    clock.advance(200_000);
    for (const side of [a, b]) side.sends();
    clock.advance(100);
    expect(new Set(sent)).toEqual(new Set(['a1', 'b2', 'a4', 'b1', 'a2', 'b4']));
    expect([a.hasSession, b.hasSession]).toEqual([true, true]);
  });

  it('loses its session where it needs one from now on', () => {
    for (const [side, other] of [
      [a, b],
      [b, a],
    ] as const)
      side.knows(other, { needsPairKey: false });
    a.sends();
    clock.advance(10);
    expect(a.hasSession).toBe(true);
    a.knows(b);
    expect(a.hasSession).toBe(false);
  });
});
