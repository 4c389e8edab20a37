/** Whether something keeps the machine's clock right (adjtimex(2)). Apart from libc.ts, for only `warren host check` asks. */
import koffi from 'koffi';
import { Arena } from './arena.ts';

/** Of struct timex (linux/timex.h) on 64-bit machines. All zeros, its `modes` among them, change nothing. */
const TIMEX_BYTES = 208;
/** What the call returns while nothing has set the clock by a better one for a while. */
const TIME_ERROR = 5;

/** Undefined: the kernel does not say. */
export function isClockSynchronised(): boolean | undefined {
  const adjtimex = koffi.load(null).func('int adjtimex(uintptr_t timex)') as (timex: number) => number;
  const state = adjtimex(new Arena(TIMEX_BYTES).address(0));
  return state < 0 ? undefined : state !== TIME_ERROR;
}
