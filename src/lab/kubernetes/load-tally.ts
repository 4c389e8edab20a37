/** Counts what one client gets of one server while a cluster is changed: streams' bytes, answers, and the longest time without. */

/** Of the program that counts, src/lab/kubernetes/load.ts. */
export const LOAD_PORT = 8090;

/** What there was since the last one. */
export interface LoadReport {
  readonly name: string;
  readonly bytes: number;
  readonly answers: number;
  /** Streams that ended, by a reset or otherwise. */
  readonly streamsEnded: number;
  readonly requestsFailed: number;
  /** The longest time that one of the streams brought nothing. */
  readonly streamGapMs: number;
  /** The longest time without an answer, and how long the slowest one took. */
  readonly answerGapMs: number;
  readonly slowestMs: number;
  /** The first of what went wrong. */
  readonly errors: readonly string[];
}

const MAX_ERRORS = 5;

export class LoadTally {
  #startMs: number;
  #bytes = 0;
  #answers = 0;
  #streamsEnded = 0;
  #requestsFailed = 0;
  #slowestMs = 0;
  #streamGapMs = 0;
  #answerGapMs = 0;
  #lastAnswerMs: number;
  #errors: string[] = [];
  /** By stream; as many as there are streams. */
  readonly #lastDataMs = new Map<number, number>();

  constructor(nowMs: number) {
    this.#startMs = nowMs;
    this.#lastAnswerMs = nowMs;
  }

  received(stream: number, bytes: number, nowMs: number): void {
    this.#bytes += bytes;
    this.#streamGapMs = Math.max(this.#streamGapMs, nowMs - (this.#lastDataMs.get(stream) ?? this.#startMs));
    this.#lastDataMs.set(stream, nowMs);
  }

  streamEnded(): void {
    this.#streamsEnded++;
  }

  answered(startMs: number, nowMs: number): void {
    this.#answers++;
    this.#slowestMs = Math.max(this.#slowestMs, nowMs - startMs);
    this.#answerGapMs = Math.max(this.#answerGapMs, nowMs - this.#lastAnswerMs);
    this.#lastAnswerMs = nowMs;
  }

  requestFailed(why: string): void {
    this.#requestsFailed++;
    this.wentWrong(why);
  }

  wentWrong(why: string): void {
    if (this.#errors.length < MAX_ERRORS) this.#errors.push(why);
  }

  /** Begins anew, but for gaps that last. */
  report(name: string, nowMs: number): LoadReport {
    // One that never brought anything has been silent since the start.
    const last = this.#lastDataMs.size === 0 ? [this.#startMs] : [...this.#lastDataMs.values()];
    const report = {
      name,
      bytes: this.#bytes,
      answers: this.#answers,
      streamsEnded: this.#streamsEnded,
      requestsFailed: this.#requestsFailed,
      streamGapMs: Math.round(Math.max(this.#streamGapMs, nowMs - Math.min(...last))),
      answerGapMs: Math.round(Math.max(this.#answerGapMs, nowMs - this.#lastAnswerMs)),
      slowestMs: Math.round(this.#slowestMs),
      errors: this.#errors,
    };
    this.#bytes = 0;
    this.#answers = 0;
    this.#streamsEnded = 0;
    this.#requestsFailed = 0;
    this.#streamGapMs = 0;
    this.#answerGapMs = 0;
    this.#slowestMs = 0;
    this.#errors = [];
    return report;
  }
}
