/**
 * Agents of an earlier release and today's understand each other: every frame that those sent opens, every message in
 * it means the same, every record verifies; and what today's write is what those would have written, or what they skip.
 */
import { describe, expect, it } from 'vitest';
import { parseKeyRing } from '../../../src/link/key-ring.ts';
import { fingerprintOf } from '../../../src/link/key-ring-state.ts';
import { unpack } from '../../../src/link/packing.ts';
import { type FrameHeader, type FrameRequest, Sealer } from '../../../src/link/seal.ts';
import { decodeMessage, encodeMessage, type Message } from '../../../src/membership/codec.ts';
import {
  decodeRecord,
  encodeRecord,
  MAX_RECORD_BYTES,
  signRecord,
  verifyRecord,
} from '../../../src/membership/record.ts';
import type { NodeRecord, SignedRecord } from '../../../src/membership/types.ts';
import { goldenRelease } from '../../helpers/golden-release.ts';
import { golden, goldenIdentity } from '../membership/golden.ts';

const release = goldenRelease('0.1.0');
const CLUSTER = 'golden';
/**
 * Requests that have moved out of gossip. An agent that no longer serves them may refuse them, as any other message
 * that it does not know; nothing else may be refused.
 */
const MAY_BE_REFUSED = new Set([
  'targetsRequest',
  'targetsResponse',
  'podTarget',
  'keysRequest',
  'keysResponse',
]);

interface Opened {
  readonly header: FrameHeader;
  readonly messages: readonly Uint8Array[];
}

/** All frames of a capture, opened; and the reasons of those that were refusals. */
function openAll(name: 'sealed' | 'clear'): { opened: Opened[]; refusals: string[] } {
  const keys = name === 'sealed' ? parseKeyRing(release.clusterKeys, 'the golden keys') : undefined;
  const sealer = new Sealer(CLUSTER, keys);
  const opened: Opened[] = [];
  const refusals: string[] = [];
  const open = (frame: Uint8Array, request?: FrameRequest): FrameHeader | undefined => {
    const result = sealer.open(frame, request);
    if (!result.ok) {
      if (result.reason !== 'refused') throw new Error(`a frame did not open: ${result.reason}`);
      refusals.push(result.code);
      return undefined;
    }
    const { header, payload, key } = result;
    // The other way round: nonces are not random, so what would be sealed today is the very same frame.
    expect(
      Buffer.from(sealer.seal(header, payload, { key, ...(request && { request }) })).equals(frame),
    ).toBe(true);
    const messages: Uint8Array[] = [];
    expect(unpack(payload, (message) => messages.push(message))).toBe(true);
    opened.push({ header, messages });
    return header;
  };
  const { datagrams, streams } = release.capture(name);
  for (const datagram of datagrams) expect(open(datagram)?.kind).toBe('datagram');
  for (const { requests, responses } of streams) {
    const [request] = requests.map((frame) => open(frame));
    expect(request?.kind).toBe('request');
    for (const response of responses) expect(open(response, request)?.kind).not.toBe('request');
  }
  return { opened, refusals };
}

/** What a message is by the release's own gossip.proto. */
function kindThen(message: Uint8Array): string {
  const raw = release.messageType('Message').decode(message) as unknown as { body?: string };
  return raw.body ?? 'nothing';
}

/** Today's reading; undefined for what may be refused, and is. */
function readNow(message: Uint8Array): Message | undefined {
  const kind = kindThen(message);
  const decoded = decodeMessage(message);
  if (!decoded.ok) {
    expect(MAY_BE_REFUSED, `a ${kind} is refused: ${decoded.reason}`).toContain(kind);
    return undefined;
  }
  expect(decoded.value.kind).toBe(kind);
  return decoded.value;
}

function recordOf(signed: SignedRecord): NodeRecord {
  const decoded = decodeRecord(signed.bytes);
  if (!decoded.ok) throw new Error(`a record is refused: ${decoded.reason}`);
  return decoded.value;
}

const COMMON_KINDS = [
  ...[
    'ack',
    'dead',
    'forget',
    'memberState',
    'nack',
    'ping',
    'pingRequest',
    'podTarget',
    'record',
    'suspect',
  ],
  ...['syncRequest', 'syncResponse', 'targetsRequest', 'targetsResponse'],
];

describe.each([
  {
    name: 'sealed',
    kinds: [...COMMON_KINDS, 'keyRing', 'keysRequest', 'keysResponse'],
    names: ['golden-a', 'golden-b', 'golden-c', 'golden-d'],
    left: 'golden-c',
    forgotten: 'golden-d',
  },
  {
    name: 'clear',
    kinds: COMMON_KINDS,
    names: ['golden-a', 'golden-b', 'golden-c'],
    left: 'golden-b',
    forgotten: 'golden-c',
  },
] as const)('gossip of 0.1.0, $name', ({ name, kinds, names, left, forgotten }) => {
  const { opened, refusals } = openAll(name);
  const all = opened.flatMap(({ messages }) => messages);
  const messages = all.map(readNow).filter((message) => message !== undefined);
  const records = messages
    .filter((message) => message.kind === 'record' || message.kind === 'memberState')
    .map(({ signed }) => ({ signed, record: recordOf(signed) }));

  it('opens, frame by frame, but for those that send a node to the other run of its peer', () => {
    expect(new Set(opened.map(({ header }) => header.kind))).toEqual(
      new Set(['datagram', 'request', 'response']),
    );
    expect(new Set(refusals)).toEqual(new Set(name === 'sealed' ? ['session'] : []));
    expect(opened.every(({ messages }) => messages.length > 0)).toBe(true);
  });

  it('has messages of every kind, each read as what it is', () => {
    expect([...new Set(all.map(kindThen))].sort()).toEqual([...kinds].sort());
    const seen = messages.flatMap((message) => (message.kind === 'syncRequest' ? message.mode : []));
    expect([...new Set(seen)].sort()).toEqual(['buckets', 'claim', 'compare', 'full']);
  });

  it('is what would be written today, byte for byte', () => {
    for (const bytes of all) {
      const message = readNow(bytes);
      if (message) expect(Buffer.from(encodeMessage(message)).equals(bytes), message.kind).toBe(true);
    }
  });

  it('has records that verify, and that would be written alike today', () => {
    for (const { record, signed } of records) {
      expect(verifyRecord(record, signed)).toBe(true);
      expect(record).toMatchObject({ mtu: undefined, inventory: undefined });
      expect(Buffer.from(encodeRecord(record)).equals(signed.bytes)).toBe(true);
    }
    expect([...new Set(records.map(({ record }) => record.name))].sort()).toEqual(names);
  });

  it('tells of claims, leases, a death, one who was forgotten and one who left', () => {
    const idOf = (node: string) => records.find(({ record }) => record.name === node)!.record.id;
    const states = new Set(records.map(({ record }) => record.lease?.state));
    expect(states).toEqual(new Set(['claiming', 'active', undefined]));
    const inUse = new Set(records.map(({ record }) => record.lease?.inUse));
    expect(inUse).toContain(true);
    expect(inUse).toContain(false);
    expect(new Set(records.filter(({ record }) => record.left).map(({ record }) => record.name))).toEqual(
      new Set([left]),
    );
    const dead = messages.flatMap((message) => (message.kind === 'dead' ? message.member : []));
    expect(new Set(dead)).toEqual(new Set([idOf(forgotten)]));
    const forgets = messages.flatMap((message) =>
      message.kind === 'forget' ? `${message.member} ${message.generation}` : [],
    );
    expect(new Set(forgets)).toEqual(new Set([`${idOf(forgotten)} 0`]));
    const generations = records.filter(({ record }) => record.name === forgotten);
    // In clear text the forgotten one came back.
    expect(new Set(generations.map(({ record }) => record.generation))).toEqual(
      new Set(name === 'clear' ? [0, 1] : [0]),
    );
  });
});

it('the cluster key was changed in the sealed capture: added, made primary, the old one removed', () => {
  const [old, added] = parseKeyRing(release.clusterKeys, 'the golden keys').keys.map(fingerprintOf);
  const rings = openAll('sealed')
    .opened.flatMap(({ messages }) => messages.map(readNow))
    .flatMap((message) => (message?.kind === 'keyRing' ? message.ring : []));
  const steps = rings.map(
    ({ keys, primary }) =>
      `${primary === added ? 'used' : 'added'} ${keys.map(({ key }) => (key ? 1 : 0)).join('')}`,
  );
  expect(new Set(steps)).toEqual(new Set(['added ', 'added 1', 'used 1', 'used 10']));
  expect(new Set(rings.flatMap(({ keys }) => keys.map(({ fingerprint }) => fingerprint)))).toEqual(
    new Set([old, added]),
  );
});

describe('an agent of 0.1.0', () => {
  const { id: _id, publicKey: _publicKey, ...content } = golden.record;
  const newer = signRecord(goldenIdentity, {
    ...content,
    mtu: 8950,
    inventory: { version: 7, hash: '000102030405060708090a0b0c0d0e0f' },
    postQuantum: { keyHash: new Uint8Array(32).fill(5) },
  });

  it("skips what is new in today's record, and reads the rest", () => {
    const then = release.messageType('NodeRecord');
    const read = (bytes: Uint8Array) => then.toObject(then.decode(bytes));
    expect(newer.signed.bytes.length).toBeGreaterThan(golden.signed.bytes.length);
    expect(read(newer.signed.bytes)).toEqual(read(golden.signed.bytes));
    expect(read(newer.signed.bytes)).toMatchObject({ name: 'node-a', incarnation: 7, vni: 42 });
    expect(newer.signed.bytes.length).toBeLessThanOrEqual(MAX_RECORD_BYTES);
  });

  it('passes that record on as it came, with nothing lost', () => {
    const then = release.messageType('Message');
    const sent = encodeMessage({ kind: 'record', signed: newer.signed });
    const passedOn = then.encode(then.decode(sent)).finish();
    const received = readNow(passedOn);
    if (received?.kind !== 'record') throw new Error('no record');
    expect(recordOf(received.signed)).toEqual(newer.record);
    expect(verifyRecord(newer.record, received.signed)).toBe(true);
  });

  it.each([
    ['newer', newer.signed],
    ['golden', golden.signed],
  ] as const)('knows the %s record in a push-pull', (_name, signed) => {
    const then = release.messageType('Message');
    const sent = encodeMessage({ kind: 'memberState', signed, status: 'alive', statusAgeSeconds: 3 });
    expect(then.toObject(then.decode(sent))).toMatchObject({
      memberState: { record: { record: Buffer.from(signed.bytes) }, status: 1, statusAge: 3 },
    });
  });
});

it('gives 0.1.0 nothing that it would take for something else: it passes over what approvers say', () => {
  const signed = { bytes: new Uint8Array(120), signature: new Uint8Array(64) };
  expect(kindThen(encodeMessage({ kind: 'admission', signed }))).toBe('nothing');
});
