/** Calls and answers that are not as they should be: made up, changed on the way, recorded, or of old agents. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { WarrenError } from '../../../src/errors.ts';
import { type Identity, identityFromSeed } from '../../../src/identity.ts';
import { PeerRefusedError } from '../../../src/link/link.ts';
import { pack } from '../../../src/link/packing.ts';
import { receiverOf, refusalFrame } from '../../../src/link/seal.ts';
import type { InboundStream, Responder, TransportHandlers } from '../../../src/link/transport.ts';
import {
  type AnswerMessage,
  type Call,
  decodeAnswerMessage,
  encodeAnswerPiece,
  encodeCall,
  encodeCallPiece,
  encodeOutcome,
  encodeSignedCall,
  encodeSignedOutcome,
} from '../../../src/rpc/codec.ts';
import { MAX_BODY_BYTES, MAX_INBOUND_CALLS } from '../../../src/rpc/limits.ts';
import { callMessageType, callType } from '../../../src/rpc/proto.ts';
import { bodyHash, PartsHash, signedCallBytes } from '../../../src/rpc/signing.ts';
import { RecordedAnswer } from '../../helpers/recorded-answer.ts';
import { CallHarness, type CallingNode, text, texts } from './call-harness.ts';

const limits = { deadlines: { idleMs: 5000, totalMs: 5000 }, limitBytes: 1024 * 1024 };
const stranger = identityFromSeed(new Uint8Array(32).fill(77));

describe.each(['sealed', 'clear'] as const)('in a %s cluster', (kind) => {
  let cluster: CallHarness;
  let a: CallingNode;
  let b: CallingNode;
  let served: string[];
  let number: number;

  beforeEach(async () => {
    cluster = new CallHarness(kind);
    a = await cluster.start(0);
    b = await cluster.start(1);
    served = [];
    number = 0;
    b.rpc.serve('echo', (body, caller) => {
      served.push(`${caller.name} ${Buffer.from(body)}`);
      return [body];
    });
  });

  /** A call of a to b as it should be, but for `changes`. */
  function callOf(changes: Partial<Call> = {}, body = text('hi')): Call {
    return {
      method: 'echo',
      caller: a.id,
      publicKey: a.identity.publicKey,
      target: b.id,
      targetSession: b.session,
      id: { session: a.session, number: ++number },
      bodyBytes: body.length,
      bodyHash: bodyHash(body),
      timeoutMs: 1000,
      ...changes,
    };
  }

  function signed(call: Call, signer: Identity = a.identity, body = text('hi')): Uint8Array[] {
    const bytes = encodeCall(call);
    return [encodeSignedCall(bytes, signer.sign(signedCallBytes(bytes))), encodeCallPiece(body)];
  }

  /** What b answers to these messages: the refusal's code, or the outcome's with its message. */
  async function answerTo(messages: readonly Uint8Array[]): Promise<string> {
    const answers: AnswerMessage[] = [];
    const done = new Promise<Error | undefined>((resolve) => {
      a.link.call({ gossip: b.host.endpoint, session: b.session }, messages, limits, {
        message: (message) => {
          const decoded = decodeAnswerMessage(message);
          if (decoded.ok) answers.push(decoded.value);
        },
        done: resolve,
      });
    });
    const error = await cluster.inTime(done);
    if (error instanceof PeerRefusedError) return `refused: ${error.code}`;
    if (error) return error.message;
    const last = answers.at(-1);
    if (last?.kind !== 'outcome') return 'no outcome';
    return `${last.outcome.code}: ${last.outcome.message}`;
  }

  it('a call that is as it should be is served', async () => {
    expect(await answerTo(signed(callOf()))).toBe(': ');
    expect(served).toEqual(['node-0 hi']);
  });

  it('a call is not served', async () => {
    const cases: [string, readonly Uint8Array[], RegExp][] = [
      ['that another key has signed', signed(callOf(), stranger), /^RPC_REFUSED: the signature/],
      [
        'whose key is not that of its caller',
        signed(callOf({ publicKey: stranger.publicKey }), stranger),
        /^RPC_REFUSED: the signature/,
      ],
      [
        'of somebody who is no member',
        signed(callOf({ caller: stranger.id, publicKey: stranger.publicKey }), stranger),
        /^RPC_STRANGER: .*does not know/,
      ],
      [
        'of an earlier run of the caller',
        signed(callOf({ id: { session: '00000009'.repeat(2), number: 1 } })),
        /^RPC_STRANGER: .*does not know/,
      ],
      ['for another node', signed(callOf({ target: a.id })), /^RPC_REFUSED: .*another node/],
      ['for another run', signed(callOf({ targetSession: '00000009'.repeat(2) })), /^refused: session/],
      [
        'whose body is another',
        signed(callOf(), a.identity, text('ho')),
        /^RPC_REFUSED: .*changed on its way/,
      ],
      ['whose body is longer', signed(callOf(), a.identity, text('hi!')), /^refused: invalid/],
      ['whose body is shorter', signed(callOf(), a.identity, text('h')), /^refused: invalid/],
      ['without a body', signed(callOf()).slice(0, 1), /^refused: invalid/],
      ['that begins with its body', signed(callOf()).slice(1), /^refused: invalid/],
      ['that comes twice in one', [...signed(callOf()), ...signed(callOf())], /^refused: invalid/],
      ['that is no message', [new Uint8Array([0xff, 0xff])], /^refused: invalid/],
      ['of which nothing comes', [], /^refused: invalid/],
    ];
    for (const [what, messages, expected] of cases) {
      expect(await answerTo(messages), what).toMatch(expected);
    }
    expect(served).toEqual([]);
    expect([...a.bugs, ...b.bugs]).toEqual([]);
  });

  it('a call whose fields are out of bounds is not served', async () => {
    const good = callType.decode(encodeCall(callOf())) as unknown as Record<string, unknown>;
    const changes: Record<string, unknown>[] = [
      { method: '' },
      { method: 'x'.repeat(65) },
      { method: 'echo\u001b[31m' },
      { caller: new Uint8Array(15) },
      { publicKey: new Uint8Array(31) },
      { targetSession: new Uint8Array(9) },
      { id: new Uint8Array(16) },
      { id: new Uint8Array(16).fill(255) },
      { bodyBytes: MAX_BODY_BYTES + 1 },
      { bodyHash: new Uint8Array(31) },
      { timeout: 0 },
      { timeout: 3_600_001 },
    ];
    for (const change of changes) {
      const bytes = callType.encode({ ...good, ...change }).finish();
      const first = encodeSignedCall(bytes, a.identity.sign(signedCallBytes(bytes)));
      expect(await answerTo([first, encodeCallPiece(text('hi'))]), JSON.stringify(change)).toBe(
        'refused: invalid',
      );
    }
    const noCall = callMessageType.encode({
      call: { call: new Uint8Array(513), signature: new Uint8Array(64) },
    });
    expect(await answerTo([noCall.finish()])).toBe('refused: invalid');
    expect(served).toEqual([]);
  });

  it('a call that does not come in full is let go after ten seconds', async () => {
    const frames = signed(callOf()).map((message, index) =>
      a.sealer.seal(
        {
          kind: 'call',
          last: false,
          session: a.session,
          receiver: receiverOf(b.session),
          number: 0x10000 + index,
        },
        pack([message]),
      ),
    );
    const answer = new RecordedAnswer();
    const inbound = b.host.handlers!.accept(a.host.endpoint, answer);
    for (const frame of frames) inbound.frame(frame);
    cluster.clock.advance(9_000);
    expect(answer.isEnded).toBe(false);
    cluster.clock.advance(2_000);
    expect(answer.frames).toEqual([refusalFrame('invalid')]);
    expect(served).toEqual([]);
  });

  it('more calls than there is room for are refused as busy until one is over', async () => {
    const open: { answer: RecordedAnswer; inbound: InboundStream }[] = [];
    const openOne = () => {
      const header = {
        kind: 'call',
        last: false,
        session: a.session,
        receiver: receiverOf(b.session),
      } as const;
      const answer = new RecordedAnswer();
      const inbound = b.host.handlers!.accept(a.host.endpoint, answer);
      inbound.frame(
        a.sealer.seal({ ...header, number: 0x10000 * (open.length + 1) }, pack(signed(callOf()))),
      );
      open.push({ answer, inbound });
      return answer.frames;
    };
    for (let i = 0; i < MAX_INBOUND_CALLS; i++) expect(openOne()).toEqual([]);
    expect(openOne()).toEqual([refusalFrame('busy')]);
    open[0]!.inbound.closed();
    expect(openOne()).toEqual([]);
    expect(openOne()).toEqual([refusalFrame('busy')]);
  });

  it('a call that was recorded and is sent again, in frames of its own, is not served twice', async () => {
    const call = signed(callOf());
    expect(await answerTo(call)).toBe(': ');
    expect(await answerTo(call)).toBe('refused: replayed');
    for (let later = 0; later < 100; later++) expect(await answerTo(signed(callOf()))).toBe(': ');
    expect(await answerTo(call)).toBe('refused: replayed');
    expect(served).toHaveLength(101);
  });

  it('frames of a call that were recorded are not served twice', async () => {
    const recorded: Uint8Array[] = [];
    const handlers = b.host.handlers!;
    b.host.handlers = recording(handlers, recorded);
    await cluster.inTime(a.rpc.call(b.id, 'echo', text('hi')));
    expect(served).toEqual(['node-0 hi']);
    const answer = new RecordedAnswer();
    const inbound = handlers.accept(a.host.endpoint, answer);
    for (const frame of recorded) inbound.frame(frame);
    await cluster.pass(10);
    expect(answer.frames.map((frame) => a.sealer.open(frame))).toMatchObject([
      { ok: false, reason: 'refused', code: 'replayed' },
    ]);
    expect(served).toEqual(['node-0 hi']);
  });

  it('a caller whose number was used up before is served under the next one', async () => {
    // As if an earlier call had been overtaken by a hundred others.
    await answerTo(signed(callOf({ id: { session: a.session, number: 1 } })));
    expect(texts(await cluster.inTime(a.rpc.call(b.id, 'echo', text('again'))))).toEqual(['again']);
    expect(served).toEqual(['node-0 hi', 'node-0 again']);
  });

  /** Has b answer a's next call with these messages. */
  function answerWith(messages: (id: Call['id']) => readonly Uint8Array[], call = 1): void {
    b.link.serveCalls((_from, answer) => ({
      message: () => {},
      end: () => answer.end(messages({ session: a.session, number: call })),
      drained: () => {},
      closed: () => {},
    }));
  }

  const outcome = (id: Call['id'], signer: Identity, code = '', signedParts: readonly string[] = []) => {
    const hash = new PartsHash();
    for (const part of signedParts) hash.add(text(part));
    const bytes = encodeOutcome({ code, message: 'told\u001b[31m so', hint: '' });
    return encodeSignedOutcome(bytes, signer.sign(hash.signedBytes(id, bytes)));
  };

  it('an answer is not believed', async () => {
    const part = encodeAnswerPiece(text('yes'), false);
    const cases: [string, (id: Call['id']) => readonly Uint8Array[], RegExp][] = [
      ['that another node has signed', (id) => [part, outcome(id, stranger, '', ['yes'])], /signature/],
      ['whose parts are others', (id) => [part, outcome(id, b.identity, '', ['no'])], /signature/],
      ['of which a part is missing', (id) => [outcome(id, b.identity, '', ['yes'])], /signature/],
      [
        'whose parts are cut otherwise',
        (id) => [
          encodeAnswerPiece(text('ye'), false),
          encodeAnswerPiece(text('s'), false),
          outcome(id, b.identity, '', ['yes']),
        ],
        /signature/,
      ],
      ['to another call', (id) => [outcome({ ...id, number: 99 }, b.identity)], /signature/],
      ['that goes on after its end', (id) => [outcome(id, b.identity), part], /makes no sense/],
      [
        'whose last part is not whole',
        (id) => [encodeAnswerPiece(text('y'), true), outcome(id, b.identity)],
        /makes no sense/,
      ],
      ['that ends without an outcome', () => [part], /not complete/],
      ['that is empty', () => [], /not complete/],
      ['that is no message', () => [new Uint8Array([0xff])], /makes no sense/],
    ];
    for (const [index, [what, messages, expected]] of cases.entries()) {
      answerWith(messages, index + 1);
      await expect(cluster.inTime(a.rpc.call(b.id, 'echo', text(''))), what).rejects.toMatchObject({
        code: 'RPC_REFUSED',
        message: expect.stringMatching(expected),
      });
    }
    expect(a.bugs).toEqual([]);
  });

  it('an error that another node tells of cannot steer a terminal', async () => {
    answerWith((id) => [outcome(id, b.identity, 'POD_UNKNOWN')]);
    await expect(cluster.inTime(a.rpc.call(b.id, 'echo', text('')))).rejects.toMatchObject({
      code: 'POD_UNKNOWN',
      message: 'told [31m so',
    });
  });

  it('an agent of 0.1.0, which knows no calls, does not support them', async () => {
    // It cannot read frames of kind 5, and says so.
    b.host.handlers = {
      datagram: () => {},
      accept: (_from, responder: Responder) => ({
        frame: (bytes) => {
          expect((bytes[1]! >> 2) & 7).toBe(5);
          responder.end([refusalFrame('invalid')]);
        },
        drained: () => {},
        closed: () => {},
      }),
    };
    await expect(cluster.inTime(a.rpc.call(b.id, 'echo', text('')))).rejects.toMatchObject({
      code: 'RPC_UNSUPPORTED',
    });
  });

  it.each([
    ['busy', 'RPC_REFUSED'],
    ['key', 'RPC_REFUSED'],
    ['version', 'RPC_UNSUPPORTED'],
    ['session', 'RPC_UNREACHABLE'],
    ['replayed', 'RPC_REFUSED'],
  ] as const)('one that refuses as %s ends in %s, however often it does', async (code, expected) => {
    let streams = 0;
    b.host.handlers = {
      datagram: () => {},
      accept: (_from, responder) => {
        streams++;
        return {
          frame: () => responder.end([refusalFrame(code, b.session)]),
          drained: () => {},
          closed: () => {},
        };
      },
    };
    await expect(cluster.inTime(a.rpc.call(b.id, 'echo', text('')))).rejects.toMatchObject({
      code: expected,
    });
    expect(streams).toBe({ busy: 7, key: 1, version: 1, session: 3, replayed: 3 }[code]);
  });

  it('any byte changed in a call on its way, or any bytes instead, are served by nobody', async () => {
    const recorded: Uint8Array[] = [];
    const handlers = b.host.handlers!;
    b.host.handlers = {
      ...handlers,
      accept: (_from, responder) => ({
        ...recording(handlers, recorded).accept(_from, responder),
        frame: (bytes) => recorded.push(new Uint8Array(bytes)),
      }),
    };
    a.link.call({ gossip: b.host.endpoint, session: b.session }, signed(callOf()), limits, {
      message: () => {},
      done: () => {},
    });
    await cluster.pass(10);
    const [frame] = recorded;
    const deliver = (bytes: Uint8Array) => {
      const answer = new RecordedAnswer();
      handlers.accept(a.host.endpoint, answer).frame(bytes);
      return answer;
    };
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = new Uint8Array(frame!);
        changed[at % changed.length]! ^= flip;
        deliver(changed);
      }),
      { numRuns: 1500, seed: 20_261_127 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        deliver(bytes);
        deliver(Buffer.concat([frame!.subarray(0, 21), bytes]));
      }),
      { numRuns: 500, seed: 20_261_127 },
    );
    await cluster.pass(20);
    expect(b.bugs).toEqual([]);
    if (kind === 'sealed') {
      expect(served).toEqual([]);
      deliver(frame!);
      await cluster.pass(20);
      expect(served).toEqual(['node-0 hi']);
    } else {
      // In clear text what is not signed may be changed: the frame's own header, which says nothing.
      expect(new Set(served).size).toBeLessThanOrEqual(1);
      expect(served.length).toBeLessThanOrEqual(1);
    }
  });

  it('any message inside good frames is read or refused, both ways', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 255 }), fc.nat(), async (at, flip, which) => {
        const messages = signed(callOf()).map((message) => new Uint8Array(message));
        const changed = messages[which % 2]!;
        changed[at % changed.length]! ^= flip;
        const before = served.length;
        const told = await answerTo(messages);
        expect(told).toMatch(/^refused: invalid|^refused: session|^RPC_REFUSED/);
        expect(served.length).toBe(before);
      }),
      { numRuns: 200, seed: 20_261_127 },
    );
    let number = 0;
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 255 }), fc.nat(), async (at, flip, which) => {
        number++;
        b.link.serveCalls((_from, answer) => ({
          message: () => {},
          end: () => {
            const id = { session: a.session, number };
            const messages = [
              encodeAnswerPiece(text('yes'), false),
              outcome(id, b.identity, '', ['yes']),
            ].map((message) => new Uint8Array(message));
            const changed = messages[which % 2]!;
            changed[at % changed.length]! ^= flip;
            answer.end(messages);
          },
          drained: () => {},
          closed: () => {},
        }));
        await expect(cluster.inTime(a.rpc.call(b.id, 'echo', text('')))).rejects.toThrow(WarrenError);
      }),
      { numRuns: 200, seed: 20_261_127 },
    );
    expect([...a.bugs, ...b.bugs]).toEqual([]);
  });
});

/** Handlers that keep the frames of streams, and hand them on. */
function recording(handlers: TransportHandlers, recorded: Uint8Array[]): TransportHandlers {
  return {
    ...handlers,
    accept: (from, responder) => {
      const inbound = handlers.accept(from, responder);
      return {
        ...inbound,
        frame: (bytes) => {
          recorded.push(new Uint8Array(bytes));
          inbound.frame(bytes);
        },
      };
    },
  };
}
