/** When a peer is probed, and what is concluded. */
import { describe, expect, it } from 'vitest';
import {
  GroupPath,
  LOOK_MS,
  type Outcome,
  RETRY_FIRST_MS,
  RETRY_LAST_MS,
  type Sent,
  TRUSTED_AFTER_MS,
} from '../../../src/group-probe/path.ts';

const CONTACT_MS = 3000;

class Drive {
  nowMs = 1_000_000;
  readonly path = new GroupPath(this.nowMs, CONTACT_MS);
  sent: Sent = { packets: 0, grouped: 0 };

  /** Groups leave, as far as they may. */
  traffic(): void {
    const { packets, grouped } = this.sent;
    this.sent = { packets: packets + 10, grouped: grouped + (this.path.isSentSingly ? 0 : 10) };
  }

  due() {
    return this.path.due(this.nowMs, this.sent);
  }

  /** What is due comes out as `outcome`. */
  answer(outcome: Outcome): void {
    expect(this.due(), outcome).toBeDefined();
    expect(this.due(), 'another one').toBeUndefined();
    this.path.result(this.nowMs, outcome, this.sent);
  }

  /** How long until something is due while traffic flows. */
  waitMs(limitMs = 10_000_000): number | undefined {
    for (let ms = 0; ms <= limitMs; ms += 100) {
      this.traffic();
      const { nowMs } = this;
      this.nowMs += 100;
      // A look would be taken for asked: only ask where it is wanted.
      const copy = this.path.due(this.nowMs, this.sent);
      if (copy) {
        this.path.result(this.nowMs, this.next, this.sent);
        return this.nowMs - nowMs + ms;
      }
    }
    return undefined;
  }
  next: Outcome = 'broken';
}

function broken(): Drive {
  const drive = new Drive();
  drive.traffic();
  drive.answer('broken');
  drive.answer('broken');
  expect(drive.path.isSentSingly).toBe(true);
  return drive;
}

describe('first contact', () => {
  it('comes after its delay', () => {
    const drive = new Drive();
    expect(drive.due()).toBeUndefined();
    drive.nowMs += CONTACT_MS;
    expect(drive.due()).toMatchObject({ depth: 'full', rounds: 1 });
  });

  it('comes at once with the first group', () => {
    const drive = new Drive();
    drive.traffic();
    expect(drive.due()).toMatchObject({ depth: 'full' });
  });
});

describe('a peer that groups reach', () => {
  it('is looked at each second in which groups are sent, and in no other', () => {
    const drive = new Drive();
    drive.traffic();
    drive.answer('whole');
    drive.nowMs += 10 * LOOK_MS;
    expect(drive.due()).toBeUndefined();
    drive.traffic();
    expect(drive.due()).toMatchObject({ depth: 'short', rounds: 1 });
    drive.path.result(drive.nowMs, 'whole', drive.sent);
    drive.traffic();
    expect(drive.due()).toBeUndefined();
    drive.nowMs += LOOK_MS;
    expect(drive.due()).toBeDefined();
  });

  it('is looked at closely before it is sent single ones', () => {
    const drive = new Drive();
    drive.traffic();
    drive.answer('whole');
    drive.nowMs += LOOK_MS;
    drive.traffic();
    drive.answer('broken');
    expect(drive.path.isSentSingly).toBe(false);
    expect(drive.path.due(drive.nowMs, drive.sent)).toMatchObject({ depth: 'short', rounds: 5, enough: 4 });
    drive.path.result(drive.nowMs, 'whole', drive.sent);
    expect(drive.path.isSentSingly).toBe(false);
  });
});

describe('a peer that groups do not reach', () => {
  it('is tried again with growing pauses', () => {
    const drive = broken();
    const pauses = Array.from({ length: 9 }, () => drive.waitMs()!);
    let expected = RETRY_FIRST_MS;
    for (const pause of pauses) {
      expect(pause).toBeGreaterThanOrEqual(expected - 200);
      expect(pause).toBeLessThanOrEqual(expected + 200);
      expected = Math.min(2 * expected, RETRY_LAST_MS);
    }
  });

  it('is not tried while nothing is sent to it', () => {
    const drive = broken();
    drive.nowMs += RETRY_LAST_MS;
    expect(drive.due()).toBeUndefined();
  });

  it('is sent groups again once they arrive; where they soon break again the pauses go on growing', () => {
    const drive = broken();
    drive.next = 'whole';
    drive.waitMs();
    expect(drive.path.isSentSingly).toBe(false);
    for (const [trustedMs, pauseMs] of [
      [0, 2 * RETRY_FIRST_MS],
      [TRUSTED_AFTER_MS, RETRY_FIRST_MS],
    ] as const) {
      drive.nowMs += LOOK_MS + trustedMs;
      drive.traffic();
      drive.answer('broken');
      drive.answer('broken');
      drive.next = 'whole';
      const waited = drive.waitMs()!;
      expect(waited).toBeGreaterThanOrEqual(pauseMs - 200);
      expect(waited).toBeLessThanOrEqual(pauseMs + 200);
    }
  });

  it.each(['unclear', 'unanswered', 'unsupported'] as const)(
    'stays so with an answer that is %s',
    (outcome) => {
      const drive = broken();
      drive.next = outcome;
      drive.waitMs();
      expect(drive.path.isSentSingly).toBe(true);
    },
  );

  it('is tried at once when the link is another, and is sent single ones until that is answered', () => {
    const drive = broken();
    drive.path.changed(drive.nowMs);
    expect(drive.path.isSentSingly).toBe(true);
    drive.answer('whole');
    expect(drive.path.isSentSingly).toBe(false);
  });
});

it('forgets the answer of a link that is another by now', () => {
  const drive = new Drive();
  drive.traffic();
  expect(drive.due()).toBeDefined();
  drive.path.changed(drive.nowMs);
  drive.path.result(drive.nowMs, 'broken', drive.sent);
  expect(drive.due()).toMatchObject({ depth: 'full', rounds: 1 });
});

it('asks who does not answer ever more rarely', () => {
  const drive = new Drive();
  drive.traffic();
  drive.answer('unanswered');
  drive.next = 'unanswered';
  const pauses = Array.from({ length: 6 }, () => drive.waitMs()!);
  for (const [i, pause] of pauses.entries()) {
    if (i > 0) expect(pause).toBeGreaterThan(1.5 * pauses[i - 1]!);
  }
  expect(drive.path.isSentSingly).toBe(false);
});
