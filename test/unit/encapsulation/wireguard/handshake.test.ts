/** Handshakes between two sides in memory: what is agreed, and everything that must be refused without a trace. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Agreement,
  claimedInitiation,
  Handshake,
  type InitiationRefusal,
  MIN_INITIATION_GAP_MS,
} from '../../../../src/encapsulation/wireguard/handshake.ts';
import { MacChecker, MacStamper } from '../../../../src/encapsulation/wireguard/macs.ts';
import {
  INITIATION_BYTES,
  messageType,
  RESPONSE_BYTES,
} from '../../../../src/encapsulation/wireguard/messages.ts';
import { NO_KEYS_YET, onePresharedKey } from '../../../../src/encapsulation/wireguard/preshared-keys.ts';
import { Timestamps } from '../../../../src/encapsulation/wireguard/tai64n.ts';
import { generateKeyPair, type KeyPair } from '../../../../src/encapsulation/wireguard/x25519.ts';

const timestamps = new Timestamps(() => 1_767_225_600_000, { load: () => undefined, save: () => {} });

interface Side {
  readonly own: KeyPair;
  readonly handshake: Handshake;
  readonly checker: MacChecker;
}

function sides(presharedKey?: Buffer, other = presharedKey): { readonly a: Side; readonly b: Side } {
  const [keyA, keyB] = [generateKeyPair(), generateKeyPair()];
  const side = (own: KeyPair, { publicKey }: KeyPair, psk: Buffer | undefined): Side => ({
    own,
    handshake: new Handshake({
      own,
      publicKey,
      presharedKeys: onePresharedKey(psk),
      stamper: new MacStamper(publicKey),
    }),
    checker: new MacChecker(own.publicKey),
  });
  return { a: side(keyA, keyB, presharedKey), b: side(keyB, keyA, other) };
}

function respond(to: Side, datagram: Buffer, nowMs = 0, index = 22): ReturnType<Handshake['respond']> {
  const claimed = claimedInitiation(to.own, datagram);
  return claimed === undefined ? 'bad-seal' : to.handshake.respond(datagram, claimed, index, nowMs);
}

function expectAgreed(a: Agreement | undefined, b: Agreement): void {
  expect(a?.keys.send).toEqual(b.keys.receive);
  expect(a?.keys.receive).toEqual(b.keys.send);
  expect(a?.localIndex).toBe(b.remoteIndex);
  expect(a?.remoteIndex).toBe(b.localIndex);
}

function accepted(
  answer: ReturnType<Handshake['respond']>,
): Exclude<ReturnType<Handshake['respond']>, InitiationRefusal> {
  if (typeof answer === 'string') throw new Error(`refused: ${answer}`);
  return answer;
}

describe('a handshake', () => {
  it.each([undefined, Buffer.alloc(32, 7)])(
    'agrees on keys and indexes, pre-shared key %o',
    (presharedKey) => {
      const { a, b } = sides(presharedKey);
      const datagram = a.handshake.initiate(0xffff_fff1, timestamps.next(), 0)!;
      expect(datagram.length).toBe(INITIATION_BYTES);
      expect(b.checker.hasMac1(datagram)).toBe(true);
      const answer = accepted(respond(b, datagram));
      expect(answer.datagram.length).toBe(RESPONSE_BYTES);
      expect(a.checker.hasMac1(answer.datagram)).toBe(true);
      expectAgreed(a.handshake.complete(answer.datagram), answer.agreement);
      expect(a.handshake.pendingIndex).toBeUndefined();
    },
  );

  it('agrees on nothing where the pre-shared keys differ', () => {
    const { a, b } = sides(Buffer.alloc(32, 1), Buffer.alloc(32, 2));
    const answer = accepted(respond(b, a.handshake.initiate(1, timestamps.next(), 0)!));
    expect(a.handshake.complete(answer.datagram)).toBeUndefined();
    expect(a.handshake.pendingIndex).toBe(1);
  });

  it('ends with whichever pre-shared key the other has answered with, also one that came meanwhile', () => {
    const [newest, previous, third] = [1, 2, 3].map((byte) => Buffer.alloc(32, byte)) as [
      Buffer,
      Buffer,
      Buffer,
    ];
    for (const respondWith of [newest, previous]) {
      const { a, b } = sides(third);
      const datagram = a.handshake.initiate(1, timestamps.next(), 0)!;
      b.handshake.presharedKeys = { respondWith, accept: [] };
      const answer = accepted(respond(b, datagram));
      expect(a.handshake.complete(answer.datagram)).toBeUndefined();
      a.handshake.presharedKeys = { respondWith: previous, accept: [newest, previous] };
      expectAgreed(a.handshake.complete(answer.datagram), answer.agreement);
    }
  });

  it('is not answered without a pre-shared key where one is needed, and is once there is one', () => {
    const { a, b } = sides(Buffer.alloc(32, 1));
    const datagram = a.handshake.initiate(1, timestamps.next(), 0)!;
    b.handshake.presharedKeys = NO_KEYS_YET;
    expect(respond(b, datagram)).toBe('no-preshared-key');
    b.handshake.presharedKeys = onePresharedKey(Buffer.alloc(32, 1));
    const answer = accepted(respond(b, datagram));
    expectAgreed(a.handshake.complete(answer.datagram), answer.agreement);
  });

  it('of each side at the same time gives both the keys of both', () => {
    const { a, b } = sides();
    const fromA = a.handshake.initiate(1, timestamps.next(), 0)!;
    const fromB = b.handshake.initiate(2, timestamps.next(), 0)!;
    const byB = accepted(respond(b, fromA, 0, 12));
    const byA = accepted(respond(a, fromB, 0, 11));
    expectAgreed(a.handshake.complete(byB.datagram), byB.agreement);
    expectAgreed(b.handshake.complete(byA.datagram), byA.agreement);
  });

  it('refuses an initiation again, and an older one, also after the newer', () => {
    const { a, b } = sides();
    const older = a.handshake.initiate(1, timestamps.next(), 0)!;
    const newer = a.handshake.initiate(2, timestamps.next(), 0)!;
    accepted(respond(b, newer));
    expect(respond(b, newer, 1_000)).toBe('replayed');
    expect(respond(b, older, 1_000)).toBe('replayed');
    accepted(respond(b, a.handshake.initiate(3, timestamps.next(), 0)!, 1_000));
  });

  it('refuses initiations that come too fast, and does not hold them against the next', () => {
    const { a, b } = sides();
    accepted(respond(b, a.handshake.initiate(1, timestamps.next(), 0)!, 0));
    const fast = a.handshake.initiate(2, timestamps.next(), 0)!;
    expect(respond(b, fast, MIN_INITIATION_GAP_MS - 1)).toBe('too-fast');
    accepted(respond(b, fast, MIN_INITIATION_GAP_MS));
  });

  it('takes a response once', () => {
    const { a, b } = sides();
    const answer = accepted(respond(b, a.handshake.initiate(1, timestamps.next(), 0)!));
    expect(a.handshake.complete(answer.datagram)).toBeDefined();
    expect(a.handshake.complete(answer.datagram)).toBeUndefined();
  });

  it('takes no response to an initiation that was given up', () => {
    const { a, b } = sides();
    const first = accepted(respond(b, a.handshake.initiate(1, timestamps.next(), 0)!));
    a.handshake.initiate(2, timestamps.next(), 0);
    expect(a.handshake.complete(first.datagram)).toBeUndefined();
    expect(a.handshake.pendingIndex).toBe(2);
    a.handshake.giveUp();
    expect(a.handshake.complete(first.datagram)).toBeUndefined();
  });

  it('has no initiation for a key that is none', () => {
    const own = generateKeyPair();
    const zero = Buffer.alloc(32);
    const presharedKeys = onePresharedKey();
    const handshake = new Handshake({ own, publicKey: zero, presharedKeys, stamper: new MacStamper(zero) });
    expect(handshake.initiate(1, timestamps.next(), 0)).toBeUndefined();
  });

  it('opens nothing that is reflected', () => {
    const { a, b } = sides();
    const initiation = a.handshake.initiate(1, timestamps.next(), 0)!;
    expect(respond(a, initiation)).toBe('bad-seal');
    expect(a.checker.hasMac1(initiation)).toBe(false);
    const answer = accepted(respond(b, initiation));
    expect(b.handshake.complete(answer.datagram)).toBeUndefined();
    expect(b.checker.hasMac1(answer.datagram)).toBe(false);
  });

  it('is not disturbed by damaged messages: each is refused, and the true one goes through after', () => {
    const { a, b } = sides();
    const initiation = a.handshake.initiate(1, timestamps.next(), 0)!;
    // Bytes 4 to 7 are the index, which MAC1 alone holds; the MACs are not the handshake's to look at.
    const authenticated = fc.record({
      at: fc.integer({ min: 8, max: 115 }),
      bit: fc.integer({ min: 0, max: 7 }),
    });
    fc.assert(
      fc.property(authenticated, ({ at, bit }) => {
        expect(respond(b, flipped(initiation, at, bit))).toBe('bad-seal');
      }),
    );
    const answer = accepted(respond(b, initiation));
    const ofAnswer = fc.record({ at: fc.integer({ min: 8, max: 59 }), bit: fc.integer({ min: 0, max: 7 }) });
    fc.assert(
      fc.property(ofAnswer, ({ at, bit }) => {
        expect(a.handshake.complete(flipped(answer.datagram, at, bit))).toBeUndefined();
      }),
    );
    expectAgreed(a.handshake.complete(answer.datagram), answer.agreement);
  });

  it('lets any changed bit of a message be seen by its MAC1, if not by its length', () => {
    const { a, b } = sides();
    const initiation = a.handshake.initiate(1, timestamps.next(), 0)!;
    const answer = accepted(respond(b, initiation)).datagram;
    for (const [datagram, { checker }] of [
      [initiation, b],
      [answer, a],
    ] as const) {
      for (let at = 0; at < datagram.length - 16; at++)
        expect(checker.hasMac1(flipped(datagram, at, at % 8))).toBe(false);
      for (let bytes = 0; bytes < datagram.length; bytes++)
        expect(messageType(datagram.subarray(0, bytes))).toBeUndefined();
      expect(messageType(Buffer.concat([datagram, Buffer.alloc(1)]))).toBeUndefined();
    }
  });

  it('reads random messages without a throw and without a trace', () => {
    const { a, b } = sides();
    const initiation = a.handshake.initiate(1, timestamps.next(), 0)!;
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: INITIATION_BYTES, maxLength: INITIATION_BYTES }),
        fc.uint8Array({ minLength: RESPONSE_BYTES, maxLength: RESPONSE_BYTES }),
        (first, second) => {
          expect(respond(b, Buffer.from(first))).toBe('bad-seal');
          const forged = Buffer.from(second);
          forged.writeUInt32LE(1, 8);
          expect(a.handshake.complete(forged)).toBeUndefined();
        },
      ),
    );
    const answer = accepted(respond(b, initiation));
    expectAgreed(a.handshake.complete(answer.datagram), answer.agreement);
  });
});

function flipped(datagram: Buffer, at: number, bit: number): Buffer {
  const copy = Buffer.from(datagram);
  copy[at]! ^= 1 << bit;
  return copy;
}
