/**
 * What becomes of an inner packet that is longer than the path to its VTEP carries: outer fragments if it may be
 * fragmented, else an ICMP error that says what fits.
 *
 * How much a path carries the control thread finds out, by probes. The kernel refuses only what is over the link's own
 * MTU (IP_PMTUDISC_PROBE), whatever it was told by ICMP: so a refusal is no lie, and counts at once.
 */
import { IPV4_DONT_FRAGMENT, IPV4_FRAGMENT, IPV4_TOTAL_LENGTH, ipVersion } from '../wire/ipv4.ts';
import { IPV6_HEADER_BYTES, IPV6_MIN_MTU, IPV6_PAYLOAD_LENGTH } from '../wire/ipv6.ts';
import type { IcmpReplies } from './icmp-replies.ts';
import type { OutboundArena } from './outbound-arena.ts';
import type { UnderlaySocket } from './ports.ts';
import type { VtepTable } from './vtep-table.ts';

/** What every path carries (RFC 791): answers to probes are looked at from there on. */
const LEAST_PATH_BYTES = 576;

export interface PathMtuParts {
  readonly arena: OutboundArena;
  readonly socket: UnderlaySocket;
  readonly vteps: VtepTable;
  readonly replies: IcmpReplies;
  /** Outer IP and UDP headers and what the encapsulation adds, in bytes. */
  readonly overheadBytes: number;
}

export class PathMtu {
  readonly #parts: PathMtuParts;
  readonly #view: DataView;
  readonly #vteps: VtepTable;

  constructor(parts: PathMtuParts) {
    this.#parts = parts;
    this.#view = parts.arena.view;
    this.#vteps = parts.vteps;
  }

  /** Whether the inner packet at `origin` is over the path MTU, or to be dealt with as if it were. */
  isOver(vtep: number, origin: number, innerBytes: number): boolean {
    const { ownProbes } = this.#vteps;
    if (innerBytes > this.#vteps.mtu(vtep)) return !ownProbes.has(this.#view, origin, innerBytes);
    return innerBytes >= LEAST_PATH_BYTES && ownProbes.mayDivide(this.#view, origin, innerBytes);
  }

  /** Whether the inner packet at `origin` may leave in outer fragments (RFC 8200, section 5: up to 1280). */
  mayFragment(origin: number, innerBytes: number): boolean {
    const isV4 = ipVersion(this.#view, origin) === 4;
    const mayIt = isV4
      ? (this.#view.getUint16(origin + IPV4_FRAGMENT) & IPV4_DONT_FRAGMENT) === 0
      : innerBytes <= IPV6_MIN_MTU;
    const { ownProbes } = this.#vteps;
    if (mayIt) return !ownProbes.has(this.#view, origin, innerBytes);
    return !isV4 && ownProbes.mayDivide(this.#view, origin, innerBytes);
  }

  /** Answers the inner packet at `origin` with the MTU of the path. */
  answer(origin: number, vtep: number): void {
    const isV4 = ipVersion(this.#view, origin) === 4;
    const bytes = isV4
      ? this.#view.getUint16(origin + IPV4_TOTAL_LENGTH)
      : IPV6_HEADER_BYTES + this.#view.getUint16(origin + IPV6_PAYLOAD_LENGTH);
    this.#parts.replies.tooBig(this.#parts.arena.arena.bytes, origin, bytes, this.#vteps.mtu(vtep));
  }

  /**
   * The kernel refused an inner packet of `refusedBytes` bytes: ask it how much the link carries. It may know nothing,
   * or a figure that would have let the packet through: then only the refusal itself counts.
   */
  learn(vtep: number, refusedBytes: number): void {
    const { socket, overheadBytes } = this.#parts;
    const linkMtu = socket.linkMtu(this.#vteps.sockaddr(vtep), this.#vteps.sockaddrBytes);
    const told = linkMtu > overheadBytes ? linkMtu - overheadBytes : refusedBytes;
    this.#vteps.lowerMtu(vtep, Math.min(told, refusedBytes - 1));
  }
}
