/** Which of a peer's sessions is used when, and what becomes of those that are not. */
import { describe, expect, it } from 'vitest';
import {
  REJECT_AFTER_MESSAGES,
  REJECT_AFTER_TIME_MS,
  REKEY_AFTER_MESSAGES,
  REKEY_AFTER_TIME_MS,
} from '../../../../src/encapsulation/wireguard/constants.ts';
import { IndexTable } from '../../../../src/encapsulation/wireguard/index-table.ts';
import { Nonces } from '../../../../src/encapsulation/wireguard/nonces.ts';
import { Session } from '../../../../src/encapsulation/wireguard/session.ts';
import { Sessions } from '../../../../src/encapsulation/wireguard/sessions.ts';

function session(localIndex: number, isInitiator: boolean, createdAtMs = 0, nonces?: Nonces): Session {
  const keys = { send: Buffer.alloc(32, 1), receive: Buffer.alloc(32, 2) };
  return new Session({ keys, localIndex, remoteIndex: 9 }, isInitiator, createdAtMs, nonces);
}

function tracked(): {
  readonly sessions: Sessions;
  readonly ended: number[];
  used(): (number | undefined)[];
} {
  const ended: number[] = [];
  const sessions = new Sessions(({ localIndex }) => ended.push(localIndex));
  const used = () => [sessions.current, sessions.previous, sessions.next].map((found) => found?.localIndex);
  return { sessions, ended, used };
}

describe('sessions', () => {
  it('of the initiator are used at once, and the one before still opens', () => {
    const { sessions, ended, used } = tracked();
    sessions.add(session(1, true));
    sessions.add(session(2, true));
    expect(used()).toEqual([2, 1, undefined]);
    sessions.add(session(3, true));
    expect(used()).toEqual([3, 2, undefined]);
    expect(ended).toEqual([1]);
  });

  it('of the responder send nothing before something opened', () => {
    const { sessions, ended, used } = tracked();
    const first = session(1, false);
    sessions.add(first);
    expect(used()).toEqual([undefined, undefined, 1]);
    expect(sessions.confirm(first)).toBe(true);
    expect(sessions.confirm(first)).toBe(false);
    expect(used()).toEqual([1, undefined, undefined]);
    const second = session(2, false);
    sessions.add(second);
    expect(used()).toEqual([1, undefined, 2]);
    sessions.confirm(second);
    expect(used()).toEqual([2, 1, undefined]);
    sessions.add(session(3, false));
    sessions.add(session(4, false));
    expect(used()).toEqual([2, undefined, 4]);
    expect(ended).toEqual([1, 3]);
  });

  it('of both sides at once leave each one that the other uses', () => {
    const { sessions, ended, used } = tracked();
    sessions.add(session(1, true));
    sessions.add(session(2, false));
    sessions.add(session(3, true));
    // The peer may send with 2, its own, until it hears from 3.
    expect(used()).toEqual([3, 2, undefined]);
    expect(ended).toEqual([1]);
  });

  it('that end are told of once, and their keys overwritten', () => {
    const { sessions, ended, used } = tracked();
    const [first, second] = [session(1, true), session(2, false)];
    sessions.add(first);
    sessions.add(second);
    sessions.endAll();
    sessions.endAll();
    expect(ended.sort()).toEqual([1, 2]);
    expect(used()).toEqual([undefined, undefined, undefined]);
    for (const { sendKey, receiveKey } of [first, second])
      expect([...sendKey, ...receiveKey].every((byte) => byte === 0)).toBe(true);
    expect(first.isExpired(0)).toBe(true);
  });
});

describe('a session', () => {
  it('ends with its time', () => {
    const one = session(1, true, 1_000);
    expect(one.isExpired(1_000 + REJECT_AFTER_TIME_MS - 1)).toBe(false);
    expect(one.maySend(1_000 + REJECT_AFTER_TIME_MS)).toBe(false);
  });

  it('wants another after a time if it began, or after so many messages', () => {
    expect(session(1, true).wantsRekeyAfterSend(REKEY_AFTER_TIME_MS - 1)).toBe(false);
    expect(session(1, true).wantsRekeyAfterSend(REKEY_AFTER_TIME_MS)).toBe(true);
    expect(session(1, false).wantsRekeyAfterSend(REKEY_AFTER_TIME_MS)).toBe(false);
    expect(session(1, true).wantsRekeyAfterReceive(164_999)).toBe(false);
    expect(session(1, true).wantsRekeyAfterReceive(165_000)).toBe(true);
    expect(session(1, false).wantsRekeyAfterReceive(165_000)).toBe(false);
    const many = session(1, false, 0, usedUp(REKEY_AFTER_MESSAGES + 1));
    expect(many.wantsRekeyAfterSend(0)).toBe(true);
    expect(many.maySend(0)).toBe(true);
  });

  it('sends nothing once its counters are used up', () => {
    const over = session(1, true, 0, usedUp(REJECT_AFTER_MESSAGES));
    expect(over.maySend(0)).toBe(false);
    expect(over.nonces.take(1)).toBe(-1);
  });
});

describe('receiver indexes', () => {
  it('are given to one at a time', () => {
    const numbers = [7, 7, 7, 8];
    const released: number[] = [];
    const table = new IndexTable<string>({
      propose: () => numbers.shift()!,
      release: (index) => released.push(index),
    });
    expect(table.add('a')).toBe(7);
    expect(table.add('b')).toBe(8);
    table.replace(7, 'c');
    table.delete(8);
    table.delete(8);
    expect(released).toEqual([8]);
    expect([table.get(7), table.get(8), table.size]).toEqual(['c', undefined, 1]);
  });
});

function usedUp(count: number): Nonces {
  const shared = new SharedArrayBuffer(8);
  new BigUint64Array(shared)[0] = BigInt(count);
  return new Nonces(shared);
}
