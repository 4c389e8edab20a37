/** What a node has of another's inventory is what that one signed, whatever it was answered and by whom. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TimerGroup } from '../../../src/clock.ts';
import { encodeEntry, MAX_ENTRIES, type StoredEntry } from '../../../src/inventory/entry.ts';
import type { InventoryEntry } from '../../../src/inventory/inventory.ts';
import { OwnInventory } from '../../../src/inventory/own-inventory.ts';
import {
  decodePullRequest,
  encodePullAnswer,
  encodePullRequest,
  type PullAnswer,
  PullAnswerReader,
} from '../../../src/inventory/pull-messages.ts';
import { answerTo, type Held } from '../../../src/inventory/pull-server.ts';
import { Replica, type Verdict } from '../../../src/inventory/replica.ts';
import { inventoryTiming } from '../../../src/inventory/timing.ts';
import type { InventoryMark } from '../../../src/membership/types.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';

const NODE = 'ab'.repeat(16);

const entryOf = (id: string, name: string): InventoryEntry => ({
  ...{ id, name, network: '', labels: {} },
  addresses: [{ family: 4, value: 0x0a2a_0002n }],
});
const storedOf = (id: string, name: string): StoredEntry => encodeEntry(entryOf(id, name))!.stored;

/** A node that announces after each change, and all the marks that it has announced. */
class Owner {
  readonly clock = new VirtualClock();
  readonly marks: InventoryMark[] = [];
  readonly own: OwnInventory;

  constructor(firstVersion?: number) {
    this.own = new OwnInventory({
      store: { load: () => firstVersion, save: () => {} },
      clock: this.clock,
      timers: new TimerGroup(this.clock),
      timing: inventoryTiming,
      announce: (mark) => this.marks.push(mark),
      repeat: () => {},
      onChange: () => {},
    });
    this.own.start();
  }

  set(id: string, name: string): void {
    this.own.set(entryOf(id, name));
    this.clock.advance(1000);
  }

  delete(id: string): void {
    this.own.delete(id);
    this.clock.advance(1000);
  }

  get mark(): InventoryMark {
    return this.marks.at(-1)!;
  }

  get held(): Held {
    return { snapshot: this.own.announced, log: this.own.log };
  }
}

function replicaOf(mark: InventoryMark, room = Number.POSITIVE_INFINITY): Replica {
  let bytes = 0;
  const replica = new Replica(NODE, mark, {
    mayGrow: (by) => {
      if (by > 0 && bytes + by > room) return false;
      bytes += by;
      return true;
    },
    onTaken: () => {},
  });
  replica.announced(mark);
  return replica;
}

const heldOf = (replica: Replica): Held =>
  replica.snapshot && { snapshot: replica.snapshot, log: replica.log };

/** Over the wire and back. */
function pull(replica: Replica, held: Held): { readonly verdict: Verdict; readonly answer: PullAnswer } {
  const basis = replica.basis();
  const { version } = basis.mark;
  const request = decodePullRequest(
    encodePullRequest([{ node: NODE, have: basis.base?.version ?? 0, version }]),
  );
  if (!request.ok) throw new Error('refused');
  const reader = new PullAnswerReader();
  let answer: PullAnswer | undefined;
  for (const part of encodePullAnswer(answerTo(request.value[0]!, held))) {
    const read = reader.read(part);
    if (!read.ok) throw new Error('refused');
    answer = read.value;
  }
  return { verdict: replica.accept(answer!, basis), answer: answer! };
}

const namesOf = (held: Held) =>
  Object.fromEntries([...held!.snapshot.entries.values()].map(({ entry }) => [entry.id, entry.name]));

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('set' as const), id: fc.nat(6), name: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), id: fc.nat(6) }) },
  // Which replica hears of the newest mark, and whom it asks: the owner (0) or another.
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('hear' as const), who: fc.nat(2) }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('pull' as const), who: fc.nat(2), from: fc.nat(3) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), keeps: fc.boolean() }) },
);

describe('replicas', () => {
  it('end equal to the owner, whatever they heard of, missed, and pulled from each other', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
        let owner = new Owner();
        let hasLostDisk = false;
        const signed = new Set(owner.marks.map(({ hash }) => hash));
        const replicas = [0, 1, 2].map(() => replicaOf(owner.mark));
        for (const action of steps) {
          if (action.kind === 'set') owner.set(`e${action.id}`, `n${action.name}`);
          else if (action.kind === 'delete') owner.delete(`e${action.id}`);
          else if (action.kind === 'hear') replicas[action.who]!.announced(owner.mark);
          else if (action.kind === 'restart') {
            const { entries, announced } = owner.own;
            if (!action.keeps) hasLostDisk = true;
            // The disk may be lost: then versions come a second time, for other contents.
            owner = new Owner(action.keeps ? announced.version : undefined);
            for (const { entry } of entries.values()) owner.set(entry.id, entry.name);
          } else {
            const from = action.from === 0 ? owner.held : heldOf(replicas[action.from - 1]!);
            const { verdict } = pull(replicas[action.who]!, from);
            // Nobody lies, so no difference is wrong, unless versions were given out twice.
            if (!hasLostDisk) expect(verdict).not.toBe('wrong');
          }
          for (const { hash } of owner.marks) signed.add(hash);
          for (const { snapshot } of replicas) if (snapshot) expect(signed).toContain(snapshot.hash);
        }
        for (const replica of replicas) {
          replica.announced(owner.mark);
          for (let tries = 0; tries < 3 && !replica.isCurrent; tries++) pull(replica, owner.held);
          expect(replica.isCurrent).toBe(true);
          expect(namesOf(heldOf(replica))).toEqual(namesOf(owner.held));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('take a difference where the log has it, and the whole where it does not reach so far back', () => {
    const owner = new Owner();
    for (let i = 0; i < 20; i++) owner.set(`e${i}`, 'first');
    const replica = replicaOf(owner.mark);
    expect(pull(replica, owner.held)).toMatchObject({ verdict: 'taken', answer: { kind: 'whole' } });
    owner.set('e3', 'second');
    owner.delete('e4');
    replica.announced(owner.mark);
    expect(pull(replica, owner.held)).toMatchObject({
      verdict: 'taken',
      answer: { kind: 'difference', entries: [{ entry: { id: 'e3' } }], deleted: ['e4'] },
    });
    for (let i = 0; i < 300; i++) owner.set('e3', `again ${i}`);
    replica.announced(owner.mark);
    expect(pull(replica, owner.held)).toMatchObject({ verdict: 'taken', answer: { kind: 'whole' } });
    expect(namesOf(heldOf(replica))).toEqual(namesOf(owner.held));
  });

  it('are given exactly the version that they know to be signed, though there is a newer one', () => {
    const owner = new Owner();
    for (let i = 0; i < 5; i++) owner.set(`e${i}`, 'first');
    const replica = replicaOf(owner.mark);
    pull(replica, owner.held);
    owner.set('e1', 'second');
    replica.announced(owner.mark);
    owner.set('e1', 'third');
    expect(pull(replica, owner.held).verdict).toBe('taken');
    expect(namesOf(heldOf(replica)).e1).toBe('second');
  });

  it('keep a whole that is newer than its record aside, and show it once that is there', () => {
    const owner = new Owner();
    owner.set('e1', 'first');
    const replica = replicaOf(owner.mark);
    owner.set('e1', 'second');
    expect(pull(replica, owner.held).verdict).toBe('ahead');
    expect(replica.snapshot).toBeUndefined();
    replica.announced(owner.mark);
    expect(replica.isCurrent).toBe(true);
    expect(namesOf(heldOf(replica)).e1).toBe('second');
  });

  it('need no pull where a restarted owner has what it had, or where nothing is left', () => {
    const owner = new Owner();
    owner.set('e1', 'first');
    const replica = replicaOf(owner.mark);
    pull(replica, owner.held);
    replica.announced({ version: 1001, hash: owner.mark.hash });
    expect(replica.isCurrent).toBe(true);
    owner.delete('e1');
    replica.announced({ version: 1002, hash: owner.mark.hash });
    expect(replica.isCurrent).toBe(true);
    expect(replica.snapshot!.entries.size).toBe(0);
  });

  it('keep the last good one where they are lied to, and then take all or nothing', () => {
    const owner = new Owner();
    for (let i = 0; i < 5; i++) owner.set(`e${i}`, 'first');
    const replica = replicaOf(owner.mark);
    pull(replica, owner.held);
    owner.set('e1', 'second');
    replica.announced(owner.mark);
    const basis = replica.basis();
    const answer = answerTo(
      { node: NODE, have: basis.base!.version, version: owner.mark.version },
      owner.held,
    );
    const lie = { ...answer, entries: [storedOf('e1', 'another')] };
    expect(replica.accept(lie, basis)).toBe('wrong');
    expect(namesOf(heldOf(replica)).e1).toBe('first');
    expect(replica.basis().base).toBeUndefined();
    const more = Array.from({ length: MAX_ENTRIES + 1 }, (_, i) => storedOf(`x${i}`, 'x'));
    expect(replica.accept({ ...answer, kind: 'whole', entries: more }, replica.basis())).toBe('wrong');
    expect(pull(replica, owner.held)).toMatchObject({ verdict: 'taken', answer: { kind: 'whole' } });
  });

  it('stay as they are where there is no room', () => {
    const owner = new Owner();
    owner.set('e1', 'first');
    const replica = replicaOf(owner.mark, 40);
    expect(pull(replica, owner.held).verdict).toBe('taken');
    owner.set('e1', 'x'.repeat(100));
    replica.announced(owner.mark);
    expect(pull(replica, owner.held).verdict).toBe('full');
    expect(namesOf(heldOf(replica)).e1).toBe('first');
  });

  it('are harmed by no answer: it is refused, or the replica is what it was, or what was signed', () => {
    const owner = new Owner();
    for (let i = 0; i < 5; i++) owner.set(`e${i}`, 'first');
    const before = replicaOf(owner.mark);
    pull(before, owner.held);
    const old = owner.mark.hash;
    owner.set('e1', 'second');
    before.announced(owner.mark);
    const [good] = encodePullAnswer(
      answerTo({ node: NODE, have: before.basis().base!.version, version: owner.mark.version }, owner.held),
    );
    const damage = fc.array(fc.tuple(fc.nat(good!.length - 1), fc.nat(255)), { maxLength: 4 });
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.tuple(damage, fc.nat(good!.length)).map(([changes, cut]) => {
        const copy = Uint8Array.from(good!);
        for (const [at, value] of changes) copy[at] = value;
        return copy.subarray(0, cut === 0 ? copy.length : cut);
      }),
    );
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 3 }), (parts) => {
        const reader = new PullAnswerReader();
        for (const part of parts) {
          const read = reader.read(part);
          if (!read.ok || !read.value) continue;
          before.accept({ ...read.value, node: NODE }, before.basis());
          expect([old, owner.mark.hash]).toContain(before.snapshot!.hash);
        }
        expect(decodePullRequest(parts[0] ?? new Uint8Array()).ok).toBeTypeOf('boolean');
      }),
      { numRuns: 500 },
    );
  });
});

describe('answers', () => {
  it('of many parts come together again', () => {
    const entries = Array.from({ length: 1000 }, (_, i) => storedOf(`e${i}`, 'n'.repeat(100)));
    const deleted = Array.from({ length: 1000 }, (_, i) => `gone-${i}`);
    const answer: PullAnswer = { node: NODE, kind: 'difference', version: 7, entries, deleted };
    const parts = [...encodePullAnswer(answer)];
    expect(parts.length).toBeGreaterThan(5);
    for (const part of parts) expect(part.length).toBeLessThan(32 * 1024);
    const reader = new PullAnswerReader();
    const read = parts.map((part) => reader.read(part));
    expect(read.slice(0, -1)).toEqual(read.slice(0, -1).map(() => ({ ok: true, value: undefined })));
    expect(read.at(-1)).toEqual({ ok: true, value: answer });
  });

  it('that do not have the version say so', () => {
    const owner = new Owner();
    const want = { node: NODE, have: 0, version: owner.mark.version + 1 };
    expect(answerTo(want, owner.held)).toMatchObject({ kind: 'absent' });
    expect(answerTo(want, undefined)).toMatchObject({ kind: 'absent' });
  });

  it('to too many wants are none', () => {
    const wants = Array.from({ length: 257 }, () => ({ node: NODE, have: 0, version: 1 }));
    expect(decodePullRequest(encodePullRequest(wants))).toEqual({ ok: false, reason: 'field' });
    expect(decodePullRequest(encodePullRequest(wants.slice(1)))).toEqual({ ok: true, value: wants.slice(1) });
  });
});
