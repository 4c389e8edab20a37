/** The latest lines of the log, for `warren sysdump`: they are there also where nobody keeps what the agent writes. */

const MAX_BYTES = 256 * 1024;

export class LogRing {
  readonly #maxBytes: number;
  /** Bounded by `#maxBytes`, and for each line at least `LINE_COST`. */
  #lines: string[] = [];
  /** Lines before this one have gone; the array is cut when half of it has. */
  #first = 0;
  #bytes = 0;

  constructor(maxBytes: number = MAX_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** One line, with its end. */
  add(line: string): void {
    this.#lines.push(line);
    this.#bytes += costOf(line);
    while (this.#bytes > this.#maxBytes) {
      this.#bytes -= costOf(this.#lines[this.#first]!);
      this.#lines[this.#first] = '';
      this.#first += 1;
    }
    if (this.#first * 2 <= this.#lines.length) return;
    this.#lines = this.#lines.slice(this.#first);
    this.#first = 0;
  }

  text(): string {
    return this.#lines.slice(this.#first).join('');
  }
}

/** Of a string's header and its place in the array. */
const LINE_COST = 32;

/** Log lines are ASCII for the most part; the bound is one of memory and need not be exact. */
function costOf(line: string): number {
  return line.length + LINE_COST;
}
