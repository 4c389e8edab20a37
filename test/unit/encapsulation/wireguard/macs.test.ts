/** MACs, cookies, and who is admitted under load. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  COOKIES_PER_SECOND,
  HandshakeAdmission,
  LOAD_MESSAGES_PER_SECOND,
} from '../../../../src/encapsulation/wireguard/admission.ts';
import { MESSAGE } from '../../../../src/encapsulation/wireguard/data-message.ts';
import { COOKIE_LIFETIME_MS, MacChecker, MacStamper } from '../../../../src/encapsulation/wireguard/macs.ts';
import {
  COOKIE_REPLY_BYTES,
  INITIATION_BYTES,
  initiation,
  messageType,
  receiverIndex,
} from '../../../../src/encapsulation/wireguard/messages.ts';
import {
  BURST_MESSAGES,
  MESSAGES_PER_SECOND,
  SourceLimit,
} from '../../../../src/encapsulation/wireguard/source-limit.ts';
import { generateKeyPair } from '../../../../src/encapsulation/wireguard/x25519.ts';

const SOURCE = Buffer.from([192, 0, 2, 1, 0xca, 0x6c]);
const OTHER_PORT = Buffer.from([192, 0, 2, 1, 0xca, 0x6d]);

function pair(): { readonly stamper: MacStamper; readonly checker: MacChecker } {
  const { publicKey } = generateKeyPair();
  return { stamper: new MacStamper(publicKey), checker: new MacChecker(publicKey) };
}

function message(sender = 0x0102_0304): Buffer {
  return initiation(sender, Buffer.alloc(INITIATION_BYTES - 40, 5));
}

function stamped(stamper: MacStamper, nowMs: number): Buffer {
  const datagram = message();
  stamper.stamp(datagram, nowMs);
  return datagram;
}

describe('cookies', () => {
  it('let a message pass from the address that they were sent to, and from no other', () => {
    const { stamper, checker } = pair();
    const first = stamped(stamper, 0);
    expect(checker.hasMac1(first)).toBe(true);
    expect(checker.hasMac2(first, SOURCE, 0)).toBe(false);
    const reply = checker.reply(first, SOURCE, 0);
    expect(reply.length).toBe(COOKIE_REPLY_BYTES);
    expect(messageType(reply)).toBe(MESSAGE.cookieReply);
    expect(receiverIndex(reply)).toBe(0x0102_0304);
    expect(stamper.takeCookie(reply, 0)).toBe(true);
    const second = stamped(stamper, 1_000);
    expect(checker.hasMac2(second, SOURCE, 1_000)).toBe(true);
    expect(checker.hasMac2(second, OTHER_PORT, 1_000)).toBe(false);
  });

  it('are good for two minutes at both ends', () => {
    const { stamper, checker } = pair();
    const first = stamped(stamper, 0);
    stamper.takeCookie(checker.reply(first, SOURCE, 0), 0);
    const last = stamped(stamper, COOKIE_LIFETIME_MS - 1);
    expect(checker.hasMac2(last, SOURCE, COOKIE_LIFETIME_MS - 1)).toBe(true);
    expect(checker.hasMac2(last, SOURCE, COOKIE_LIFETIME_MS)).toBe(false);
    const late = stamped(stamper, COOKIE_LIFETIME_MS);
    expect(late.subarray(-16)).toEqual(Buffer.alloc(16));
    // The secret is another by now: what was given before is worth nothing.
    checker.reply(late, SOURCE, COOKIE_LIFETIME_MS);
    expect(checker.hasMac2(last, SOURCE, COOKIE_LIFETIME_MS)).toBe(false);
  });

  it('are taken once, and only as the answer to what was sent last', () => {
    const { stamper, checker } = pair();
    expect(stamper.takeCookie(checker.reply(message(), SOURCE, 0), 0)).toBe(false);
    const older = stamped(stamper, 0);
    const newer = message(9);
    stamper.stamp(newer, 0);
    expect(stamper.takeCookie(checker.reply(older, SOURCE, 0), 0)).toBe(false);
    const reply = checker.reply(newer, SOURCE, 0);
    expect(stamper.takeCookie(reply, 0)).toBe(true);
    expect(stamper.takeCookie(reply, 0)).toBe(false);
  });

  it('are refused with any bit changed, and then the true one is still taken', () => {
    const { stamper, checker } = pair();
    const reply = checker.reply(stamped(stamper, 0), SOURCE, 0);
    fc.assert(
      fc.property(fc.integer({ min: 8 * 8, max: 8 * COOKIE_REPLY_BYTES - 1 }), (bit) => {
        const damaged = Buffer.from(reply);
        damaged[bit >> 3]! ^= 1 << (bit & 7);
        expect(stamper.takeCookie(damaged, 0)).toBe(false);
      }),
    );
    expect(stamper.takeCookie(reply, 0)).toBe(true);
  });
});

describe('admission', () => {
  const nobody = () => false;

  it('answers nobody without a good MAC1, whatever the load', () => {
    const { stamper, checker } = pair();
    const admission = new HandshakeAdmission(checker);
    const good = stamped(stamper, 0);
    for (let count = 0; count <= LOAD_MESSAGES_PER_SECOND; count++) admission.admit(good, SOURCE, 0, nobody);
    const bad = Buffer.from(good);
    bad[120]! ^= 1;
    expect(admission.admit(bad, SOURCE, 0, nobody)).toBe('bad-mac1');
    expect(admission.admit(good, SOURCE, 0, nobody)).toHaveProperty('reply');
  });

  it('asks for a cookie under load, then limits each source, and asks nothing a second later', () => {
    const { stamper, checker } = pair();
    const admission = new HandshakeAdmission(checker);
    const first = stamped(stamper, 0);
    for (let count = 0; count < LOAD_MESSAGES_PER_SECOND; count++)
      expect(admission.admit(first, SOURCE, 0, nobody)).toBe('admitted');
    const asked = admission.admit(first, SOURCE, 0, nobody);
    if (typeof asked === 'string') throw new Error(asked);
    expect(stamper.takeCookie(asked.reply, 0)).toBe(true);
    const second = stamped(stamper, 0);
    for (let count = 0; count < BURST_MESSAGES; count++)
      expect(admission.admit(second, SOURCE, 0, nobody)).toBe('admitted');
    expect(admission.admit(second, SOURCE, 0, nobody)).toBe('rate-limited');
    // What is forged gets no share of it.
    expect(admission.admit(first, SOURCE, 0, nobody)).toHaveProperty('reply');
    expect(admission.admit(first, SOURCE, 1_000, nobody)).toBe('admitted');
  });

  it('gives cookies to so many strangers a second, and to whoever is a peer', () => {
    const { stamper, checker } = pair();
    const admission = new HandshakeAdmission(checker);
    const datagram = stamped(stamper, 0);
    for (let count = 0; count < LOAD_MESSAGES_PER_SECOND; count++)
      admission.admit(datagram, SOURCE, 0, nobody);
    const answers = Array.from({ length: 2 * COOKIES_PER_SECOND }, (_, i) =>
      admission.admit(datagram, Uint8Array.of(198, 18, i >> 8, i & 0xff, 1, 1), 1, nobody),
    );
    expect(answers.filter((answer) => typeof answer === 'object')).toHaveLength(COOKIES_PER_SECOND);
    expect(answers.at(-1)).toBe('unanswered');
    expect(admission.admit(datagram, SOURCE, 1, () => true)).toHaveProperty('reply');
    expect(admission.admit(datagram, SOURCE, 1_001, nobody)).toBe('admitted');
  });
});

describe('the rate of a source', () => {
  it('is that of an IPv4 address, or of an IPv6 network', () => {
    const limit = new SourceLimit();
    const v6 = (last: number): Buffer =>
      Buffer.concat([Buffer.from('20010db8000000010000000000000000', 'hex'), Buffer.of(1, last)]);
    const takes = (source: Buffer): number => {
      let taken = 0;
      while (taken < 100 && limit.takes(source, 0)) taken++;
      return taken;
    };
    expect(takes(SOURCE)).toBe(BURST_MESSAGES);
    expect(takes(OTHER_PORT)).toBe(0);
    expect(takes(Buffer.from([192, 0, 2, 2, 0, 1]))).toBe(BURST_MESSAGES);
    expect(takes(v6(1))).toBe(BURST_MESSAGES);
    const neighbour = v6(2);
    neighbour[15] = 9;
    expect(takes(neighbour)).toBe(0);
    neighbour[7] = 9;
    expect(takes(neighbour)).toBe(BURST_MESSAGES);
  });

  it('fills with time, and not above its burst', () => {
    const limit = new SourceLimit();
    for (let count = 0; count < BURST_MESSAGES; count++) expect(limit.takes(SOURCE, 0)).toBe(true);
    expect(limit.takes(SOURCE, 1_000 / MESSAGES_PER_SECOND - 1)).toBe(false);
    expect(limit.takes(SOURCE, 1_000 / MESSAGES_PER_SECOND + 1)).toBe(true);
    let taken = 0;
    while (limit.takes(SOURCE, 3_600_000)) taken++;
    expect(taken).toBe(BURST_MESSAGES);
  });

  it('is kept for a bounded number of sources', () => {
    const limit = new SourceLimit();
    const source = Buffer.alloc(6);
    for (let address = 0; address < 40_000; address++) {
      source.writeUInt32BE(address);
      limit.takes(source, 0);
    }
    expect(limit.size).toBe(16_384);
  });
});
