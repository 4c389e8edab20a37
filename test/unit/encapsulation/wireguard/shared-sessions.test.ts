import { expect, it } from 'vitest';
import { Session } from '../../../../src/encapsulation/wireguard/session.ts';
import { SharedSessions } from '../../../../src/encapsulation/wireguard/shared-sessions.ts';

const keys = () => ({ send: Buffer.alloc(32, 1), receive: Buffer.alloc(32, 2) });

function sessionOf(shared: SharedSessions, localIndex: number): Session {
  return new Session(
    { keys: keys(), localIndex, remoteIndex: 0xfedc_ba98 },
    true,
    1_234.5,
    shared.nonces(localIndex),
  );
}

it('gives each thread indexes of its own, and each slot once', () => {
  const shared = new SharedSessions();
  for (const [workers, worker] of [
    [1, 0],
    [3, 2],
    [64, 63],
  ] as const) {
    const slots = new Set<number>();
    for (let i = 0; i < 200; i++) {
      const index = shared.propose(worker, workers, (slot) => !slots.has(slot));
      expect((index & 0xff) % workers).toBe(worker);
      expect(index).toBeGreaterThan(0);
      expect(slots.has(shared.slotOf(index))).toBe(false);
      slots.add(shared.slotOf(index));
    }
  }
  expect(shared.propose(0, 1, () => false)).toBe(-1);
});

it('shows a session to whoever shares its memory, until it is over', () => {
  const shared = new SharedSessions();
  const there = new SharedSessions(shared.shared);
  const index = shared.propose(0, 1, () => true);
  expect(there.read(index)).toBeUndefined();
  const session = sessionOf(shared, index);
  shared.add(session, 7);
  shared.sendWith(7, index);
  expect(there.sendingTo(7)).toBe(index);
  const read = there.read(index)!;
  expect(read.vtep).toBe(7);
  expect(read.session).toMatchObject({
    ...{ localIndex: index, remoteIndex: 0xfedc_ba98, isInitiator: true, createdAtMs: 1_234.5 },
    ...{ sendKey: keys().send, receiveKey: keys().receive },
  });
  // One row of counters for all.
  expect([session.nonces.take(2), read.session.nonces.take(3), session.nonces.take(1)]).toEqual([0, 2, 5]);

  shared.remove(index);
  expect([there.has(index), there.read(index)]).toEqual([false, undefined]);
  expect(Buffer.from(shared.shared).includes(keys().send)).toBe(false);
  expect(Buffer.from(shared.shared).includes(keys().receive)).toBe(false);
});

it('keeps what came already for the thread after one that stopped, and not for the next session', () => {
  const shared = new SharedSessions();
  const index = shared.propose(0, 1, () => true);
  shared.add(sessionOf(shared, index), 0);
  const before = shared.read(index)!.session;
  for (const counter of [0, 5, 9_000]) before.replay.commit(counter);
  const after = shared.read(index)!.session;
  expect([5, 9_000, 6, 8_999, 9_001].map((counter) => after.replay.isFresh(counter))).toEqual([
    ...[false, false, false, true, true],
  ]);
  shared.remove(index);
  const next = sessionOf(shared, index);
  shared.add(next, 0);
  expect(shared.read(index)!.session.replay.isFresh(0)).toBe(true);
  expect(next.nonces.take(1)).toBe(0);
});

it('says where a peer has moved to, and nothing of the one that had its number before', () => {
  const shared = new SharedSessions();
  const moves = shared.moves;
  shared.move(3, [0x0a00_0001], 4_711);
  expect(shared.moves).toBe(moves + 1);
  expect(shared.movedTo(3, 4)).toEqual({ words: Int32Array.of(0x0a00_0001), port: 4_711 });
  shared.sentData(3, 10);
  shared.received(3, false, 11);
  shared.received(3, true, 12);
  shared.received(3, false, 13);
  shared.agreed(3, 9);
  expect(shared.activity(3)).toEqual({ dataSentMs: 10, receivedMs: 13, dataReceivedMs: 12 });
  const serial = shared.serial(3);
  shared.sendWith(3, 99);
  shared.reassign(3);
  expect(shared.serial(3)).toBe(serial + 1);
  expect([shared.movedTo(3, 4), shared.sendingTo(3), shared.agreedAtMs(3)]).toEqual([undefined, 0, 0]);
  expect(shared.activity(3)).toEqual({ dataSentMs: 0, receivedMs: 0, dataReceivedMs: 0 });
});
