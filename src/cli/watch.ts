/** `--watch`: the same report again and again, until Ctrl-C. */
import { setTimeout as sleep } from 'node:timers/promises';
import { WarrenError } from '../errors.ts';
import type { CliIo } from './io.ts';

/** Cursor home and erase to the end (ECMA-48): nothing flickers, unlike with a cleared screen. */
const HOME = '\u001b[H';
const ERASE_LINE = '\u001b[K';
const ERASE_BELOW = '\u001b[J';

/**
 * Writes what `render` gives every `intervalMs` until the interrupt. An agent that does not answer for a
 * while is shown as such and asked again.
 */
export async function watch(io: CliIo, intervalMs: number, render: () => Promise<string>): Promise<void> {
  const signal = io.interruptSignal();
  while (!signal.aborted) {
    const text = await render().catch((error: unknown) => {
      if (error instanceof WarrenError) return `${error.message}\n`;
      throw error;
    });
    if (signal.aborted) return;
    io.stdout.write(io.stdout.isTerminal ? redraw(text) : text);
    await sleep(intervalMs, undefined, { signal }).catch(() => {});
  }
}

function redraw(text: string): string {
  return `${HOME}${text.replaceAll('\n', `${ERASE_LINE}\n`)}${ERASE_BELOW}`;
}
