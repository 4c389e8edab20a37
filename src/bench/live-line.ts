/**
 * What is being measured now, on one line that is drawn anew on a terminal, and finished lines above it. Where
 * output is not a terminal only the finished lines are written.
 */
export class LiveLine {
  readonly #stream: NodeJS.WriteStream;
  #drawn = false;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  /** Replaces the line. */
  show(text: string): void {
    if (!this.#stream.isTTY) return;
    const columns = this.#stream.columns || 80;
    // Erase in line (ECMA-48): a shorter text must not leave the end of the one before.
    this.#stream.write(`\r${text.slice(0, columns - 1)}\u001b[K`);
    this.#drawn = true;
  }

  /** Writes a line that stays. */
  print(text: string): void {
    this.clear();
    this.#stream.write(`${text}\n`);
  }

  clear(): void {
    if (this.#drawn) this.#stream.write('\r\u001b[K');
    this.#drawn = false;
  }
}
