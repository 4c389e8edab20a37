/** A stream of JSON values, one a line, out of chunks that end anywhere. What waits is one line of bounded length. */
const NEWLINE = 0x0a;

export class JsonLines {
  readonly #maxBytes: number;
  readonly #onValue: (value: unknown) => void;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(maxBytes: number, onValue: (value: unknown) => void) {
    this.#maxBytes = maxBytes;
    this.#onValue = onValue;
  }

  /** Throws where a line is too long or no JSON; nothing may follow then. */
  push(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      this.#add(chunk.subarray(start, end));
      start = end + 1;
      const line = Buffer.concat(this.#chunks).toString();
      this.#chunks = [];
      this.#bytes = 0;
      if (line.trim() !== '') this.#onValue(parsed(line));
    }
    if (start < chunk.length) this.#add(Buffer.from(chunk.subarray(start)));
  }

  #add(part: Buffer): void {
    this.#bytes += part.length;
    if (this.#bytes > this.#maxBytes) throw new Error(`a line is longer than ${this.#maxBytes} bytes`);
    this.#chunks.push(part);
  }
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw new Error('a line is no JSON');
  }
}
