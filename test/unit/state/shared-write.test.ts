import { describe, expect, it } from 'vitest';
import { SharedWrite } from '../../../src/state/shared-write.ts';

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A disk whose writes end when the test says so. */
function slowDisk(state: () => string) {
  const written: string[] = [];
  const ends: ((error?: Error) => void)[] = [];
  const shared = new SharedWrite(() => {
    written.push(state());
    return new Promise((resolve, reject) => {
      ends.push((error) => (error ? reject(error) : resolve()));
    });
  });
  return { shared, written, ends };
}

describe('shared write', () => {
  it('has one write in flight, and all that comes meanwhile shares the next', async () => {
    let state = 'a';
    const { shared, written, ends } = slowDisk(() => state);
    const first = shared.request();
    await turn();
    const done: string[] = [];
    const requests = ['b', 'c', 'd'].map((next) => {
      state = next;
      return shared.request().then(() => done.push(next));
    });
    await turn();
    expect(written).toEqual(['a']);
    ends[0]!();
    await first;
    await turn();
    expect(written).toEqual(['a', 'd']);
    expect(done).toEqual([]);
    ends[1]!();
    await Promise.all(requests);
    expect(done).toEqual(['b', 'c', 'd']);
    expect(written).toHaveLength(2);
  });

  it('gives an error to those who shared the write, and to no others', async () => {
    const { shared, ends } = slowDisk(() => '');
    const first = [shared.request(), shared.request()];
    await turn();
    const second = shared.request();
    ends[0]!(new Error('disk full'));
    for (const request of first) await expect(request).rejects.toThrow('disk full');
    await turn();
    ends[1]!();
    await second;
  });

  it('is idle when the last write has ended, well or not', async () => {
    const { shared, ends } = slowDisk(() => '');
    await shared.idle();
    shared.request().catch(() => {});
    await turn();
    const second = shared.request();
    second.catch(() => {});
    let isIdle = false;
    const idle = shared.idle().then(() => {
      isIdle = true;
    });
    ends[0]!();
    await turn();
    expect(isIdle).toBe(false);
    ends[1]!(new Error('no'));
    await idle;
  });
});
