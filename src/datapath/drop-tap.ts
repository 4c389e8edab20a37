/**
 * Where the packet path hands out copies of what it drops, while captures run; without one this costs a look at a length
 * for each drop, and nothing for each packet that passes.
 */
import { monotonicMs } from '../sys/monotonic.ts';
import { sockaddrPort } from '../sys/sockaddr.ts';
import { SOCKADDR_IN, SOCKADDR_IN6 } from '../sys/structs.ts';
import { IPV4_TOTAL_LENGTH, ipVersion } from '../wire/ipv4.ts';
import { IPV6_HEADER_BYTES, IPV6_PAYLOAD_LENGTH } from '../wire/ipv6.ts';
import { DROPPED, type DroppedKind, DropRing } from './drop-ring.ts';
import type { DropReason } from './drops.ts';

/** Captures of one agent at a time. */
export const MAX_DROP_RINGS = 4;

export class DropTap {
  #rings: readonly DropRing[] = [];

  /** Of all captures that run. */
  load(rings: readonly SharedArrayBuffer[]): void {
    this.#rings = rings.slice(0, MAX_DROP_RINGS).map((shared) => new DropRing(shared));
  }

  /** An inner packet of `length` bytes at `at`. */
  packet(kind: DroppedKind, reason: DropReason, memory: Uint8Array, at: number, length: number): void {
    if (this.#rings.length === 0) return;
    const atMs = monotonicMs();
    for (const ring of this.#rings) ring.put({ kind, reason, length, atMs }, memory, at);
  }

  /** An inner packet at `at` that is as long as its header says. */
  wholePacket(kind: DroppedKind, reason: DropReason, memory: Uint8Array, view: DataView, at: number): void {
    if (this.#rings.length === 0) return;
    const length =
      ipVersion(view, at) === 4
        ? view.getUint16(at + IPV4_TOTAL_LENGTH)
        : IPV6_HEADER_BYTES + view.getUint16(at + IPV6_PAYLOAD_LENGTH);
    this.packet(kind, reason, memory, at, length);
  }

  /** A datagram of `length` bytes at `at` from the socket address at `sockaddr`. */
  datagram(
    reason: DropReason,
    memory: Uint8Array,
    view: DataView,
    at: number,
    length: number,
    sockaddr: number,
    family: 4 | 6,
  ): void {
    if (this.#rings.length === 0) return;
    const addressAt = sockaddr + (family === 4 ? SOCKADDR_IN.address : SOCKADDR_IN6.address);
    const sender = { port: sockaddrPort(view, sockaddr), addressAt, family };
    const packet = { kind: DROPPED.datagram, reason, length, atMs: monotonicMs() };
    for (const ring of this.#rings) ring.put(packet, memory, at, sender);
  }
}
