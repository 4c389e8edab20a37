/** What the kernel refuses over netlink, and answers that are no netlink. */
import { getSystemErrorMap } from 'node:util';
import { WarrenError } from '../errors.ts';

/** The kernel refused a request. */
export class NetlinkError extends WarrenError {
  /** The positive errno. */
  readonly errno: number;
  /** Its name, such as `ENODEV`. */
  readonly reason: string;

  /** `doing`: what was asked, as a phrase ("making the interface wp1"). `detail`: the kernel's own words. */
  constructor(errno: number, doing: string, detail: string | undefined) {
    const [reason = `errno ${errno}`, meaning] = getSystemErrorMap().get(-errno) ?? [];
    const hint =
      reason === 'EPERM' || reason === 'EACCES'
        ? 'Run as root; in a container give it the capability NET_ADMIN (cap_add).'
        : undefined;
    const words = detail ?? meaning;
    super('HOST_NETLINK_FAILED', `${doing} failed with ${reason}${words === undefined ? '' : `: ${words}`}`, {
      ...(hint === undefined ? {} : { hint }),
    });
    this.errno = errno;
    this.reason = reason;
  }
}

/** True if `error` is the kernel's refusal for one of `reasons` (`ENODEV`). */
export function isRefusal(error: unknown, ...reasons: readonly string[]): error is NetlinkError {
  return error instanceof NetlinkError && reasons.includes(error.reason);
}

/** Bytes that cannot be what the kernel sends. */
export function malformed(what: string): WarrenError {
  return new WarrenError('NETLINK_MALFORMED', `the kernel's netlink answer cannot be read: ${what}`);
}
