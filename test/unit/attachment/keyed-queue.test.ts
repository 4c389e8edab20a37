import { describe, expect, it } from 'vitest';
import { forEachAtOnce, KeyedQueue } from '../../../src/attachment/keyed-queue.ts';

/** Work that ends when the test says so. */
function gate() {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('keyed queue', () => {
  it('does work on one key in order and one at a time, on others meanwhile', async () => {
    const queue = new KeyedQueue({ maxWaiting: 10 });
    const log: string[] = [];
    const first = gate();
    const work = (name: string, until?: Promise<void>) => async () => {
      log.push(`${name} begins`);
      await until;
      log.push(`${name} ends`);
    };
    const all = [
      queue.run('a', work('a1', first.opened)),
      queue.run('a', work('a2')),
      queue.run('b', work('b1')),
    ];
    // What has nobody to wait for has begun already.
    expect(log).toEqual(['a1 begins', 'b1 begins']);
    await turn();
    expect(log).toEqual(['a1 begins', 'b1 begins', 'b1 ends']);
    first.open();
    await Promise.all(all);
    expect(log.slice(3)).toEqual(['a1 ends', 'a2 begins', 'a2 ends']);
  });

  it('goes on after work that fails, and gives its error to whoever asked for it', async () => {
    const queue = new KeyedQueue({ maxWaiting: 10 });
    const failing = queue.run('a', async () => {
      throw new Error('no');
    });
    const after = queue.run('a', async () => 7);
    await expect(failing).rejects.toThrow('no');
    expect(await after).toBe(7);
    await queue.idle();
  });

  it("refuses what is too much, but for the agent's own work", async () => {
    const queue = new KeyedQueue({ maxWaiting: 1 });
    const first = gate();
    const waiting = [queue.run('a', () => first.opened), queue.run('a', async () => {})];
    expect(() => queue.run('a', async () => {})).toThrow(
      expect.objectContaining({ code: 'ATTACHMENT_BUSY' }),
    );
    waiting.push(queue.run('a', async () => {}, { isOwn: true }));
    // Another key has nobody to wait for.
    await queue.run('b', async () => {});
    first.open();
    await Promise.all(waiting);
    await queue.run('a', async () => {});
  });

  it('is idle when all is done, what was added meanwhile too', async () => {
    const queue = new KeyedQueue({ maxWaiting: 10 });
    let isDone = false;
    queue.run('a', async () => {
      await turn();
      queue.run('b', async () => {
        await turn();
        isDone = true;
      });
    });
    await queue.idle();
    expect(isDone).toBe(true);
  });

  it('works through a list with no more than so many at once', async () => {
    let running = 0;
    let most = 0;
    const seen: number[] = [];
    await forEachAtOnce(Array.from({ length: 50 }).keys(), 4, async (item) => {
      most = Math.max(most, ++running);
      seen.push(item);
      await turn();
      running--;
    });
    expect(most).toBe(4);
    expect(seen).toEqual([...Array(50).keys()]);
  });
});
