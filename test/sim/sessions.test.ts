/** No two frames under one nonce, whatever happens to the machine; and a cluster that lives on over new sessions. */
import { expect, it } from 'vitest';
import { generateClusterKey, parseKeyRing } from '../../src/link/key-ring.ts';
import { HEADER_BYTES } from '../../src/link/seal.ts';
import type { SessionsState } from '../../src/link/sessions.ts';
import type { Responder, Transport } from '../../src/link/transport.ts';
import { SimulatedCluster, type SimulatedNode } from '../../src/simulate/cluster.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** Every sealed frame that was sent, by session, kind and number. */
class SealedFrames {
  readonly #seen = new Map<string, string>();
  readonly repeated: string[] = [];
  readonly sessions = new Set<string>();

  add(frames: readonly Uint8Array[]): void {
    for (const frame of frames) {
      const bytes = Buffer.from(frame);
      if ((bytes[1]! & 1) === 0) continue;
      const session = bytes.toString('hex', 8, 16);
      const nonce = `${session} ${(bytes[1]! >> 2) & 7} ${bytes.readUIntBE(2, 6)}`;
      const text = bytes.toString('base64', HEADER_BYTES);
      if ((this.#seen.get(nonce) ?? text) !== text) this.repeated.push(nonce);
      this.#seen.set(nonce, text);
      this.sessions.add(session);
    }
  }

  tap(node: SimulatedNode): void {
    const make = node.host.transport.bind(node.host);
    node.host.transport = () => {
      const inner = make();
      const tapped = (responder: Responder): Responder => ({
        proven: () => responder.proven(),
        abort: () => responder.abort(),
        keep: (deadlines) => responder.keep(deadlines),
        write: (frames) => {
          this.add(frames);
          return responder.write(frames);
        },
        end: (frames) => {
          this.add(frames);
          responder.end(frames);
        },
      });
      const transport: Transport = {
        close: () => inner.close(),
        open: (handlers) =>
          inner.open({ ...handlers, accept: (from, responder) => handlers.accept(from, tapped(responder)) }),
        send: (to, datagram) => {
          this.add([datagram]);
          inner.send(to, datagram);
        },
        exchange: (to, frames, deadlines, handler) => {
          this.add(frames);
          return inner.exchange(to, frames, deadlines, handler);
        },
      };
      return transport;
    };
  }
}

async function setUp(seed: number, count: number) {
  const frames = new SealedFrames();
  const cluster = new SimulatedCluster({ seed, keyRing: parseKeyRing(generateClusterKey(), 'test') });
  for (let i = 0; i < count; i++) frames.tap(cluster.add());
  await Promise.all(cluster.nodes.map((node) => node.start()));
  await cluster.clock.run(MINUTE_MS);
  expect(cluster.agreesOnAlive(cluster.nodes)).toBe(true);
  const alarms = () =>
    cluster.nodes.map((node) => {
      const {
        suspicions = 0,
        deaths = 0,
        refusedReplay = 0,
        refusedSession = 0,
      } = node.membership.counters();
      return { suspicions, deaths, refusedReplay, refusedSession };
    });
  return { frames, cluster, alarms };
}

/** Puts back what a snapshot of the machine has. */
function restore(state: SessionsState, snapshot: SessionsState): void {
  Object.assign(state, structuredClone(snapshot));
}

it.each(['clock', 'machine'])(
  'a machine that is put back seals nothing under a nonce of before: %s',
  async (by) => {
    const { frames, cluster } = await setUp(1, 4);
    const [, b] = cluster.nodes;
    const { state } = b!.membership.sessions;
    const snapshot = structuredClone(state);
    await cluster.clock.run(MINUTE_MS);
    const before = frames.sessions.size;
    restore(state, snapshot);
    if (by === 'clock') b!.wallSkewMs = MINUTE_MS;
    else b!.generation = 'another';
    await cluster.clock.run(2 * MINUTE_MS);
    expect(frames.repeated).toEqual([]);
    expect(frames.sessions.size).toBe(before + 1);
    expect(cluster.agreesOnAlive(cluster.nodes)).toBe(true);
    for (const { membership } of cluster.nodes) {
      expect(membership.counters().deaths).toBe(0);
      expect(membership.problems()).toEqual([]);
    }
  },
);

it('the recorder sees what happens where nothing tells of it', async () => {
  const { frames, cluster } = await setUp(1, 2);
  const { state } = cluster.nodes[1]!.membership.sessions;
  const snapshot = structuredClone(state);
  await cluster.clock.run(MINUTE_MS);
  restore(state, snapshot);
  await cluster.clock.run(MINUTE_MS);
  expect(frames.repeated.length).toBeGreaterThan(10);
});

it('sessions are renewed about every hour, and nobody is suspected or refused for it', async () => {
  const { frames, cluster, alarms } = await setUp(2, 8);
  const before = alarms();
  await cluster.clock.run(3 * HOUR_MS);
  expect(frames.sessions.size).toBeGreaterThanOrEqual(8 * 3);
  expect(frames.sessions.size).toBeLessThanOrEqual(8 * 5);
  expect(frames.repeated).toEqual([]);
  expect(alarms()).toEqual(before);
  expect(cluster.agreesOnAlive(cluster.nodes)).toBe(true);
});

it('questions between nodes are answered over a renewal, also to who has not heard of it', async () => {
  const { cluster } = await setUp(3, 3);
  const [a, b] = cluster.nodes;
  b!.rpc.serve('test.echo', async function* (body) {
    yield body;
  });
  for (const cause of ['age', 'clock'] as const) {
    const asked = a!.rpc.call(b!.id, 'test.echo', Buffer.from('one'));
    b!.membership.sessions.renew(cause);
    const again = a!.rpc.call(b!.id, 'test.echo', Buffer.from('two'));
    a!.membership.sessions.renew(cause);
    const third = a!.rpc.call(b!.id, 'test.echo', Buffer.from('three'));
    await cluster.clock.run(10_000);
    const answers = await Promise.all([asked, again, third]);
    expect(answers.map(([part]) => Buffer.from(part!).toString())).toEqual(['one', 'two', 'three']);
  }
});
