/**
 * Packet path counters: float64 slots (exact to 2^53) in memory that the workers share with the control
 * thread. A worker is the only writer of its block; the control thread reads whenever it is asked, and adds up.
 */
import { HISTOGRAM_SLOTS, Histogram } from '../histogram.ts';
import { DROP_NAMES, type DropReason, type Verdict } from './drops.ts';

export const COUNTER = { outboundPackets: 0, outboundBytes: 1, inboundPackets: 2, inboundBytes: 3 } as const;
const FIRST_DROP = 4;
const WORKER_SLOTS = FIRST_DROP + DROP_NAMES.length;

/** Bounds the VTEP table: as many peers as one agent can have. */
export const MAX_VTEPS = 16_384;

export interface TrafficTotals {
  readonly outboundPackets: number;
  readonly outboundBytes: number;
  readonly inboundPackets: number;
  readonly inboundBytes: number;
}

export class WorkerCounters {
  readonly shared: SharedArrayBuffer;
  /** How long those took that this node began; of the thread that makes sessions. */
  readonly handshakes: Histogram;
  readonly #totals: Float64Array;
  readonly #vteps: Float64Array;
  /** By VTEP. */
  readonly #grouped: Float64Array;

  constructor(shared = new SharedArrayBuffer(8 * (WORKER_SLOTS + 5 * MAX_VTEPS + HISTOGRAM_SLOTS))) {
    this.shared = shared;
    this.#totals = new Float64Array(shared, 0, WORKER_SLOTS);
    this.#vteps = new Float64Array(shared, 8 * WORKER_SLOTS, 4 * MAX_VTEPS);
    this.#grouped = new Float64Array(shared, 8 * (WORKER_SLOTS + 4 * MAX_VTEPS), MAX_VTEPS);
    this.handshakes = new Histogram(
      new Float64Array(shared, 8 * (WORKER_SLOTS + 5 * MAX_VTEPS), HISTOGRAM_SLOTS),
    );
  }

  /** `packets` inner packets of `bytes` bytes in all went to a VTEP. */
  outbound(vtep: number, packets: number, bytes: number): void {
    this.#totals[COUNTER.outboundPackets]! += packets;
    this.#totals[COUNTER.outboundBytes]! += bytes;
    this.#vteps[4 * vtep + COUNTER.outboundPackets]! += packets;
    this.#vteps[4 * vtep + COUNTER.outboundBytes]! += bytes;
  }

  /** `datagrams` went to a VTEP in one group. */
  group(vtep: number, datagrams: number): void {
    this.#grouped[vtep]! += datagrams;
  }

  /** `packets` inner packets of `bytes` bytes in all came from a VTEP. */
  inbound(vtep: number, packets: number, bytes: number): void {
    this.#totals[COUNTER.inboundPackets]! += packets;
    this.#totals[COUNTER.inboundBytes]! += bytes;
    this.#vteps[4 * vtep + COUNTER.inboundPackets]! += packets;
    this.#vteps[4 * vtep + COUNTER.inboundBytes]! += bytes;
  }

  drop(reason: DropReason): void {
    this.#totals[FIRST_DROP + reason]! += 1;
  }

  /** Counts a verdict, if it is a drop that is not counted yet. */
  count(verdict: Verdict): void {
    if (verdict >= 0) this.drop(verdict as DropReason);
  }

  dropped(reason: DropReason): number {
    return this.#totals[FIRST_DROP + reason]!;
  }

  totals(): TrafficTotals {
    return traffic(this.#totals, 0);
  }

  /** To a VTEP, or to all. */
  outboundPackets(vtep?: number): number {
    return vtep === undefined
      ? this.#totals[COUNTER.outboundPackets]!
      : this.#vteps[4 * vtep + COUNTER.outboundPackets]!;
  }

  vtep(index: number): TrafficTotals {
    return traffic(this.#vteps, 4 * index);
  }

  /** Datagrams that went to a VTEP in groups. */
  grouped(index: number): number {
    return this.#grouped[index]!;
  }

  /** Before an index is given to another peer. */
  clearVtep(index: number): void {
    this.#vteps.fill(0, 4 * index, 4 * index + 4);
    this.#grouped[index] = 0;
  }
}

function traffic(slots: Float64Array, at: number): TrafficTotals {
  return {
    outboundPackets: slots[at + COUNTER.outboundPackets]!,
    outboundBytes: slots[at + COUNTER.outboundBytes]!,
    inboundPackets: slots[at + COUNTER.inboundPackets]!,
    inboundBytes: slots[at + COUNTER.inboundBytes]!,
  };
}

export function addTraffic(all: readonly TrafficTotals[]): TrafficTotals {
  const sum = (pick: (one: TrafficTotals) => number) => all.reduce((total, one) => total + pick(one), 0);
  return {
    outboundPackets: sum((one) => one.outboundPackets),
    outboundBytes: sum((one) => one.outboundBytes),
    inboundPackets: sum((one) => one.inboundPackets),
    inboundBytes: sum((one) => one.inboundBytes),
  };
}
