/** Whole devices against each other in memory and virtual time: traffic, rekeys, restarts, loss and attacks. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LOAD_MESSAGES_PER_SECOND } from '../../../../src/encapsulation/wireguard/admission.ts';
import { MacStamper } from '../../../../src/encapsulation/wireguard/macs.ts';
import { initiation } from '../../../../src/encapsulation/wireguard/messages.ts';
import { paddingOf } from '../../../../src/encapsulation/wireguard/padding.ts';
import type { Peer } from '../../../../src/encapsulation/wireguard/peer.ts';
import { type Host, WireguardNetwork } from '../../../helpers/wireguard-network.ts';

interface Pair {
  readonly network: WireguardNetwork;
  readonly a: Host;
  readonly b: Host;
  readonly toB: Peer;
  readonly toA: Peer;
}

function pair(presharedKey?: Buffer, both = true): Pair {
  const network = new WireguardNetwork();
  const [a, b] = [network.add(), network.add()];
  const [toB, toA] = network.connect(a, b, presharedKey, both);
  return { network, a, b, toB, toA };
}

const HELLO = Buffer.from('hello');

describe('two devices', () => {
  it.each([undefined, Buffer.alloc(32, 3)])(
    'make a session by traffic, pre-shared key %o',
    (presharedKey) => {
      const { network, b, toB, toA, a } = pair(presharedKey);
      network.clock.advance(600_000);
      expect(network.lines()).toEqual([]);
      toB.send(HELLO);
      network.clock.advance(100);
      expect(network.lines()).toEqual(['600.000 a>b 1 148', '600.001 b>a 2 92', '600.002 a>b 4 48']);
      expect(b.delivered).toEqual(['hello']);
      toA.send(Buffer.from('and back'));
      network.clock.advance(100);
      expect(a.delivered).toEqual(['and back']);
    },
  );

  it('send nothing as responder before they heard from the initiator under the new keys', () => {
    const { network, a, toB, toA } = pair();
    // The initiator's first data is lost.
    network.passes = ({ datagram }) => datagram[0] !== 4;
    toB.send(HELLO);
    network.clock.advance(100);
    expect(toA.session).toBeUndefined();
    network.lines();
    toA.send(Buffer.from('waits'));
    network.clock.advance(1);
    // It begins a handshake of its own rather than to use keys that nobody has confirmed.
    expect(network.lines()[0]).toBe('0.100 b>a 1 148');
    network.passes = () => true;
    network.clock.advance(6_000);
    expect(a.delivered).toEqual(['waits']);
  });

  it('confirm the keys by an empty packet where the initiator has nothing to say any more', () => {
    const { network, a, b, toB } = pair(undefined, false);
    toB.send(HELLO);
    network.clock.advance(100);
    network.restart(b);
    const toA = b.device.addPeer({ publicKey: a.own.publicKey });
    // Nobody has told it where the peer is.
    toA.send(Buffer.from('waits'));
    toB.send(Buffer.from('lost'));
    network.lines();
    network.clock.advance(16_000);
    expect(network.lines()).toEqual([
      '15.002 a>b 1 148',
      '15.003 b>a 2 92',
      '15.004 a>b 4 32',
      '15.005 b>a 4 48',
    ]);
    expect(a.delivered).toEqual(['waits']);
  });

  it('carry on over two hours of traffic in both directions without a loss, with a new session every two minutes', () => {
    const { network, a, b, toA, toB } = pair();
    const seconds = 7_200;
    // Who is asked first begins each time. If both did at the same instant, both would each time.
    toB.send(HELLO);
    network.clock.advance(10);
    b.delivered.length = 0;
    for (let second = 0; second < seconds; second++) {
      toB.send(Buffer.from(`to b ${second}`));
      toA.send(Buffer.from(`to a ${second}`));
      network.clock.advance(1_000);
    }
    const expected = (name: string) => Array.from({ length: seconds }, (_, second) => `to ${name} ${second}`);
    expect(b.delivered).toEqual(expected('b'));
    expect(a.delivered).toEqual(expected('a'));
    expect([toA.dropped, toB.dropped]).toEqual([0, 0]);
    const initiations = network.sent.filter(({ datagram }) => datagram[0] === 1).length;
    expect(initiations).toBeGreaterThanOrEqual(seconds / 125);
    expect(initiations).toBeLessThanOrEqual(seconds / 120 + 2);
  });

  it('renew a session in time where one side only sends and the other only receives', () => {
    for (const sender of ['a', 'b'] as const) {
      const { network, a, b, toA, toB } = pair();
      toB.send(HELLO);
      network.clock.advance(10);
      const [peer, other] = sender === 'a' ? [toB, b] : [toA, a];
      for (let second = 0; second < 600; second++) {
        peer.send(Buffer.from(`${second}`));
        network.clock.advance(1_000);
      }
      expect(other.delivered.slice(-600)).toEqual(Array.from({ length: 600 }, (_, second) => `${second}`));
    }
  });

  it('fall silent without traffic, and forget all keys', () => {
    const { network, a, b, toB } = pair();
    toB.send(HELLO);
    network.clock.advance(30_000);
    // The answer that data wants, and nothing else.
    expect(network.lines().slice(3)).toEqual(['10.003 b>a 4 32']);
    network.clock.advance(600_000);
    expect(network.lines()).toEqual([]);
    for (const { device } of [a, b]) expect(device.held).toEqual({ indexes: 0, ciphers: 0 });
  });

  it('find each other again after a restart of either, within its timers', () => {
    for (const restarted of ['a', 'b'] as const) {
      const { network, a, b, toA, toB } = pair();
      toB.send(HELLO);
      network.clock.advance(1_000);
      const host = restarted === 'a' ? a : b;
      network.restart(host);
      const [freshB, freshA] =
        restarted === 'a'
          ? [a.device.addPeer({ publicKey: b.own.publicKey, endpoint: b.endpoint }), toA]
          : [toB, b.device.addPeer({ publicKey: a.own.publicKey, endpoint: a.endpoint })];
      // Who was restarted speaks: at once. The other one: after the 15 s without an answer.
      (restarted === 'a' ? freshA : freshB).send(Buffer.from('lost'));
      network.clock.advance(15_100);
      freshB.send(Buffer.from('one'));
      freshA.send(Buffer.from('two'));
      network.clock.advance(100);
      expect(b.delivered.at(-1)).toBe('one');
      expect(a.delivered.at(-1)).toBe('two');
    }
  });

  it('follow a peer to its new address, and only to where it surely is', () => {
    const { network, a, b, toA, toB } = pair(undefined, false);
    toB.send(HELLO);
    network.clock.advance(100);
    expect(toA.endpoint).toEqual(a.endpoint);
    const stale = network.sent.find(({ datagram }) => datagram[0] === 4)!.datagram;
    const elsewhere = Buffer.from([198, 51, 100, 7, 1, 1]);
    expect(b.device.receive(stale, elsewhere)).toBe('replayed');
    const damaged = Buffer.from(stale);
    damaged.writeUInt32LE(99, 8);
    expect(b.device.receive(damaged, elsewhere)).toBe('bad-seal');
    expect(toA.endpoint).toEqual(a.endpoint);
    a.endpoint = elsewhere;
    toB.send(HELLO);
    network.clock.advance(100);
    expect(toA.endpoint).toEqual(elsewhere);
    toA.send(Buffer.from('there'));
    network.clock.advance(100);
    expect(a.delivered).toEqual(['there']);
  });

  it('begin at the same time and both get through', () => {
    const { network, a, b, toA, toB } = pair();
    toB.send(Buffer.from('to b'));
    toA.send(Buffer.from('to a'));
    network.clock.advance(100);
    expect([a.delivered, b.delivered]).toEqual([['to a'], ['to b']]);
    for (let count = 0; count < 20; count++) {
      toB.send(Buffer.from(`${count}`));
      toA.send(Buffer.from(`${count}`));
      network.clock.advance(1_000);
    }
    expect([a.delivered.length, b.delivered.length]).toEqual([21, 21]);
  });

  it('give up a peer that does not answer, and drop what waited', () => {
    const { network, a, toB } = pair();
    network.passes = () => false;
    for (let count = 0; count < 200; count++) toB.send(HELLO);
    network.clock.advance(96_000);
    expect(toB.dropped).toBe(200);
    expect(a.device.held.indexes).toBe(0);
    expect(network.lines().length).toBe(19);
    network.clock.advance(600_000);
    expect(network.lines()).toEqual([]);
  });

  it('get through loss of a third of all datagrams', () => {
    const { network, a, b, toA, toB } = pair();
    let number = 0;
    network.passes = () => number++ % 3 !== 1;
    for (let second = 0; second < 600; second++) {
      toB.send(Buffer.from(`${second}`));
      toA.send(Buffer.from(`${second}`));
      network.clock.advance(1_000);
    }
    for (const { delivered } of [a, b]) {
      expect(delivered.length).toBeGreaterThan(350);
      expect(new Set(delivered).size).toBe(delivered.length);
    }
  });

  it('ask for a cookie under load, and talk to who returns it', () => {
    const { network, b, toB } = pair();
    const noise = initiation(7, Buffer.alloc(108, 1));
    new MacStamper(b.own.publicKey).stamp(noise, 0);
    const flood = () => {
      for (let count = 0; count < LOAD_MESSAGES_PER_SECOND + 1; count++)
        b.device.receive(noise, Buffer.from([203, 0, 113, 1, 0, 1]));
    };
    flood();
    toB.send(HELLO);
    network.clock.advance(100);
    expect(network.lines().slice(-2)).toEqual(['0.000 a>b 1 148', '0.001 b>a 3 64']);
    network.clock.advance(4_850);
    flood();
    network.clock.advance(100);
    expect(network.lines()).toEqual(
      expect.arrayContaining(['5.000 a>b 1 148', '5.001 b>a 2 92', '5.002 a>b 4 48']),
    );
    expect(b.delivered).toEqual(['hello']);
  });

  it('do not begin while the timestamp cannot be written, and try again', () => {
    const { network, a, b, toB } = pair();
    const descriptor = {
      set: () => {
        throw new Error('disk full');
      },
      get: () => undefined,
      configurable: true,
    };
    Object.defineProperty(a, 'ceilingUs', descriptor);
    toB.send(HELLO);
    network.clock.advance(7_000);
    expect(a.failures.length).toBe(2);
    expect(network.lines()).toEqual([]);
    Object.defineProperty(a, 'ceilingUs', { value: undefined, writable: true });
    network.clock.advance(5_000);
    expect(b.delivered).toEqual(['hello']);
  });

  it('send signs of life without end where they are asked for', () => {
    const network = new WireguardNetwork();
    const [a, b] = [network.add(), network.add()];
    const toB = a.device.addPeer({
      publicKey: b.own.publicKey,
      endpoint: b.endpoint,
      persistentKeepaliveMs: 25_000,
    });
    b.device.addPeer({ publicKey: a.own.publicKey });
    toB.send(HELLO);
    network.clock.advance(3_600_000);
    const data = network.sent.filter(({ from, datagram }) => from === 0 && datagram[0] === 4);
    expect(data.length).toBeGreaterThan(3_600 / 25 - 10);
    expect(b.results.every((result) => result === 'accepted')).toBe(true);
  });

  it('have no peer with a key that nobody can have', () => {
    const { network, a } = pair();
    const peer = a.device.addPeer({
      publicKey: Buffer.alloc(32),
      endpoint: Buffer.from([192, 0, 2, 2, 1, 1]),
    });
    peer.send(HELLO);
    network.clock.advance(200_000);
    expect(network.lines()).toEqual([]);
    expect(peer.dropped).toBe(1);
  });

  it('keep nothing of a peer that was removed', () => {
    const { network, a, b, toB } = pair();
    toB.send(HELLO);
    network.clock.advance(100);
    a.device.removePeer(b.own.publicKey);
    expect(a.device.held).toEqual({ indexes: 0, ciphers: 0 });
    const last = network.sent.at(-1)!;
    expect(a.device.receive(last.datagram, b.endpoint)).toBe('unknown-index');
    network.lines();
    network.clock.advance(600_000);
    expect(network.lines().filter((line) => line.includes(' a>'))).toEqual([]);
  });
});

describe('what must be refused', () => {
  /** A session with traffic behind it, and all that was sent. */
  function busy(): Pair & { readonly wire: { readonly to: Host; readonly datagram: Buffer }[] } {
    const made = pair();
    const { network, a, b, toA, toB } = made;
    for (let count = 0; count < 10; count++) {
      toB.send(Buffer.from(`${count}`));
      toA.send(Buffer.from(`${count}`));
      network.clock.advance(50);
    }
    return { ...made, wire: network.sent.map(({ to, datagram }) => ({ to: to === 0 ? a : b, datagram })) };
  }

  const ATTACKER = Buffer.from([203, 0, 113, 66, 6, 6]);

  function state({ a, b, toA, toB }: Pair): unknown {
    return [a, b]
      .map(({ device, delivered }) => [device.held, delivered.length])
      .concat([
        [toA.endpoint, toB.endpoint, toA.session?.localIndex, toB.session?.localIndex],
        [toA.dropped, toB.dropped, toA.waiting, toB.waiting],
      ] as never);
  }

  function expectUnchanged(made: Pair, before: unknown): void {
    expect(state(made)).toEqual(before);
    const { network, a, b, toA, toB } = made;
    toB.send(Buffer.from('still'));
    toA.send(Buffer.from('there'));
    network.clock.advance(10);
    expect([a.delivered.at(-1), b.delivered.at(-1)]).toEqual(['there', 'still']);
  }

  it('is all that was sent before, however often it comes again', () => {
    const made = busy();
    const before = state(made);
    for (let round = 0; round < 3; round++) {
      made.network.clock.advance(30);
      for (const { to, datagram } of made.wire)
        expect(['replayed', 'unknown-index', 'bad-seal']).toContain(to.device.receive(datagram, ATTACKER));
    }
    expectUnchanged(made, before);
  });

  it('is all that comes back to who sent it', () => {
    const made = busy();
    const before = state(made);
    for (const { to, datagram } of made.wire) {
      const sender = to === made.a ? made.b : made.a;
      expect(['bad-mac1', 'unknown-index', 'bad-seal']).toContain(sender.device.receive(datagram, ATTACKER));
    }
    expectUnchanged(made, before);
  });

  it('is what was meant for, or comes from, a third', () => {
    const made = busy();
    const before = state(made);
    const { network, a, b } = made;
    const c = network.add();
    const toA = c.device.addPeer({ publicKey: a.own.publicKey, endpoint: a.endpoint });
    toA.send(HELLO);
    network.clock.advance(10);
    expect(a.results.at(-1)).toBe('unknown-peer');
    for (const { datagram } of made.wire)
      expect(['bad-mac1', 'unknown-index']).toContain(c.device.receive(datagram, b.endpoint));
    c.device.close();
    expectUnchanged(made, before);
  });

  it('is what is damaged anywhere, or cut, or longer', () => {
    const made = busy();
    const before = state(made);
    const damage = fc.record({
      which: fc.nat(made.wire.length - 1),
      bit: fc.nat(1_500 * 8),
      cut: fc.option(fc.nat(150)),
      more: fc.uint8Array({ maxLength: 40 }),
    });
    fc.assert(
      fc.property(damage, ({ which, bit, cut, more }) => {
        const { to, datagram } = made.wire[which]!;
        const copy = Buffer.concat([datagram.subarray(0, cut ?? datagram.length), more]);
        if (copy.length > 0) copy[(bit >> 3) % copy.length]! ^= 1 << (bit & 7);
        expect(to.device.receive(copy, ATTACKER)).not.toBe('accepted');
      }),
      { numRuns: 2_000 },
    );
    made.network.lines();
    expectUnchanged(made, before);
  });

  it('is noise of each type and length', () => {
    const made = busy();
    const before = state(made);
    const noise = fc.record({
      type: fc.nat(5),
      index: fc.constantFrom(0, made.toA.session!.localIndex, made.toB.session!.localIndex),
      bytes: fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        ...[64, 92, 148].map((length) => fc.uint8Array({ minLength: length, maxLength: length })),
      ),
    });
    fc.assert(
      fc.property(noise, ({ type, index, bytes }) => {
        const datagram = Buffer.from(bytes);
        if (datagram.length >= 12) {
          datagram.writeUInt32LE(type, 0);
          datagram.writeUInt32LE(index, 4);
          if (type === 2) datagram.writeUInt32LE(index, 8);
        }
        for (const { device } of [made.a, made.b])
          expect(device.receive(datagram, ATTACKER)).not.toBe('accepted');
      }),
      { numRuns: 1_000 },
    );
    expectUnchanged(made, before);
  });
});

describe('padding', () => {
  it('reaches to a multiple of 16, but not over the MTU', () => {
    expect([0, 1, 16, 17, 1_409, 1_420].map((bytes) => paddingOf(bytes, 1_420))).toEqual([
      0, 15, 0, 15, 11, 0,
    ]);
    expect(paddingOf(1_430, 1_420)).toBe(0);
  });
});
