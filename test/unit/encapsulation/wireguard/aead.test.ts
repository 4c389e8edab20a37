/** The engines that seal data: the same bytes from each, in whatever pieces, and nothing opened that was not sealed so. */
import { chacha20poly1305 } from '@noble/ciphers/chacha.js';
import fc from 'fast-check';
import koffi from 'koffi';
import { afterAll, describe, expect, it } from 'vitest';
import type { AeadEngine } from '../../../../src/encapsulation/wireguard/aead.ts';
import { writeNonce } from '../../../../src/encapsulation/wireguard/aead.ts';
import { chooseAead, givesKnownAnswers } from '../../../../src/encapsulation/wireguard/choose-aead.ts';
import { NodeAead } from '../../../../src/encapsulation/wireguard/node-aead.ts';
import { Arena } from '../../../../src/sys/arena.ts';
import { findEvp } from '../../../../src/sys/evp.ts';

const chosen = chooseAead();
const engines: readonly AeadEngine[] = [chosen.engine, new NodeAead()];
const PLACE = 4_096;

describe('the choice of an engine', () => {
  it('is OpenSSL itself here', () => {
    expect(chosen.fallback).toBeUndefined();
    expect(chosen.engine.name).toBe('openssl');
  });

  it('is node:crypto where OpenSSL gives wrong answers', () => {
    const evp = findEvp()!;
    const broken = [
      { ...evp, encryptFinal: () => 0 },
      { ...evp, decryptFinal: () => 1 },
      { ...evp, newContext: () => 0 },
      { ...evp, chacha20Poly1305: () => 0 },
      // A tag of its own.
      {
        ...evp,
        control: (...[context, command, bytes, at]: Parameters<typeof evp.control>) => {
          const result = evp.control(context, command, bytes, at);
          return command === 0x10 ? 1 & evp.control(context, command, bytes - 1, at + 1) : result;
        },
      },
    ];
    for (const functions of broken) {
      const { engine, fallback } = chooseAead(functions);
      expect(engine.name).toBe('node:crypto');
      expect(fallback).toContain('known answers');
    }
  });

  it('finds the known answers in each', () => {
    for (const engine of engines) expect(givesKnownAnswers(engine)).toBe(true);
  });
});

it('leaves no error of a forgery in the list that node:crypto reads on the same thread', () => {
  const peek = koffi.load(null).func('unsigned long ERR_peek_error()') as () => number;
  const memory = new Arena(64);
  const opener = chosen.engine.opener(new Uint8Array(32), memory);
  expect(opener.open(0, 0, 48)).toBe(false);
  expect(peek()).toBe(0);
  opener.destroy();
});

describe.each(engines.map((engine) => ({ name: engine.name, engine })))('sealing by $name', ({ engine }) => {
  const source = new Arena(2 * PLACE);
  const output = new Arena(PLACE);
  const key = Buffer.from(Array.from({ length: 32 }, (_, at) => at * 3));
  const sealer = engine.sealer(key, source, output);
  const opener = engine.opener(key, output);
  afterAll(() => {
    sealer.destroy();
    opener.destroy();
  });

  it('gives what another implementation gives, from pieces and with padding, and opens it', () => {
    const pieces = fc.record({
      counter: fc.oneof(fc.nat(10), fc.maxSafeNat()),
      head: fc.uint8Array({ maxLength: 200 }),
      tail: fc.uint8Array({ maxLength: 1_500 }),
      padding: fc.nat(15),
      to: fc.nat(64),
    });
    fc.assert(
      fc.property(pieces, ({ counter, head, tail, padding, to }) => {
        source.bytes.set(head, 7);
        source.bytes.set(tail, PLACE);
        const bytes = head.length + tail.length + padding;
        expect(sealer.seal(counter, 7, head.length, PLACE, tail.length, padding, to)).toBe(true);
        const sealed = output.bytes.slice(to, to + bytes + 16);
        const nonce = new Uint8Array(12);
        writeNonce(new DataView(nonce.buffer), 0, counter);
        const plaintext = Buffer.concat([head, tail, Buffer.alloc(padding)]);
        expect(sealed).toEqual(chacha20poly1305(key, nonce).encrypt(plaintext));

        expect(opener.open(counter, to, sealed.length)).toBe(true);
        expect(Buffer.from(output.bytes.subarray(to, to + bytes))).toEqual(plaintext);
      }),
    );
  });

  it('opens nothing with a changed bit, another counter or a byte less, and then still the true one', () => {
    source.bytes.fill(5);
    sealer.seal(9, 0, 100, 0, 0, 12, 0);
    const sealed = output.bytes.slice(0, 128);
    const opens = (counter: number, bytes: Uint8Array): boolean => {
      output.bytes.set(bytes);
      return opener.open(counter, 0, bytes.length);
    };
    for (let bit = 0; bit < 8 * sealed.length; bit += 5) {
      const damaged = Uint8Array.from(sealed);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      expect(opens(9, damaged)).toBe(false);
    }
    expect(opens(10, sealed)).toBe(false);
    for (let bytes = 0; bytes < sealed.length; bytes++)
      expect(opens(9, sealed.subarray(0, bytes))).toBe(false);
    expect(opens(9, sealed)).toBe(true);
  });

  it('seals where the packet lies', () => {
    source.bytes.fill(6, 100, 200);
    const inPlace = engine.sealer(key, source, source);
    expect(inPlace.seal(3, 100, 100, 0, 0, 0, 100)).toBe(true);
    sealer.seal(3, 300, 0, 0, 0, 0, 0);
    source.bytes.fill(6, 300, 400);
    sealer.seal(3, 300, 100, 0, 0, 0, 0);
    expect(source.bytes.slice(100, 216)).toEqual(output.bytes.slice(0, 116));
    inPlace.destroy();
  });

  it('is over once destroyed', () => {
    const one = engine.sealer(key, source, output);
    const other = engine.opener(key, output);
    for (const held of [one, other]) {
      held.destroy();
      held.destroy();
    }
    expect(one.seal(0, 0, 10, 0, 0, 0, 0)).toBe(false);
    expect(other.open(0, 0, 26)).toBe(false);
  });
});
