/** System calls for the cold path: each either succeeds or throws a SysError that says what was being done. */
import type { Arena } from './arena.ts';
import { SysError } from './errors.ts';
import * as libc from './libc.ts';

/** What to say when a call fails: the call's name, what it was for, and a hint by errno name. */
export interface CallContext {
  readonly call: string;
  readonly doing: string;
  readonly hints?: Readonly<Record<string, string>>;
}

/** Returns `result`, or throws if it is -1. Call it with the libc call as the argument, so errno is fresh. */
export function checked(result: number, context: CallContext): number {
  if (result !== -1) return result;
  const errno = libc.errno();
  const error = new SysError(context.call, errno, context.doing);
  const hint = context.hints?.[error.code];
  throw hint ? new SysError(context.call, errno, context.doing, hint) : error;
}

/** Sets an `int` socket option; `scratch` lends four bytes at its start. */
export function setIntOption(
  fd: number,
  level: number,
  name: number,
  value: number,
  scratch: Arena,
  context: CallContext,
): void {
  scratch.view.setInt32(0, value, true);
  checked(libc.setsockopt(fd, level, name, scratch.address(0), 4), context);
}

/** Reads an `int` socket option; `scratch` lends eight bytes at its start. */
export function getIntOption(
  fd: number,
  level: number,
  name: number,
  scratch: Arena,
  context: CallContext,
): number {
  scratch.view.setInt32(4, 4, true);
  checked(libc.getsockopt(fd, level, name, scratch.address(0), scratch.address(4)), context);
  return scratch.view.getInt32(0, true);
}
