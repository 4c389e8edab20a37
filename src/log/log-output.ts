/**
 * Where log lines go: to a reader that may be slow, or gone. Nobody waits for it. What it does not take is kept up to a
 * bound; lines beyond that are dropped and counted, and a line says so when there is room again.
 *
 *     line -> [ kept lines, 1 MiB at most ] -> write, which takes some bytes, none for now (EAGAIN), or fails (EPIPE)
 */

import { EAGAIN, EINTR } from '../sys/constants.ts';

/** The part of sys/standard-error.ts that is needed here. */
export interface Sink {
  /** How many bytes were taken, or -errno. Never waits. */
  write(bytes: Uint8Array, offset: number): number;
  waitForRoom(limitMs: number): void;
}

export interface LogOutputOptions {
  readonly sink: Sink;
  /** The line that tells of dropped ones. */
  readonly notice: (dropped: number) => string;
  readonly maxBytes?: number;
}

const MAX_BYTES = 1024 * 1024;
/** How often a reader that took nothing is tried again. */
const RETRY_MS = 50;

export class LogOutput {
  readonly #options: LogOutputOptions;
  readonly #maxBytes: number;
  /** Whole lines, the first one from `#offset` on; bounded by `#maxBytes`. */
  #lines: Buffer[] = [];
  #offset = 0;
  #bytes = 0;
  #retry: NodeJS.Timeout | undefined;
  #dropped = 0;
  #untold = 0;

  constructor(options: LogOutputOptions) {
    this.#options = options;
    this.#maxBytes = options.maxBytes ?? MAX_BYTES;
  }

  /** Lines that nobody has got and nobody will. */
  get dropped(): number {
    return this.#dropped;
  }

  /** pino's destination: one line, with its end. */
  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#bytes + bytes.length > this.#maxBytes) {
      this.#drop(1);
      return;
    }
    this.#keep(bytes);
    if (this.#retry === undefined) this.#drain();
  }

  /** Before the process ends: what is kept, as far as the reader takes it within `limitMs`. */
  flush(limitMs: number): void {
    const deadlineMs = performance.now() + limitMs;
    this.#drain();
    while (this.#lines.length > 0 && performance.now() < deadlineMs) {
      this.#options.sink.waitForRoom(deadlineMs - performance.now());
      this.#drain();
    }
    clearTimeout(this.#retry);
  }

  #keep(bytes: Buffer): void {
    this.#lines.push(bytes);
    this.#bytes += bytes.length;
  }

  #drop(lines: number): void {
    this.#dropped += lines;
    this.#untold += lines;
  }

  /** Writes until nothing is left, or the reader takes no more. */
  #drain(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    for (;;) {
      const line = this.#lines[0];
      if (line === undefined) {
        if (this.#untold === 0) return;
        // There is room again.
        this.#keep(Buffer.from(this.#options.notice(this.#untold)));
        this.#untold = 0;
        continue;
      }
      const written = this.#options.sink.write(line, this.#offset);
      if (written === -EINTR) continue;
      if (written < 0) {
        if (written === -EAGAIN) this.#later();
        else this.#lost();
        return;
      }
      this.#offset += written;
      this.#bytes -= written;
      if (this.#offset < line.length) continue;
      this.#lines.shift();
      this.#offset = 0;
    }
  }

  #later(): void {
    this.#retry = setTimeout(() => this.#drain(), RETRY_MS);
    // Nothing runs on for the sake of its log.
    this.#retry.unref();
  }

  /** The reader is gone. Another may come, as with a named pipe: the next line tries again. */
  #lost(): void {
    this.#drop(this.#lines.length);
    this.#lines = [];
    this.#offset = 0;
    this.#bytes = 0;
  }
}
