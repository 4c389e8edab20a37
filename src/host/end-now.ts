/** The end of a process that has a thread which does not end: Node would wait for it. */
import * as libc from '../sys/libc.ts';

/** For what was written to get out; whoever reads it may have stopped. */
const LAST_WORDS_MS = 1000;

/** What listens for the process's end is called, as in `process.exit`. */
export async function endNow(exitCode: number): Promise<never> {
  const isWritten = new Promise<void>((resolve) => process.stderr.write('', () => resolve()));
  const isOver = new Promise<void>((resolve) => setTimeout(resolve, LAST_WORDS_MS));
  await Promise.race([isWritten, isOver]);
  process.emit('exit', exitCode);
  return libc.exitNow(exitCode) as never;
}
