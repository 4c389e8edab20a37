import type { ErrorCode } from './error-codes.ts';

/**
 * An error that a person has to act on: what was wrong, where, and (in `hint`) what to do about it.
 *
 * The CLI prints `message` and `hint` on one line each and exits non-zero; it never prints a stack for
 * one of these. Anything that is not a WarrenError is a bug in warren.
 */
export class WarrenError extends Error {
  override readonly name = 'WarrenError';
  /** A stable, machine-readable name such as `CONFIG_INVALID` or `TUN_LOST`: one of error-codes.ts, or another version's. */
  readonly code: ErrorCode | ForeignCode;
  /** What the reader can do, as a full sentence; absent where the message already says it. */
  readonly hint: string | undefined;

  constructor(
    code: ErrorCode | ForeignCode,
    message: string,
    options: { hint?: string | undefined; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

/** A code that this version's table does not hold: an errno's name, or what another process answered. */
export type ForeignCode = string & { readonly isForeign: true };

export function foreignCode(code: string): ForeignCode {
  return code as ForeignCode;
}

/** The text of anything that was thrown. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
