import { spawnSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LogOutput } from '../../../src/log/log-output.ts';
import { openStandardError } from '../../../src/sys/standard-error.ts';

const EAGAIN = 11;
const EPIPE = 32;
const LINE = `${'x'.repeat(99)}\n`;
const notice = (dropped: number) => `${dropped} dropped\n`;

/** A reader that takes `room` bytes, and then nothing. */
class FakeReader {
  room = 0;
  isGone = false;
  text = '';

  write(bytes: Uint8Array, offset: number): number {
    if (this.isGone) return -EPIPE;
    const part = bytes.subarray(offset, offset + this.room);
    if (part.length === 0) return -EAGAIN;
    this.room -= part.length;
    this.text += Buffer.from(part).toString();
    return part.length;
  }

  waitForRoom(): void {
    this.room += 50;
  }
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('the output of the log', () => {
  it('keeps what a slow reader does not take yet, in order and whole', () => {
    const reader = new FakeReader();
    const output = new LogOutput({ sink: reader, notice, maxBytes: 1000 });
    output.write('one\n');
    output.write('two\n');
    expect(reader.text).toBe('');
    reader.room = 6;
    vi.advanceTimersByTime(50);
    expect(reader.text).toBe('one\ntw');
    reader.room = 1000;
    vi.advanceTimersByTime(50);
    expect(reader.text).toBe('one\ntwo\n');
    expect(output.dropped).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('drops lines beyond its bound, counts them, and says so when there is room again', () => {
    const reader = new FakeReader();
    const output = new LogOutput({ sink: reader, notice, maxBytes: 1000 });
    for (let i = 0; i < 25; i++) output.write(LINE);
    expect(output.dropped).toBe(15);
    reader.room = 1e6;
    vi.advanceTimersByTime(50);
    expect(reader.text).toBe(`${LINE.repeat(10)}15 dropped\n`);
    output.write('after\n');
    expect(reader.text.endsWith('dropped\nafter\n')).toBe(true);
    expect(output.dropped).toBe(15);
  });

  it('goes on without a reader, and with the next one', () => {
    const reader = new FakeReader();
    reader.isGone = true;
    const output = new LogOutput({ sink: reader, notice });
    output.write('lost\n');
    output.write('lost too\n');
    expect(output.dropped).toBe(2);
    expect(vi.getTimerCount()).toBe(0);
    reader.isGone = false;
    reader.room = 1000;
    output.write('here\n');
    expect(reader.text).toBe('here\n2 dropped\n');
  });

  it('at the end gives what is taken in time, and no more', () => {
    vi.useRealTimers();
    const reader = new FakeReader();
    const output = new LogOutput({ sink: reader, notice });
    output.write(LINE.repeat(3));
    output.flush(1000);
    expect(reader.text).toBe(LINE.repeat(3));
    const stalled = new LogOutput({ sink: { write: () => -EAGAIN, waitForRoom: () => {} }, notice });
    stalled.write(LINE);
    const startMs = performance.now();
    stalled.flush(20);
    expect(performance.now() - startMs).toBeLessThan(1000);
  });
});

describe('standard error that is a pipe', () => {
  let folder: string;
  let reader: number | undefined;
  let writer: number | undefined;

  beforeEach(() => {
    vi.useRealTimers();
    folder = mkdtempSync(join(tmpdir(), 'warren-log-test-'));
    const path = join(folder, 'pipe');
    expect(spawnSync('mkfifo', [path]).status).toBe(0);
    reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    // Blocking, as a shell hands it over.
    writer = openSync(path, constants.O_WRONLY);
  });
  afterEach(() => {
    if (reader !== undefined) closeSync(reader);
    if (writer !== undefined) closeSync(writer);
    rmSync(folder, { recursive: true });
  });

  function readAll(): string {
    const buffer = Buffer.alloc(65_536);
    let text = '';
    for (;;) {
      try {
        const bytes = readSync(reader!, buffer);
        if (bytes === 0) return text;
        text += buffer.toString('utf8', 0, bytes);
      } catch {
        return text;
      }
    }
  }

  it('and whose reader stalls does not block, and stays blocking for other processes', () => {
    const output = new LogOutput({ sink: openStandardError(writer!), notice, maxBytes: 10_000 });
    for (let i = 0; i < 2000; i++) output.write(LINE);
    expect(output.dropped).toBeGreaterThan(1000);
    const isNonblocking = (fd: number) =>
      (Number.parseInt(/flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))![1]!, 8) &
        constants.O_NONBLOCK) !==
      0;
    expect(isNonblocking(writer!)).toBe(false);
    let text = readAll();
    output.flush(100);
    text += readAll();
    // Whole lines alone, and none of them is missing without a word.
    const lines = text.trimEnd().split('\n');
    expect(lines.at(-1)).toBe(`${output.dropped} dropped`);
    expect(lines.length - 1).toBe(2000 - output.dropped);
    expect(lines.slice(0, -1).every((line) => `${line}\n` === LINE)).toBe(true);
  });

  it('and whose reader has gone loses lines, and no more', () => {
    const output = new LogOutput({ sink: openStandardError(writer!), notice });
    output.write('heard\n');
    expect(readAll()).toBe('heard\n');
    closeSync(reader!);
    reader = undefined;
    output.write('lost\n');
    expect(output.dropped).toBe(1);
  });
});
