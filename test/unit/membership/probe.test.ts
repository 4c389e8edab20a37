/** What a ping is answered with, by nodes that have missed a restart. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { generateClusterKey, parseKeyRing } from '../../../src/link/key-ring.ts';
import { pack, unpack } from '../../../src/link/packing.ts';
import { newSession, receiverOf, Sealer } from '../../../src/link/seal.ts';
import { decodeMessage, encodeMessage, type Message, pingTargetOf } from '../../../src/membership/codec.ts';
import { endpointOf, SimulatedCluster, type SimulatedNode } from '../../../src/simulate/cluster.ts';
import { deafStream } from '../../helpers/recorded-answer.ts';

const keyRing = parseKeyRing(generateClusterKey(), 'test');
const sealer = new Sealer('simulated', keyRing);
let cluster: SimulatedCluster;
let a: SimulatedNode;
let b: SimulatedNode;

beforeEach(async () => {
  cluster = new SimulatedCluster({ seed: 1, keyRing });
  [a, b] = (await cluster.startAll(2)) as [SimulatedNode, SimulatedNode];
  cluster.clock.advance(5_000);
});
afterEach(() => Promise.all([a.stop(), b.stop()]));

/** Sends a's host a datagram, as if from `from`, and returns the messages that come back there at once. */
function answers(
  from: SimulatedNode['host'],
  header: { readonly session: string; readonly receiver: number },
  message: Message,
): Message[] {
  const back: Message[] = [];
  const { handlers } = from;
  from.handlers = {
    accept: () => deafStream,
    datagram: (_from, bytes) => {
      const opened = sealer.open(bytes);
      if (!opened.ok) throw new Error(opened.reason);
      unpack(opened.payload, (one) => {
        const decoded = decodeMessage(one);
        if (decoded.ok) back.push(decoded.value);
      });
    },
  };
  const frame = { kind: 'datagram', last: true, number: 2 ** 40, ...header } as const;
  a.host.handlers!.datagram(from.endpoint, sealer.seal(frame, pack([encodeMessage(message)])));
  cluster.clock.advance(5);
  from.handlers = handlers;
  return back.filter(({ kind }) => kind !== 'ping');
}

const ping = () => ({ kind: 'ping', sequence: 7, target: pingTargetOf(a.id) }) as const;

it('a member is answered, and no more', () => {
  const header = { session: b.membership.session, receiver: receiverOf(a.membership.session) };
  expect(answers(b.host, header, ping())).toEqual([{ kind: 'ack', sequence: 7, toStranger: false }]);
});

it('a run that is not known is told so', () => {
  const header = { session: newSession(), receiver: receiverOf(a.membership.session) };
  const host = cluster.network.host(endpointOf(77));
  // News may ride along.
  const acks = answers(host, header, ping()).filter(({ kind }) => kind === 'ack');
  expect(acks).toEqual([{ kind: 'ack', sequence: 7, toStranger: true }]);
});

it('a member that takes this run for an earlier one is sent the record of this one', () => {
  const header = { session: b.membership.session, receiver: 0x0bad_0bad };
  const back = answers(b.host, header, ping());
  expect(back.map(({ kind }) => kind).sort()).toEqual(['ack', 'record']);
});

it('a ping for another node is counted, and not answered', () => {
  const header = { session: b.membership.session, receiver: receiverOf(a.membership.session) };
  const other = { ...ping(), target: pingTargetOf(b.id) };
  expect(answers(b.host, header, other)).toEqual([]);
  expect(a.membership.counters().refusedMisdirected).toBe(1);
});

it('who is told that its run is not known says who it is', async () => {
  const { session } = a.membership;
  let records = 0;
  const { handlers } = b.host;
  // b answers every ping of a as if it had never heard of a's run.
  let number = 2 ** 40;
  b.host.handlers = {
    ...handlers!,
    datagram: (from, bytes) => {
      const opened = sealer.open(bytes);
      if (!opened.ok || opened.header.session !== session) return;
      unpack(opened.payload, (one) => {
        const decoded = decodeMessage(one);
        if (decoded.ok && decoded.value.kind === 'record') records++;
        if (!decoded.ok || decoded.value.kind !== 'ping') return;
        const ack = { kind: 'ack', sequence: decoded.value.sequence, toStranger: true } as const;
        const header = { session: b.membership.session, receiver: receiverOf(session), number: number++ };
        const frame = sealer.seal({ kind: 'datagram', last: true, ...header }, pack([encodeMessage(ack)]));
        a.host.handlers!.datagram(b.host.endpoint, frame);
      });
      expect(from).toBeDefined();
    },
  };
  cluster.clock.advance(1_500);
  b.host.handlers = handlers;
  expect(records).toBeGreaterThanOrEqual(2);
});
