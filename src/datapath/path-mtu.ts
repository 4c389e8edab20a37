/**
 * What becomes of an inner packet that is longer than the path to its VTEP carries: outer fragments if it may be
 * fragmented, else an ICMP error that says what fits. And how that is found out.
 */
import { IPV4_DONT_FRAGMENT, IPV4_FRAGMENT, IPV4_TOTAL_LENGTH, ipVersion } from '../wire/ipv4.ts';
import { IPV6_HEADER_BYTES, IPV6_MIN_MTU, IPV6_PAYLOAD_LENGTH } from '../wire/ipv6.ts';
import type { IcmpReplies } from './icmp-replies.ts';
import type { OutboundArena } from './outbound-arena.ts';
import type { UnderlaySocket } from './ports.ts';
import type { VtepTable } from './vtep-table.ts';

export interface PathMtuParts {
  readonly arena: OutboundArena;
  readonly socket: UnderlaySocket;
  readonly vteps: VtepTable;
  readonly replies: IcmpReplies;
  /** A clock that never jumps. */
  readonly nowMs: () => number;
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

  /** Whether an inner packet is over the path MTU; one that was lowered is forgotten once its time is over. */
  isOver(vtep: number, innerBytes: number): boolean {
    return innerBytes > this.#vteps.mtu(vtep) && !this.#vteps.expireMtu(vtep, this.#parts.nowMs());
  }

  /** Whether the inner packet at `origin` may leave in outer fragments (RFC 8200, section 5: up to 1280). */
  mayFragment(origin: number, innerBytes: number): boolean {
    if (ipVersion(this.#view, origin) !== 4) return innerBytes <= IPV6_MIN_MTU;
    return (this.#view.getUint16(origin + IPV4_FRAGMENT) & IPV4_DONT_FRAGMENT) === 0;
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
   * The kernel refused an inner packet of `refusedBytes` bytes: ask it how much the path carries. It may know
   * nothing, or a figure that would have let the packet through: then only the refusal itself counts.
   */
  learn(vtep: number, refusedBytes: number): void {
    const { socket, overheadBytes, nowMs } = this.#parts;
    const pathMtu = socket.pathMtu(this.#vteps.sockaddr(vtep), this.#vteps.sockaddrBytes);
    const told = pathMtu > overheadBytes ? pathMtu - overheadBytes : refusedBytes;
    this.#vteps.lowerMtu(vtep, Math.min(told, refusedBytes - 1), nowMs());
  }
}
