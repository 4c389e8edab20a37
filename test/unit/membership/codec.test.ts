import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { idOfPublicKey, verifySignature } from '../../../src/identity.ts';
import { parseEndpoint } from '../../../src/ip/endpoint.ts';
import { fingerprintOf } from '../../../src/link/key-ring-state.ts';
import { pack, packGroups, unpack } from '../../../src/link/packing.ts';
import { decodeMessage, encodeMessage, type Message, pingTargetOf } from '../../../src/membership/codec.ts';
import { messageType, nodeRecordType } from '../../../src/membership/proto.ts';
import { decodeRecord, encodeRecord, signRecord, verifyRecord } from '../../../src/membership/record.ts';
import { golden, goldenIdentity } from './golden.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const idA = goldenIdentity.id;
const clusterKey = new Uint8Array(32).fill(3);
const idB = '00112233445566778899aabbccddeeff';

const samples: readonly Message[] = [
  { kind: 'ping', sequence: 1, target: pingTargetOf(idB) },
  { kind: 'pingRequest', sequence: 2, target: idA, endpoint: parseEndpoint('192.0.2.9:7946') },
  { kind: 'ack', sequence: 0xffff_ffff, toStranger: false },
  { kind: 'ack', sequence: 5, toStranger: true },
  { kind: 'nack', sequence: 0 },
  { kind: 'record', signed: golden.signed },
  { kind: 'suspect', member: idA, incarnation: 7, from: idB },
  { kind: 'dead', member: idA, incarnation: 0xffff_ffff, from: idB },
  {
    kind: 'syncRequest',
    source: idA,
    mode: 'compare',
    digest: { high: 1, low: 0xffff_ffff },
    buckets: undefined,
  },
  {
    kind: 'syncRequest',
    source: idA,
    mode: 'buckets',
    digest: { high: 0, low: 7 },
    buckets: new Uint8Array(32).fill(5),
  },
  { kind: 'syncResponse', source: idB, same: true, bucketDigests: undefined },
  { kind: 'syncResponse', source: idB, same: false, bucketDigests: new Uint8Array(2048).fill(9) },
  { kind: 'memberState', signed: golden.signed, status: 'suspect', statusAgeSeconds: 12 },
  { kind: 'memberState', signed: golden.signed, status: 'remembered', statusAgeSeconds: 86_400 },
  { kind: 'forget', member: idA, generation: 4, ageSeconds: 90 },
  {
    kind: 'keyRing',
    ring: {
      keys: [
        { fingerprint: fingerprintOf(clusterKey), version: 2, key: clusterKey },
        { fingerprint: 'aabbccddeeff0011', version: 3, key: undefined },
      ],
      primary: fingerprintOf(clusterKey),
      primaryVersion: 2,
    },
  },
  { kind: 'admission', signed: { bytes: new Uint8Array(90).fill(1), signature: new Uint8Array(64).fill(2) } },
];

describe('gossip messages', () => {
  it.each(samples)('round-trips $kind', (message) => {
    expect(decodeMessage(encodeMessage(message))).toEqual({ ok: true, value: message });
  });

  it('has the golden bytes', () => {
    expect(hex(encodeMessage(samples[0]!))).toBe('0a0a' + '0d01000000' + '1533221100');
    expect(hex(encodeMessage(samples[6]!))).toBe(`3226` + `0a10${idA}` + `1007` + `1a10${idB}`);
    expect(hex(encodeMessage(samples[8]!))).toBe(
      `421e` + `0a10${idA}` + `1002` + `1d01000000` + `25ffffffff`,
    );
    expect(hex(encodeMessage(samples[2]!))).toBe('1a05' + '0dffffffff');
    expect(hex(encodeMessage(samples[3]!))).toBe('1a07' + '0d05000000' + '1001');
    expect(hex(encodeMessage(samples[4]!))).toBe('2200');
  });

  it('survives any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const decoded = decodeMessage(bytes);
        if (decoded.ok) expect(decodeMessage(encodeMessage(decoded.value))).toEqual(decoded);
      }),
      { numRuns: 3000 },
    );
  });

  it('survives any change and any cut of good messages', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...samples),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        fc.nat(),
        (message, place, flip, cut) => {
          const bytes = new Uint8Array(encodeMessage(message));
          bytes[place % bytes.length]! ^= flip;
          decodeMessage(bytes);
          const decoded = decodeMessage(bytes.subarray(0, cut % bytes.length));
          if (decoded.ok) expect(decoded.value.kind).toBeTypeOf('string');
        },
      ),
      { numRuns: 3000 },
    );
  });

  const id = new Uint8Array(16);
  const outOfBounds: [string, Record<string, unknown>][] = [
    [
      'an id of 15 bytes',
      { suspect: { member: new Uint8Array(15), incarnation: 1, from: new Uint8Array(16) } },
    ],
    ['no id', { suspect: { incarnation: 1, from: new Uint8Array(16) } }],
    ['no body', {}],
    ['incarnation 0', { suspect: { member: id, incarnation: 0, from: id } }],
    [
      'port 0',
      {
        pingRequest: {
          sequence: 1,
          target: id,
          endpoint: { address: new Uint8Array([1, 2, 3, 4]) },
        },
      },
    ],
    [
      'port 65536',
      {
        pingRequest: {
          sequence: 1,
          target: id,
          endpoint: { address: new Uint8Array([1, 2, 3, 4]), port: 65_536 },
        },
      },
    ],
    [
      'an address of 5 bytes',
      {
        pingRequest: {
          sequence: 1,
          target: id,
          endpoint: { address: new Uint8Array(5), port: 1 },
        },
      },
    ],
    [
      'a multicast endpoint',
      {
        pingRequest: {
          sequence: 1,
          target: id,
          endpoint: { address: new Uint8Array([224, 0, 0, 1]), port: 1 },
        },
      },
    ],
    ['no endpoint', { pingRequest: { sequence: 1, target: id } }],
    ['a sync mode of the future', { syncRequest: { source: id, mode: 5 } }],
    [
      'a status of the future',
      { memberState: { record: { record: new Uint8Array(3), signature: new Uint8Array(64) }, status: 6 } },
    ],
    ['a signature of 63 bytes', { record: { record: new Uint8Array(3), signature: new Uint8Array(63) } }],
    ['an empty record', { record: { signature: new Uint8Array(64) } }],
    ['a record of 705 bytes', { record: { record: new Uint8Array(705), signature: new Uint8Array(64) } }],
    ['a mask without its mode', { syncRequest: { source: id, mode: 2, buckets: new Uint8Array(32) } }],
    ['a mask of 31 bytes', { syncRequest: { source: id, mode: 3, buckets: new Uint8Array(31) } }],
    ['digests cut short', { syncResponse: { source: id, bucketDigests: new Uint8Array(2047) } }],
    [
      'a key that is not the one of its fingerprint',
      {
        keyRing: {
          keys: [{ fingerprint: new Uint8Array(8), version: 1, key: new Uint8Array(32) }],
          primary: new Uint8Array(8),
        },
      },
    ],
    [
      '1,033 keys',
      {
        keyRing: {
          keys: Array(1033).fill({ fingerprint: new Uint8Array(8), version: 1 }),
          primary: new Uint8Array(8),
        },
      },
    ],
  ];
  // What 0.1.0 asked over the gossip: targets, pods, keys.
  it.each([11, 12, 13, 16, 17])('refuses field %i, which is retired', (field) => {
    const tag = (field << 3) | 2;
    const header = tag < 0x80 ? [tag] : [(tag & 0x7f) | 0x80, tag >> 7];
    const bytes = Uint8Array.of(...header, 18, 0x0a, 16, ...id);
    expect(decodeMessage(bytes)).toEqual({ ok: false, reason: 'field' });
  });

  it.each(outOfBounds)('refuses %s', (_what, raw) => {
    expect(decodeMessage(messageType.encode(raw).finish())).toEqual({ ok: false, reason: 'field' });
  });

  it('tells what is no protobuf from what is out of bounds', () => {
    expect(decodeMessage(Uint8Array.of(0x0a, 0x7f))).toEqual({ ok: false, reason: 'malformed' });
  });
});

describe('node records', () => {
  it('round-trips, and carries a signature that holds for these bytes only', () => {
    const decoded = decodeRecord(golden.signed.bytes);
    expect(decoded).toEqual({ ok: true, value: golden.record });
    expect(verifyRecord(golden.record, golden.signed)).toBe(true);
    for (let i = 0; i < golden.signed.bytes.length; i++) {
      const bytes = new Uint8Array(golden.signed.bytes);
      bytes[i]! ^= 1;
      expect(verifyRecord(golden.record, { ...golden.signed, bytes })).toBe(false);
    }
    // The signature is not over the bare record.
    const { publicKey } = goldenIdentity;
    expect(verifySignature(publicKey, golden.signed.bytes, golden.signed.signature)).toBe(false);
  });

  it('has the golden bytes', () => {
    expect(hex(goldenIdentity.publicKey)).toBe(
      'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    );
    expect(goldenIdentity.id).toBe(idOfPublicKey(goldenIdentity.publicKey));
    expect(hex(golden.signed.bytes)).toBe(
      `0a20${hex(goldenIdentity.publicKey)}` +
        '1007' +
        '1a066e6f64652d61' +
        '22090a04c0000201108a3e' +
        '2a150a1020010db800000000000000000000000110b625' +
        '3001' +
        '382a' +
        '422a0802' +
        '12080a040a2a07001018' +
        '12140a10fd4200000000000700000000000000001040' +
        '1880f2d6ca06' +
        '2001' +
        '5001' +
        '5a080102030405060708' +
        '6003',
    );
  });

  it('says that it offers post-quantum keys, and by which one if it has made one', () => {
    const { id: _id, publicKey: _publicKey, ...content } = golden.record;
    const keyHash = new Uint8Array(32).fill(5);
    for (const [postQuantum, bytes] of [
      [{}, '820100'],
      [{ keyHash }, `8201220a20${'05'.repeat(32)}`],
    ] as const) {
      const { record, signed } = signRecord(goldenIdentity, { ...content, postQuantum });
      expect(hex(signed.bytes)).toBe(hex(golden.signed.bytes) + bytes);
      expect(decodeRecord(signed.bytes)).toEqual({ ok: true, value: record });
    }
  });

  it('says which network policies it has, if any', () => {
    const { id: _id, publicKey: _publicKey, ...content } = golden.record;
    const { record, signed } = signRecord(goldenIdentity, { ...content, policyHash: '0a'.repeat(16) });
    expect(hex(signed.bytes)).toBe(`${hex(golden.signed.bytes)}8a0110${'0a'.repeat(16)}`);
    expect(decodeRecord(signed.bytes)).toEqual({ ok: true, value: record });
  });

  it('survives any bytes, and any change', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 700 }), fc.nat(), fc.nat(255), (bytes, place, flip) => {
        decodeRecord(bytes);
        const changed = new Uint8Array(golden.signed.bytes);
        changed[place % changed.length]! ^= flip;
        const decoded = decodeRecord(changed);
        if (decoded.ok) expect(decodeRecord(encodeRecord(decoded.value))).toEqual(decoded);
      }),
      { numRuns: 3000 },
    );
  });

  it('refuses what is out of bounds', () => {
    const decoded = nodeRecordType.decode(golden.signed.bytes);
    const raw = decoded.$type.toObject(decoded) as Record<string, unknown>;
    const lease = raw.lease as Record<string, unknown>;
    const changes: Record<string, unknown>[] = [
      { publicKey: new Uint8Array(31) },
      { incarnation: 0 },
      { name: '' },
      { name: '-a' },
      { vni: 1 << 24 },
      { gossip: undefined },
      { vtep: { address: new Uint8Array(4), port: 1 } },
      { session: new Uint8Array(7) },
      { postQuantum: { keyHash: new Uint8Array(31) } },
      { postQuantum: { keyHash: new Uint8Array(33) } },
      { policyHash: new Uint8Array(15) },
      { policyHash: new Uint8Array(17) },
      { lease: { ...lease, state: 0 } },
      { lease: { ...lease, prefixes: [] } },
      { lease: { ...lease, prefixes: Array(17).fill({ address: new Uint8Array(4), length: 0 }) } },
      { lease: { ...lease, prefixes: [{ address: new Uint8Array([10, 0, 0, 1]), length: 24 }] } },
      { lease: { ...lease, prefixes: [{ address: new Uint8Array(4), length: 33 }] } },
    ];
    for (const change of changes) {
      const bytes = nodeRecordType.encode({ ...raw, ...change }).finish();
      expect(decodeRecord(bytes), JSON.stringify(change)).toEqual({ ok: false, reason: 'field' });
    }
  });
});

describe('packing', () => {
  it('round-trips, and groups within the limit', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 90 }), { minLength: 1, maxLength: 40 }), (messages) => {
        const back: Uint8Array[] = [];
        for (const group of packGroups(messages, 100)) {
          expect(group.length).toBeLessThanOrEqual(100);
          expect(unpack(group, (message) => back.push(new Uint8Array(message)))).toBe(true);
        }
        expect(back).toEqual(messages);
      }),
    );
  });

  it('notices a cut, and survives any bytes', () => {
    const packed = pack([Uint8Array.of(1, 2, 3)]);
    expect(unpack(packed.subarray(0, 4), () => {})).toBe(false);
    expect(unpack(packed.subarray(0, 1), () => {})).toBe(false);
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void unpack(bytes, () => {})));
  });
});
