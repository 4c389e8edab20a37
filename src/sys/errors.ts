/** Failed system calls as errors that say which call, why (errno's name) and what to do. */
import { getSystemErrorMap } from 'node:util';
import { foreignCode, WarrenError } from '../errors.ts';

export class SysError extends WarrenError {
  /** The positive errno. */
  readonly errno: number;
  /** The C function, such as `ioctl(TUNSETIFF)`. */
  readonly call: string;

  constructor(call: string, errnoValue: number, doing: string, hint?: string) {
    const name = errnoName(errnoValue);
    const meaning = getSystemErrorMap().get(-errnoValue)?.[1];
    super(
      foreignCode(name),
      `${doing}: ${call} failed with ${name}${meaning ? ` (${meaning})` : ''}`,
      hint ? { hint } : {},
    );
    this.errno = errnoValue;
    this.call = call;
  }
}

/** `ENOENT` for 2; `errno 77` where Node knows no name. */
export function errnoName(errnoValue: number): string {
  return getSystemErrorMap().get(-errnoValue)?.[0] ?? `errno ${errnoValue}`;
}
