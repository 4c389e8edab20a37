import { Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { eventsOf, type StreamEvent } from '../../../src/api/event-stream.ts';
import { KEEP_ALIVE_MS, WatchStreams } from '../../../src/api/watch-stream.ts';
import type { Topic } from '../../../src/readmodel/topics.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { FakeAgent, fakeStatus } from '../../helpers/fake-agent.ts';

let agent: FakeAgent;
let clock: VirtualClock;
let streams: WatchStreams;
let bugs: unknown[];
beforeEach(() => {
  agent = new FakeAgent();
  clock = new VirtualClock();
  bugs = [];
  streams = new WatchStreams({ model: agent, clock, onBug: (error) => bugs.push(error) });
});

/** A reader that may stop taking. */
class Reader extends Writable {
  taken: string[] = [];
  waiting: (() => void) | undefined;
  isSlow = false;

  constructor() {
    super({ highWaterMark: 1024, decodeStrings: false, autoDestroy: true });
  }

  override _write(chunk: string, _encoding: string, done: () => void): void {
    this.taken.push(chunk);
    if (this.isSlow) this.waiting = done;
    else done();
  }

  /** Takes all that is on its way, and what follows. */
  async goOn(): Promise<void> {
    this.isSlow = false;
    this.waiting?.();
    await nextTurn();
  }

  async events(): Promise<StreamEvent[]> {
    const events: StreamEvent[] = [];
    for await (const event of eventsOf(chunksOf(this.taken), 1e6)) events.push(event);
    return events;
  }

  async names(): Promise<string[]> {
    return (await this.events()).map(({ id, event }) => `${event} ${id}`);
  }
}

async function* chunksOf(texts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

function follow(topics: readonly Topic[], intervalMs?: number): Reader {
  const reader = new Reader();
  streams.open(topics, intervalMs, reader).start();
  return reader;
}

async function change(...topics: Topic[]): Promise<void> {
  agent.feed.touch(topics);
  await nextTurn();
}

describe('a stream of changes', () => {
  it('begins with the present values', async () => {
    const reader = follow(['pods', 'routes']);
    expect(await reader.events()).toEqual([
      { id: '0', event: 'pods', data: JSON.stringify(agent.podReports) },
      { id: '0', event: 'routes', data: JSON.stringify(agent.routes()) },
    ]);
  });

  it('then has a whole value whenever one changes, with the version that it is of', async () => {
    const reader = follow(['pods', 'routes']);
    clock.advance(1000);
    await agent.addPod('db', {});
    await nextTurn();
    expect(await reader.names()).toEqual(['pods 0', 'routes 0', 'pods 1']);
    const last = (await reader.events()).at(-1)!;
    expect(JSON.parse(last.data)).toEqual(agent.podReports);
  });

  it('says nothing of a value that is as it was, nor of topics that were not asked for', async () => {
    const reader = follow(['pods']);
    clock.advance(1000);
    await change('pods');
    agent.peerReports = [];
    await change('peers');
    clock.advance(1000);
    expect(await reader.names()).toEqual(['pods 0']);
  });

  it('puts many changes together: five a second at most, and the last of them is never lost', async () => {
    const reader = follow(['pods']);
    for (let i = 0; i < 100; i++) {
      await agent.addPod(`pod-${i}`, {});
      await nextTurn();
      clock.advance(10);
    }
    clock.advance(1000);
    const events = await reader.events();
    expect(events.length).toBeGreaterThanOrEqual(5);
    expect(events.length).toBeLessThanOrEqual(7);
    expect(JSON.parse(events.at(-1)!.data)).toHaveLength(101);
    const versions = events.map(({ id }) => Number(id));
    expect(versions).toEqual([...versions].sort((a, b) => a - b));
  });

  it('has counters anew after each interval, changed or not, and nothing else', async () => {
    const reader = follow(['status', 'peers', 'pods'], 2000);
    clock.advance(1999);
    expect(await reader.names()).toHaveLength(3);
    clock.advance(2001);
    expect((await reader.names()).slice(3)).toEqual(['status 0', 'peers 0', 'status 0', 'peers 0']);
  });

  it('has counters only with other changes where no interval is asked for', async () => {
    const reader = follow(['status']);
    agent.statusReport = { ...fakeStatus, pods: 9 };
    clock.advance(14_000);
    expect(await reader.names()).toHaveLength(1);
    await change('status');
    expect(await reader.names()).toHaveLength(2);
  });

  it('is kept alive by comments while nothing happens', async () => {
    const reader = follow(['pods']);
    clock.advance(KEEP_ALIVE_MS * 3);
    expect(reader.taken.slice(1)).toEqual([':\n\n', ':\n\n', ':\n\n']);
    expect(await reader.names()).toEqual(['pods 0']);
  });

  it('keeps nothing for a slow reader: what comes when it reads again is the value of then', async () => {
    agent.podReports = Array.from({ length: 20 }, () => agent.podReports[0]!);
    const slow = follow(['pods']);
    slow.isSlow = true;
    clock.advance(1000);
    agent.podReports = [...agent.podReports, ...agent.podReports];
    await change('pods');
    expect(slow.writableNeedDrain).toBe(true);
    const bufferedBytes = slow.writableLength;
    for (let i = 0; i < 50; i++) {
      await agent.addPod(`pod-${i}`, {});
      await nextTurn();
      clock.advance(1000);
    }
    expect(slow.writableLength).toBe(bufferedBytes);
    await slow.goOn();
    clock.advance(1000);
    const events = await slow.events();
    expect(events).toHaveLength(3);
    expect(JSON.parse(events[2]!.data)).toHaveLength(90);
    // And it is not cut off for having been slow once.
    clock.advance(120_000);
    expect(slow.destroyed).toBe(false);
  });

  it('is cut off when its reader takes nothing for a minute', async () => {
    const reader = new Reader();
    reader.isSlow = true;
    agent.podReports = Array.from({ length: 20 }, () => agent.podReports[0]!);
    streams.open(['pods'], undefined, reader).start();
    clock.advance(59_000);
    expect(reader.destroyed).toBe(false);
    clock.advance(2000);
    expect(reader.destroyed).toBe(true);
  });

  it('ends with the agent, and leaves no timer', async () => {
    const reader = follow(['status'], 1000);
    streams.close();
    await nextTurn();
    expect(reader.writableFinished).toBe(true);
    const { length } = reader.taken;
    await change('status');
    clock.advance(3_600_000);
    expect(reader.taken).toHaveLength(length);
  });

  it('goes on for the others when a reader goes', async () => {
    const gone = follow(['pods']);
    const reader = follow(['pods']);
    gone.destroy();
    await nextTurn();
    clock.advance(1000);
    await agent.addPod('db', {});
    await nextTurn();
    expect(await reader.names()).toEqual(['pods 0', 'pods 1']);
    expect(gone.taken).toHaveLength(1);
  });

  it('does not take the agent with it when a report fails', async () => {
    const reader = follow(['status']);
    clock.advance(1000);
    agent.failure = new TypeError('a bug');
    await change('status');
    expect(bugs).toEqual([agent.failure]);
    expect(reader.writableEnded).toBe(true);
  });
});

it('32 streams are open at most; one that ends makes room', async () => {
  const readers = Array.from({ length: 32 }, () => follow(['pods']));
  expect(() => follow(['pods'])).toThrow(expect.objectContaining({ code: 'WATCH_LIMIT' }) as Error);
  readers[0]!.destroy();
  await nextTurn();
  expect(() => follow(['pods'])).not.toThrow();
});
