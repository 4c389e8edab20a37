/** Any bytes at all, given to a node that runs: no crash, no change of state, and everything counted. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseEndpoint } from '../../../src/ip/endpoint.ts';
import { FrameReader } from '../../../src/link/frame-stream.ts';
import { generateClusterKey, type KeyRing, parseKeyRing } from '../../../src/link/key-ring.ts';
import { fingerprintOf } from '../../../src/link/key-ring-state.ts';
import { pack } from '../../../src/link/packing.ts';
import { FRAME_KIND, type FrameKind, MAX_FRAME_BYTES, receiverOf, Sealer } from '../../../src/link/seal.ts';
import { decodeMessage, encodeMessage, type Message, pingTargetOf } from '../../../src/membership/codec.ts';
import { SimulatedCluster, type SimulatedNode } from '../../../src/simulate/cluster.ts';
import { RecordedAnswer } from '../../helpers/recorded-answer.ts';
import { golden } from './golden.ts';

const stranger = parseEndpoint('203.0.113.9:7946');
const parameters = { numRuns: 1500, seed: 20_261_124 };

/** All that others or this node itself would notice. */
function stateOf(node: SimulatedNode): string {
  const members = node.membership.members().map(({ id, status, incarnation }) => [id, status, incarnation]);
  return JSON.stringify([members, node.leases.state().status, node.subnets]);
}

function refusals(node: SimulatedNode): number {
  const counters = Object.entries(node.membership.counters());
  return counters.reduce((sum, [name, count]) => sum + (name.startsWith('refused') ? count : 0), 0);
}

describe.each(['clear', 'sealed'])('a %s node that is sent', (kind) => {
  let node: SimulatedNode;
  let keyRing: KeyRing | undefined;
  let sealer: Sealer;

  beforeEach(async () => {
    keyRing = kind === 'sealed' ? parseKeyRing(generateClusterKey(), 'test') : undefined;
    sealer = new Sealer('simulated', keyRing);
    const cluster = new SimulatedCluster({ seed: 1, ...(keyRing && { keyRing }) });
    [node] = (await cluster.startAll(3)) as [SimulatedNode];
    cluster.clock.advance(5_000);
  });
  afterEach(() => node.stop());

  let number = 1;
  const frame = (frameKind: FrameKind, payload: Uint8Array) =>
    sealer.seal(
      {
        kind: frameKind,
        last: true,
        session: '07'.repeat(8),
        receiver: receiverOf(node.membership.session),
        // Of a datagram, or of a stream's first frame.
        number: 0x1_0000 * number++,
      },
      payload,
    );

  const deliver = (bytes: Uint8Array) => {
    node.host.handlers!.datagram(stranger, bytes);
    const inbound = node.host.handlers!.accept(stranger, new RecordedAnswer());
    inbound.frame(bytes);
  };

  it('any bytes', () => {
    const before = stateOf(node);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1500 }), (bytes) => {
        const refused = refusals(node);
        deliver(bytes);
        expect(refusals(node)).toBeGreaterThan(refused);
      }),
      parameters,
    );
    expect(stateOf(node)).toBe(before);
  });

  it('frames that open and hold any bytes, and any lengths', () => {
    const before = stateOf(node);
    const kinds = Object.keys(FRAME_KIND).filter((name) => name !== 'refusal') as FrameKind[];
    fc.assert(
      fc.property(fc.constantFrom(...kinds), fc.uint8Array({ maxLength: 1300 }), (frameKind, payload) => {
        deliver(frame(frameKind, payload));
        deliver(frame(frameKind, pack([payload])));
      }),
      parameters,
    );
    expect(stateOf(node)).toBe(before);
  });

  it('good messages with any byte changed', () => {
    const before = stateOf(node);
    const messages = [
      encodeMessage({ kind: 'record', signed: golden.signed }),
      encodeMessage({ kind: 'memberState', signed: golden.signed, status: 'dead', statusAgeSeconds: 1 }),
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...messages),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (message, at, flip) => {
          const changed = new Uint8Array(message);
          // The first bytes are the framing; what follows is covered by the signature, or is the signature.
          const place = 8 + (at % (golden.signed.bytes.length - 8));
          changed[place]! ^= flip;
          deliver(frame('datagram', pack([changed])));
          deliver(frame('request', pack([changed])));
        },
      ),
      parameters,
    );
    expect(stateOf(node)).toBe(before);
  });
});

describe("any byte changed in a member's own messages", () => {
  it('is refused once and changes nothing, or is a message within its bounds', async () => {
    const keyRing = parseKeyRing(generateClusterKey(), 'test');
    const sealer = new Sealer('simulated', keyRing);
    const cluster = new SimulatedCluster({ seed: 1, keyRing });
    const [a, b, c] = (await cluster.startAll(3)) as [SimulatedNode, SimulatedNode, SimulatedNode];
    cluster.clock.advance(5_000);
    // The session that b runs under, as its datagrams have it.
    const { handlers } = a.host;
    let session: string | undefined;
    a.host.handlers = {
      ...handlers!,
      datagram: (from, bytes) => {
        const opened = sealer.open(bytes);
        if (opened.ok && from.address.value === b.host.endpoint.address.value)
          session = opened.header.session;
        handlers!.datagram(from, bytes);
      },
    };
    cluster.clock.advance(2_000);
    // What is said of a and c is out of date, so that what is still within bounds is no news.
    const stale = { member: c.id, incarnation: 0, from: b.id };
    // At version 0 nothing that a change makes of it is a command that counts.
    const unknownKey = new Uint8Array(32).fill(9);
    const ringOfOthers = {
      keys: [{ fingerprint: fingerprintOf(unknownKey), version: 1, key: unknownKey }],
      primary: fingerprintOf(keyRing.keys[0]!),
      primaryVersion: 0,
    };
    const samples: Message[] = [
      { kind: 'ping', sequence: 7, target: pingTargetOf(a.id) },
      { kind: 'pingRequest', sequence: 7, target: a.id, endpoint: c.host.endpoint },
      { kind: 'ack', sequence: 7, toStranger: true },
      { kind: 'nack', sequence: 7 },
      { kind: 'record', signed: golden.signed },
      { kind: 'suspect', ...stale },
      { kind: 'dead', ...stale },
      { kind: 'memberState', signed: golden.signed, status: 'dead', statusAgeSeconds: 1 },
      { kind: 'forget', member: b.id, generation: 2 ** 31, ageSeconds: 1 },
      { kind: 'keyRing', ring: ringOfOthers },
      { kind: 'admission', signed: { bytes: new Uint8Array(90), signature: new Uint8Array(64) } },
      // What does not belong into a datagram.
      {
        kind: 'syncRequest',
        source: b.id,
        mode: 'buckets',
        digest: { high: 1, low: 2 },
        buckets: new Uint8Array(32),
      },
      { kind: 'syncResponse', source: b.id, same: false, bucketDigests: new Uint8Array(2048) },
    ];
    const refusedKinds = new Set<string>();
    // Far beyond those of b itself.
    let number = 2 ** 32;
    fc.assert(
      fc.property(
        fc.constantFrom(...samples),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (sample, at, flip) => {
          const changed = Uint8Array.from(encodeMessage(sample));
          changed[at % changed.length]! ^= flip;
          const before = { refused: refusals(a), state: stateOf(a) };
          const header = {
            kind: 'datagram',
            last: true,
            session: session!,
            receiver: receiverOf(a.membership.session),
            number: number++,
          } as const;
          handlers!.datagram(b.host.endpoint, sealer.seal(header, pack([changed])));
          if (decodeMessage(changed).ok) return;
          refusedKinds.add(sample.kind);
          expect(refusals(a)).toBe(before.refused + 1);
          expect(stateOf(a)).toBe(before.state);
        },
      ),
      parameters,
    );
    expect([...refusedKinds].sort()).toEqual(samples.map(({ kind }) => kind).sort());
    for (const node of [a, b, c]) await node.stop();
  });
});

describe('the frames of a stream', () => {
  it('never make it hold more than one frame, whatever length is announced', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 20 }), (chunks) => {
        const reader = new FrameReader();
        for (const chunk of chunks) {
          const isWell = reader.read(Buffer.from(chunk), (bytes) => {
            expect(bytes.length).toBeLessThanOrEqual(MAX_FRAME_BYTES);
            return true;
          });
          if (!isWell) return;
        }
      }),
      parameters,
    );
    const long = Buffer.alloc(4);
    long.writeUInt32BE(MAX_FRAME_BYTES + 1);
    expect(new FrameReader().read(long, () => true)).toBe(false);
  });
});
