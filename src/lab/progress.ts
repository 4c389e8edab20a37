/** What is being done, one line each with how it ended and the time it took. */
export class ProgressLines {
  readonly #stream: NodeJS.WritableStream;
  #startMs: number | undefined;

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream;
  }

  /** The step before is done, and this one begins: "starting 3 agents". */
  step(doing: string): void {
    this.#finish('done');
    this.#startMs = performance.now();
    this.#stream.write(`${doing[0]?.toUpperCase() ?? ''}${doing.slice(1)} ... `);
  }

  done(): void {
    this.#finish('done');
  }

  /** Ends a line that was begun when something went wrong; nothing if none was. */
  failed(): void {
    this.#finish('failed');
  }

  #finish(how: string): void {
    if (this.#startMs === undefined) return;
    const seconds = (performance.now() - this.#startMs) / 1000;
    this.#startMs = undefined;
    this.#stream.write(`${how} (${seconds.toFixed(1)} s)\n`);
  }
}
