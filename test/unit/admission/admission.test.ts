/** Who is admitted by what approvers say: merging, forgery, replay, bounds, restarts. Pure: no cluster runs. */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Admission, type AdmissionRules } from '../../../src/admission/admission.ts';
import type { ChangedNodes } from '../../../src/admission/gate.ts';
import {
  decodeStatement,
  MAX_STATEMENT_BYTES,
  type SignedStatement,
  signStatement,
  type Verdict,
} from '../../../src/admission/statement.ts';
import { type StatementStore, volatileStatementStore } from '../../../src/admission/statement-store.ts';
import { MAX_STATEMENTS_PER_APPROVER, Statements } from '../../../src/admission/statements.ts';
import { identityFromSeed, verifySignature } from '../../../src/identity.ts';

const identity = (name: string) => identityFromSeed(createHash('sha256').update(name).digest());
const [ann, bob, carl, mallory] = ['ann', 'bob', 'carl', 'mallory'].map(identity) as [
  ReturnType<typeof identity>,
  ReturnType<typeof identity>,
  ReturnType<typeof identity>,
  ReturnType<typeof identity>,
];
const clock = { wallTime: () => 1_700_000_000_000 };
const allowlist: AdmissionRules = { mode: 'allowlist', approvers: [ann.id, bob.id] };

function admission(
  own = carl,
  rules: AdmissionRules = allowlist,
  store: StatementStore = volatileStatementStore(),
): Admission {
  return new Admission({ clusterName: 'test', identity: own, rules, store, clock });
}

function said(by = ann, verdict: Verdict = 'approved', version = 1, node = carl.id, cluster = 'test') {
  return signStatement(by, cluster, { node, verdict, version, name: 'node', atSeconds: 5 }).signed;
}

const member = (id: string) => ({ id, name: 'node' });

describe('an allowlist', () => {
  it('admits approvers, and whom they have approved until one revokes it', () => {
    const one = admission();
    expect([ann.id, bob.id, carl.id].map((id) => one.admits(id))).toEqual([true, true, false]);
    expect(one.standing(carl.id)).toBe('pending');
    expect(one.merge(said())).toBe('taken');
    expect(one.admits(carl.id)).toBe(true);
    expect(one.merge(said(bob, 'revoked', 2))).toBe('taken');
    expect([one.admits(carl.id), one.standing(carl.id)]).toEqual([false, 'revoked']);
    expect(one.merge(said(bob, 'approved', 3))).toBe('taken');
    expect(one.admits(carl.id)).toBe(true);
  });

  it('believes nobody else, whatever key of the cluster that is sealed with', () => {
    const one = admission();
    expect(one.merge(said(mallory, 'approved', 9, mallory.id))).toBe('untrusted');
    expect(one.merge(said(carl, 'approved', 9, carl.id))).toBe('untrusted');
    expect(one.merge(said(ann, 'approved', 1, carl.id, 'other cluster'))).toBe('signature');
    const forged = said(ann);
    expect(one.merge({ ...forged, signature: said(mallory).signature })).toBe('signature');
    expect(one.merge({ ...forged, bytes: forged.bytes.slice(0, -1) })).not.toBe('taken');
    expect([...one.statements()]).toEqual([]);
  });

  it('does not count what approvers say of themselves, and lets another one revoke them', () => {
    const one = admission();
    expect(one.merge(said(bob, 'revoked', 1, ann.id))).toBe('taken');
    expect(one.merge(said(ann, 'approved', 7, ann.id))).toBe('taken');
    expect(one.admits(ann.id)).toBe(false);
    const own = admission(ann);
    expect(() => own.say('approved', [member(ann.id)])).toThrow(
      expect.objectContaining({ code: 'ADMISSION_SELF' }),
    );
  });

  it('takes no older word for a newer one', () => {
    const one = admission();
    one.merge(said(ann, 'revoked', 2));
    expect(one.merge(said(ann, 'approved', 1))).toBe('known');
    // The other approver's older one is kept apart, and does not count.
    expect(one.merge(said(bob, 'approved', 1))).toBe('taken');
    expect(one.admits(carl.id)).toBe(false);
  });
});

describe('an open cluster', () => {
  it('admits all but those that an approver has revoked', () => {
    const one = admission(carl, { mode: 'open', approvers: [ann.id] });
    expect(one.admits(mallory.id)).toBe(true);
    one.merge(said(ann, 'revoked', 1, mallory.id));
    expect(one.admits(mallory.id)).toBe(false);
    const without = admission(carl, { mode: 'open', approvers: [] });
    expect(without.merge(said(ann, 'revoked', 1, mallory.id))).toBe('untrusted');
    expect(without.admits(mallory.id)).toBe(true);
  });
});

it('comes to the same verdicts and the same set in whatever order statements arrive', () => {
  const statement = fc.record({
    by: fc.constantFrom(ann, bob),
    node: fc.constantFrom(ann.id, bob.id, carl.id, mallory.id),
    verdict: fc.constantFrom<Verdict>('approved', 'revoked'),
    version: fc.integer({ min: 1, max: 4 }),
  });
  const order = fc
    .array(statement, { maxLength: 12 })
    .chain((all) =>
      fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length, maxLength: all.length })),
    );
  fc.assert(
    fc.property(order, ([first, second]) => {
      const results = [first, second].map((all) => {
        const one = admission();
        for (const { by, node, verdict, version } of all) one.merge(said(by, verdict, version, node));
        const texts = [...one.statements()].map(({ signed }) =>
          Buffer.from(signed.signature).toString('hex'),
        );
        return [texts.sort(), [ann, bob, carl, mallory].map(({ id }) => one.standing(id))];
      });
      expect(results[0]).toEqual(results[1]);
    }),
    { numRuns: 60 },
  );
});

describe('an approver', () => {
  it('says so on the disk first, and above all that it has heard', () => {
    const store = volatileStatementStore();
    const one = admission(ann, allowlist, store);
    one.merge(said(bob, 'revoked', 4));
    const [signed] = one.say('approved', [member(carl.id)]) as [SignedStatement];
    expect(one.admits(carl.id)).toBe(true);
    expect(admission(ann, allowlist, store).admits(carl.id)).toBe(true);
    const other = admission(carl);
    other.merge(said(bob, 'revoked', 4));
    expect([other.merge(signed), other.admits(carl.id)]).toEqual(['taken', true]);
  });

  it('has said nothing where the disk refuses', () => {
    const store: StatementStore = {
      load: () => [],
      save: () => {
        throw new Error('no space left on device');
      },
    };
    const one = admission(ann, allowlist, store);
    expect(() => one.say('approved', [member(carl.id)])).toThrow('no space');
    expect(one.admits(carl.id)).toBe(false);
    expect([...one.statements()]).toEqual([]);
    // What others say counts all the same, and that it is not on the disk is a problem.
    one.merge(said(bob));
    one.save();
    expect(one.problem).toContain('no space');
    expect(one.admits(carl.id)).toBe(true);
  });

  it('is one by configuration alone', () => {
    expect(() => admission().say('approved', [member(mallory.id)])).toThrow(
      expect.objectContaining({ code: 'ADMISSION_NOT_APPROVER' }),
    );
  });

  it('whose word does not count any more is forgotten, and what others said counts again', () => {
    const store = volatileStatementStore();
    const one = admission(carl, allowlist, store);
    one.merge(said(bob, 'approved', 1));
    one.merge(said(ann, 'revoked', 0xffff_ffff));
    const changes: ChangedNodes[] = [];
    one.on('change', (nodes) => changes.push(nodes));
    one.setRules({ mode: 'allowlist', approvers: [bob.id] });
    expect(one.admits(carl.id)).toBe(true);
    expect(changes).toEqual(['all']);
    expect(store.load()).toHaveLength(1);
  });
});

it('tells of a node whose answer is another, and of no other', () => {
  const one = admission();
  const changes: ChangedNodes[] = [];
  one.on('change', (nodes) => changes.push(nodes));
  one.merge(said());
  one.merge(said(bob, 'approved', 2));
  one.merge(said(ann, 'revoked', 3));
  expect(changes).toEqual([new Set([carl.id]), new Set([carl.id])]);
});

it('bounds what an approver may have said, and lets it still change its mind', () => {
  const all = new Statements();
  const signed = said();
  const first = decodeStatement(signed.bytes);
  if (!first.ok) throw new Error('not decoded');
  for (let i = 0; i < MAX_STATEMENTS_PER_APPROVER; i++) {
    all.put({ statement: { ...first.value, node: String(i) }, signed });
  }
  expect(all.hasRoom({ ...first.value, node: 'new' })).toBe(false);
  expect(all.hasRoom({ ...first.value, node: '1' })).toBe(true);
});

it('refuses statements that are out of bounds, and never throws', () => {
  const one = admission();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2 * MAX_STATEMENT_BYTES }), (bytes) => {
      expect(one.merge({ bytes, signature: new Uint8Array(64) })).not.toBe('taken');
    }),
  );
  const longest = signStatement(ann, 'test', {
    ...{ node: carl.id, verdict: 'revoked', version: 0xffff_ffff, name: 'n'.repeat(63) },
    atSeconds: 0xffff_ffff,
  });
  expect(longest.signed.bytes.length).toBeLessThanOrEqual(MAX_STATEMENT_BYTES);
  expect(one.merge(longest.signed)).toBe('taken');
});

it('has the golden bytes, signed for its cluster', () => {
  const signer = identityFromSeed(new Uint8Array(32).fill(7));
  const { signed, statement } = signStatement(signer, 'test', {
    ...{ node: 'ab'.repeat(16), verdict: 'revoked', version: 3, name: 'node-b', atSeconds: 1_700_000_000 },
  });
  const key = Buffer.from(signer.publicKey).toString('hex');
  expect(Buffer.from(signed.bytes).toString('hex')).toBe(
    ['0a20', key, '1210', 'ab'.repeat(16), '1801', '2003', '2a066e6f64652d62', '3080e2cfaa06'].join(''),
  );
  const text = Buffer.concat([Buffer.from('warren admission 1\ntest\n'), signed.bytes]);
  expect(verifySignature(signer.publicKey, text, signed.signature)).toBe(true);
  expect(decodeStatement(signed.bytes)).toEqual({ ok: true, value: statement });
});
