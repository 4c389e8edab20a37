import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FrameReader, writeFrames } from '../../../src/link/frame-stream.ts';
import { generateClusterKey, type KeyRing, loadKeyRing, parseKeyRing } from '../../../src/link/key-ring.ts';
import { REPLAY_WINDOW, ReplayGuard } from '../../../src/link/replay-guard.ts';
import { type FrameHeader, newSession, refusalFrame, Sealer } from '../../../src/link/seal.ts';
import { silentLogger } from '../../../src/log/logger.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const ringOf = (...fills: number[]): KeyRing => ({
  keys: fills.map((fill) => new Uint8Array(32).fill(fill)),
});
const header: FrameHeader = {
  kind: 'datagram',
  last: true,
  session: '0102030405060708',
  receiver: 0x0b0c0d0e,
  number: 0x0009_ffff_fffe,
};
const payload = Buffer.from('hello');

describe('frames', () => {
  it('clear ones have the golden bytes', () => {
    expect(hex(new Sealer('warren', undefined).seal(header, payload))).toBe(
      '5726' + '0009fffffffe' + '0102030405060708' + '0b0c0d0e' + '06' + hex(Buffer.from('warrenhello')),
    );
  });

  it('sealed ones have the golden bytes', () => {
    // Computed by Python's `cryptography` from the description in proto/wire.md.
    const sealer = new Sealer('warren', ringOf(7));
    expect(hex(sealer.seal(header, payload))).toBe(
      '57270009fffffffe01020304050607080b0c0d0e6a860a31efad7c73b9aec7afd49b0df43e012ac237',
    );
    const request = { session: '1112131415161718', number: 0x30000 };
    expect(hex(sealer.seal({ ...header, kind: 'response' }, payload, { request }))).toBe(
      '572f0009fffffffe01020304050607080b0c0d0e0127627887e15cc186758592f9bb4b44ded9da2c54',
    );
  });

  // Those of kinds 1 to 4 are what 0.1.0 sends, and must stay as they are.
  it.each([
    ['datagram', 'clear', '572400000005000101020304050607080b0c0d0e0677617272656e68656c6c6f'],
    [
      'datagram',
      'sealed',
      '572500000005000101020304050607080b0c0d0e47c1dda8e95675ce12cb5bdcc442d061fd8f287e6c',
    ],
    ['request', 'clear', '572800000005000101020304050607080b0c0d0e0677617272656e68656c6c6f'],
    [
      'request',
      'sealed',
      '572900000005000101020304050607080b0c0d0e283dd2664437f5196e146b6dddf33bb87b17ffeb3e',
    ],
    ['response', 'clear', '572c00000005000101020304050607080b0c0d0e0677617272656e68656c6c6f'],
    [
      'response',
      'sealed',
      '572d00000005000101020304050607080b0c0d0ef230df12a61b5d9c86a3598dca03938494d5c4ec95',
    ],
    ['call', 'clear', '573400000005000101020304050607080b0c0d0e0677617272656e68656c6c6f'],
    ['call', 'sealed', '573500000005000101020304050607080b0c0d0ed759dfe7a36bf37c3ba1851800e7f30a22afe7e781'],
    ['answer', 'clear', '573800000005000101020304050607080b0c0d0e0677617272656e68656c6c6f'],
    [
      'answer',
      'sealed',
      '573900000005000101020304050607080b0c0d0e23a7edce5c93a89ca1dd5396319340feeb30e50946',
    ],
  ] as const)('of kind %s, %s, have the golden bytes', (kind, form, bytes) => {
    const sealer = new Sealer('warren', form === 'sealed' ? ringOf(7) : undefined);
    const stream = { ...header, kind, last: false, number: 0x5_0001 };
    const request = { session: '1112131415161718', number: 0x30000 };
    const isAnswer = kind === 'response' || kind === 'answer';
    expect(hex(sealer.seal(stream, payload, isAnswer ? { request } : {}))).toBe(bytes);
    expect(sealer.open(Buffer.from(bytes, 'hex'), request)).toMatchObject({ ok: true, header: stream });
  });

  it.each([
    ['key', '573200000000000001020304050607080000000001'],
    ['clear', '573200000000000001020304050607080000000002'],
    ['sealed', '573200000000000001020304050607080000000003'],
    ['cluster', '573200000000000001020304050607080000000004'],
    ['version', '573200000000000001020304050607080000000005'],
    ['busy', '573200000000000001020304050607080000000006'],
    ['invalid', '573200000000000001020304050607080000000007'],
    ['session', '573200000000000001020304050607080000000008'],
    ['replayed', '573200000000000001020304050607080000000009'],
  ] as const)('that refuse as %s have the golden bytes', (code, bytes) => {
    expect(hex(refusalFrame(code, header.session))).toBe(bytes);
  });

  it('round-trip in every form', () => {
    for (const sealer of [new Sealer('warren', undefined), new Sealer('warren', ringOf(1, 2))]) {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
          const opened = sealer.open(sealer.seal(header, bytes));
          expect(opened).toMatchObject({ ok: true, header });
          if (opened.ok) expect(hex(opened.payload)).toBe(hex(bytes));
          expect(sealer.seal(header, bytes).length).toBe(bytes.length + sealer.overheadBytes);
        }),
        { numRuns: 50 },
      );
    }
  });

  it('open under any key of the ring, and are sealed under the first', () => {
    const frame = new Sealer('warren', ringOf(2)).seal(header, payload);
    expect(new Sealer('warren', ringOf(1, 2)).open(frame).ok).toBe(true);
    const ring = ringOf(1, 2);
    const newer = new Sealer('warren', ring).seal(header, payload);
    expect(new Sealer('warren', ringOf(2)).open(newer)).toEqual({ ok: false, reason: 'key' });
    // Where the other side may know no more than an older key, under that one, while it is in the ring.
    const older = new Sealer('warren', ring).seal(header, payload, { key: ring.keys[1] });
    expect(new Sealer('warren', ringOf(2)).open(older).ok).toBe(true);
    const gone = new Sealer('warren', ring).seal(header, payload, { key: new Uint8Array(32).fill(3) });
    expect(new Sealer('warren', ringOf(1)).open(gone).ok).toBe(true);
  });

  it('are refused with the reason', () => {
    const sealed = new Sealer('warren', ringOf(1));
    const clear = new Sealer('warren', undefined);
    const frame = sealed.seal(header, payload);
    expect(clear.open(frame)).toEqual({ ok: false, reason: 'sealed' });
    expect(sealed.open(clear.seal(header, payload))).toEqual({ ok: false, reason: 'clear' });
    expect(new Sealer('other', ringOf(1)).open(frame)).toEqual({ ok: false, reason: 'key' });
    expect(new Sealer('other', undefined).open(clear.seal(header, payload))).toEqual({
      ok: false,
      reason: 'cluster',
    });
    expect(sealed.open(refusalFrame('session', header.session))).toEqual({
      ok: false,
      reason: 'refused',
      code: 'session',
      session: header.session,
    });
    expect(sealed.open(Buffer.alloc(19))).toEqual({ ok: false, reason: 'short' });
    expect(sealed.open(Buffer.alloc(60))).toEqual({ ok: false, reason: 'magic' });
    expect(sealed.open(Buffer.concat([Buffer.of(0x57, 0x47), frame.subarray(2)]))).toEqual({
      ok: false,
      reason: 'version',
    });
  });

  it('of a response open for who asked, and for the one request', () => {
    const sealer = new Sealer('warren', ringOf(1));
    const request = { session: newSession(), number: 0x10000 };
    const response = { ...header, kind: 'response' } as const;
    const frame = sealer.seal(response, payload, { request });
    expect(sealer.open(frame, request).ok).toBe(true);
    const others = [undefined, { ...request, number: 0x20000 }, { ...request, session: newSession() }];
    for (const other of others) expect(sealer.open(frame, other)).toEqual({ ok: false, reason: 'key' });
  });

  it('of two sessions are sealed under two keys, and of two kinds with two nonces', () => {
    const sealer = new Sealer('warren', ringOf(1));
    const sealedBytes = (one: FrameHeader) => hex(sealer.seal(one, Buffer.alloc(64)).subarray(20, 84));
    const streams = [
      header,
      { ...header, session: newSession() },
      { ...header, kind: 'request' } as const,
      { ...header, number: header.number + 1 },
    ].map(sealedBytes);
    expect(new Set(streams).size).toBe(streams.length);
  });

  it('are not sealed any more once the numbers are used up', () => {
    const sealer = new Sealer('warren', ringOf(1));
    expect(sealer.open(sealer.seal({ ...header, number: 2 ** 48 - 1 }, payload)).ok).toBe(true);
    expect(() => sealer.seal({ ...header, number: 2 ** 48 }, payload)).toThrow(/has sent all the frames/);
  });

  it('open however many sessions there were', () => {
    const opener = new Sealer('warren', ringOf(1));
    const frame = new Sealer('warren', ringOf(1)).seal(header, payload);
    for (let i = 0; i < 25_000; i++) {
      const session = i.toString(16).padStart(16, '1');
      expect(opener.open(opener.seal({ ...header, session }, payload)).ok).toBe(true);
    }
    expect(opener.open(frame).ok).toBe(true);
  });

  it('do not open with any byte changed, or cut anywhere', () => {
    const sealer = new Sealer('warren', ringOf(1));
    const frame = sealer.seal(header, payload);
    for (let i = 0; i < frame.length; i++) {
      const changed = Buffer.from(frame);
      changed[i]! ^= 0x01;
      expect(sealer.open(changed).ok).toBe(false);
      expect(sealer.open(frame.subarray(0, i)).ok).toBe(false);
    }
  });

  it('survive any bytes', () => {
    const openers = [new Sealer('warren', undefined), new Sealer('warren', ringOf(1))];
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.boolean(), (bytes, isOurs) => {
        const frame = isOurs
          ? Buffer.concat([Buffer.of(0x57, 0x20 | ((bytes[0] ?? 0) & 0x1f)), bytes])
          : bytes;
        for (const opener of openers) opener.open(frame);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('frames in a stream', () => {
  it('arrive whole, however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
        (frames, cuts) => {
          const stream = writeFrames(frames);
          const reader = new FrameReader();
          const received: Uint8Array[] = [];
          for (let offset = 0, i = 0; offset < stream.length; i++) {
            const end = offset + cuts[i % cuts.length]!;
            reader.read(stream.subarray(offset, end), (frame) => received.push(new Uint8Array(frame)) > 0);
            offset = end;
          }
          expect(received).toEqual(frames);
        },
      ),
    );
  });

  it('refuses a length over the limit before anything of it has come', () => {
    expect(new FrameReader().read(Buffer.from('00010001', 'hex'), () => true)).toBe(false);
    expect(new FrameReader().read(Buffer.from('ffffffff', 'hex'), () => true)).toBe(false);
    expect(new FrameReader().read(Buffer.from('00010000', 'hex'), () => true)).toBe(true);
  });
});

describe('replay guard', () => {
  it('accepts each number once, within the window, like a plain set would', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 400 }), (numbers) => {
        const guard = new ReplayGuard();
        const seen = new Set<number>();
        let highest = 0;
        for (const number of numbers) {
          const expected = !seen.has(number) && (seen.size === 0 || number > highest - REPLAY_WINDOW);
          expect(guard.accept('a', number)).toBe(expected);
          seen.add(number);
          highest = Math.max(highest, number);
        }
      }),
    );
  });

  it('keeps sessions apart, and their number bounded', () => {
    const guard = new ReplayGuard();
    expect(guard.accept('a', 5)).toBe(true);
    expect(guard.accept('b', 5)).toBe(true);
    expect(guard.accept('a', 5)).toBe(false);
    for (let i = 0; i < 25_000; i++) guard.accept(`other-${i}`, 1);
    expect(guard.accept('a', 5)).toBe(true);
  });
});

describe('key ring', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'warren-key-test-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('reads one or more keys, with comments', () => {
    const path = join(folder, 'cluster.key');
    const [first, second] = [generateClusterKey(), generateClusterKey()];
    writeFileSync(path, `# new\n${first}\n\n${second}\n`, { mode: 0o600 });
    const { keys } = loadKeyRing(path, silentLogger);
    expect(keys.map((key) => Buffer.from(key).toString('base64'))).toEqual([first, second]);
  });

  it('never falls back: missing, empty, wrong and writable files are errors that do not show a key', () => {
    const path = join(folder, 'cluster.key');
    expect(() => loadKeyRing(path, silentLogger)).toThrow(/cannot read the cluster key/);
    expect(() => parseKeyRing('# none\n', 'file')).toThrow(/^file has no key in it$/);
    const short = Buffer.alloc(16, 7).toString('base64');
    expect(() => parseKeyRing(`\n${short}`, 'file')).toThrow(
      'file line 2: a cluster key is 32 bytes in base64',
    );
    expect(() => parseKeyRing('not a key!', 'file')).toThrow(/line 1/);
    expect(() => parseKeyRing(`${generateClusterKey()}\n`.repeat(9), 'file')).toThrow(/holds 9 keys/);
    writeFileSync(path, generateClusterKey());
    chmodSync(path, 0o620);
    expect(() => loadKeyRing(path, silentLogger)).toThrow(/can be changed by others/);
    // What a crash leaves between making the file and writing it.
    const empty = join(folder, 'empty.key');
    writeFileSync(empty, '\n', { mode: 0o600 });
    expect(() => loadKeyRing(empty, silentLogger)).toThrow(`the cluster key file ${empty} is empty`);
    expect(() => loadKeyRing(folder, silentLogger)).toThrow(/is not a cluster key file/);
  });
});
