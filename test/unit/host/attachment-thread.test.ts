/** The control thread's side of attachments, with a thread of the test in place of the real one. */
import { EventEmitter } from 'node:events';
import type { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { Journal } from '../../../src/host/attachment/journal.ts';
import {
  LinuxAttachmentNetwork,
  type LinuxAttachmentNetworkOptions,
} from '../../../src/host/attachment/linux-attachment-network.ts';
import { SOURCE_CHECK, type ToThread } from '../../../src/host/attachment/thread-messages.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { linkOf } from '../../helpers/attachment-links.ts';

/** Answers each operation with what `answer` gives; undefined: not at all. */
class FakeThread extends EventEmitter {
  readonly asked: ToThread[] = [];
  readonly journal: Journal;
  isEnded = false;
  readonly #answer: (message: ToThread) => object | undefined;

  constructor(journal: SharedArrayBuffer, answer: (message: ToThread) => object | undefined) {
    super();
    this.journal = new Journal(journal);
    this.#answer = answer;
  }

  postMessage(message: ToThread): void {
    this.asked.push(message);
    const answer = message.name === 'close' ? { result: undefined } : this.#answer(message);
    if (answer !== undefined) queueMicrotask(() => this.emit('message', { id: message.id, ...answer }));
  }

  ref(): void {}
  unref(): void {}

  async terminate(): Promise<void> {
    this.isEnded = true;
    this.emit('exit', 1);
  }
}

const DONE = { result: { problem: undefined } };

function network(
  answer: (message: ToThread) => object | undefined,
  options: Partial<LinuxAttachmentNetworkOptions> = {},
) {
  const threads: FakeThread[] = [];
  const clock = new VirtualClock();
  const startWorker = ({ journal }: { journal: SharedArrayBuffer }) => {
    const thread = new FakeThread(journal, answer);
    threads.push(thread);
    return thread as unknown as Worker;
  };
  const one = new LinuxAttachmentNetwork({ log: silentLogger, clock, startWorker, ...options });
  const asked = () => threads.flatMap((thread) => thread.asked.map(({ name, args }) => [name, ...args]));
  return { network: one, threads, clock, asked };
}

const link = linkOf(2, '/run/netns/x');

describe('the thread of attachments', () => {
  it('is started by the first operation, and ends after half a minute without any', async () => {
    const { network: one, threads, clock } = network(() => DONE);
    expect(threads).toHaveLength(0);
    await one.ensure(link);
    clock.advance(29_000);
    await one.ensure(link);
    clock.advance(29_000);
    expect(threads[0]!.isEnded).toBe(false);
    clock.advance(2_000);
    await new Promise(setImmediate);
    expect(threads[0]!.isEnded).toBe(true);
    await one.ensure(link);
    expect(threads).toHaveLength(2);
    await one.close();
    expect(threads[1]!.isEnded).toBe(true);
    await expect(one.ensure(link)).rejects.toMatchObject({ code: 'NAMESPACE_THREAD_CLOSED' });
  });

  it('makes the table once in a process, and again where that failed', async () => {
    let isFailing = true;
    const { network: one, asked } = network(() =>
      isFailing
        ? { error: { code: 'HOST_COMMAND_FAILED', message: 'no answer within 10 s', hint: 'Wait.' } }
        : DONE,
    );
    await expect(one.ensure(link)).rejects.toMatchObject({ code: 'HOST_COMMAND_FAILED', hint: 'Wait.' });
    isFailing = false;
    await one.ensure(link);
    await one.ensure(link);
    expect(asked().map(([, , mode]) => mode)).toEqual([
      SOURCE_CHECK.make,
      SOURCE_CHECK.make,
      SOURCE_CHECK.on,
    ]);
  });

  it('says what is missing where there is no nftables, and tries again after a minute', async () => {
    let problem: string | undefined = 'nft is not installed';
    const {
      network: one,
      asked,
      clock,
    } = network(({ name }) => (name === 'findDamaged' ? { result: [] } : { result: { problem } }));
    await one.ensure(link);
    expect(one.problems()).toEqual(['nft is not installed']);
    await one.ensure(link);
    await one.findDamaged([link]);
    clock.advance(60_000);
    problem = undefined;
    await one.ensure(link);
    expect(one.problems()).toEqual([]);
    await one.ensure(link);
    await one.findDamaged([link]);
    const { off, on, make } = SOURCE_CHECK;
    expect(
      asked()
        .filter(([name]) => name !== 'close')
        .map(([, , mode]) => mode),
    ).toEqual([make, off, off, make, on, on]);
  });

  it('that is lost fails what was under way, and undoes what had begun', async () => {
    let isAnswering = false;
    const { network: one, threads, asked } = network(() => (isAnswering ? DONE : undefined));
    const results = [2, 3].map((n) => one.ensure(linkOf(n, '/run/netns/x')));
    const settled = Promise.allSettled(results);
    const [thread] = threads;
    thread!.journal.begin(thread!.asked[1]!.id);
    isAnswering = true;
    thread!.emit('exit', 1);
    const lost = { status: 'rejected', reason: expect.objectContaining({ code: 'NAMESPACE_THREAD_LOST' }) };
    expect(await settled).toEqual([lost, lost]);
    expect(asked().slice(2)).toEqual([['remove', 'wp3', SOURCE_CHECK.on]]);
    await one.ensure(link);
    expect(threads).toHaveLength(2);
  });

  it('that is lost while it made a namespace has it removed', async () => {
    let isAnswering = false;
    const { network: one, threads, asked } = network(() => (isAnswering ? DONE : undefined));
    const result = one.addNamespace('web');
    threads[0]!.journal.begin(threads[0]!.asked[0]!.id);
    isAnswering = true;
    threads[0]!.emit('exit', 1);
    await expect(result).rejects.toMatchObject({ code: 'NAMESPACE_THREAD_LOST' });
    expect(asked()).toEqual([
      ['addNamespace', 'web'],
      ['removeNamespace', 'web'],
    ]);
  });
});

describe('the journal', () => {
  it('knows what is open and what has begun, across the two threads', () => {
    const here = new Journal();
    const there = new Journal(here.shared);
    expect([here.begun, here.held]).toEqual([0, []]);
    const opens = (fd: number) => there.opens(() => fd, Number);
    opens(7);
    opens(9);
    // Where the thread ends in the middle of it, one may be open that is in no slot.
    there.closes(7, () => expect([here.held, here.mayMissOne]).toEqual([[9], true]));
    opens(11);
    expect(here.mayMissOne).toBe(false);
    there.begin(4);
    expect([here.begun, here.held]).toEqual([4, [11, 9]]);
    there.finish();
    expect(here.begun).toBe(0);
  });
});
