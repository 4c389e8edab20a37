/** `--watch`: the same report whenever it changes, and every so often, until Ctrl-C. */
import { setTimeout as sleep } from 'node:timers/promises';
import { WarrenError } from '../errors.ts';
import type { CliIo } from '../terminal/io.ts';

/** Cursor home and erase to the end (ECMA-48): nothing flickers, unlike with a cleared screen. */
const HOME = '\u001b[H';
const ERASE_LINE = '\u001b[K';
const ERASE_BELOW = '\u001b[J';

export interface Watched<T> {
  readonly intervalMs: number;
  /** Values as they come; ends or throws a WarrenError when the agent goes. */
  follow(signal: AbortSignal): AsyncIterable<T>;
  /** Whether `follow` has no value where nothing has changed: the last one is then written again. */
  readonly isRepeated: boolean;
  render(value: T): string;
}

/**
 * Writes each value that comes, and the last one again after `intervalMs`, until the interrupt. An agent that goes
 * away is shown as such, and asked again until it is back.
 */
export async function watch<T>(io: CliIo, watched: Watched<T>): Promise<void> {
  const { intervalMs, follow, isRepeated, render } = watched;
  const signal = io.interruptSignal();
  const print = (text: string) => io.stdout.write(io.stdout.isTerminal ? redraw(text) : text);
  while (!signal.aborted) {
    let repeat: NodeJS.Timeout | undefined;
    try {
      for await (const value of follow(signal)) {
        if (signal.aborted) return;
        const text = render(value);
        print(text);
        clearInterval(repeat);
        if (isRepeated) repeat = setInterval(() => !signal.aborted && print(text), intervalMs);
      }
    } catch (error) {
      if (!(error instanceof WarrenError)) throw error;
      if (!signal.aborted) print(`${error.message}\n`);
    } finally {
      clearInterval(repeat);
    }
    await sleep(intervalMs, undefined, { signal }).catch(() => {});
  }
}

function redraw(text: string): string {
  return `${HOME}${text.replaceAll('\n', `${ERASE_LINE}\n`)}${ERASE_BELOW}`;
}
