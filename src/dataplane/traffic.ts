/**
 * The traffic counters of all packet path threads, added up when they are asked for. They belong to the data plane
 * and not to the threads: a packet path that is started anew goes on counting where the one before it stopped.
 */
import { addTraffic, WorkerCounters } from '../datapath/counters.ts';
import { DROP_NAMES, type DropReason } from '../datapath/drops.ts';
import type { TrafficTotals } from './dataplane.ts';

export class Traffic {
  /** One per worker. */
  readonly workers: readonly WorkerCounters[];
  /** Of the thread that makes sessions, which sends packets that waited for one; undefined: there is none. */
  readonly keyExchange: WorkerCounters | undefined;
  readonly #all: readonly WorkerCounters[];

  constructor(workers: number, hasSessions = false) {
    this.workers = Array.from({ length: workers }, () => new WorkerCounters());
    this.keyExchange = hasSessions ? new WorkerCounters() : undefined;
    this.#all = this.keyExchange === undefined ? this.workers : [...this.workers, this.keyExchange];
  }

  totals(): TrafficTotals {
    return addTraffic(this.#all.map((worker) => worker.totals()));
  }

  /** To and from the VTEP of this index; zeros for none. */
  vtep(index: number | undefined): TrafficTotals {
    return addTraffic(index === undefined ? [] : this.#all.map((worker) => worker.vtep(index)));
  }

  /** To the VTEP of this index, or to all. */
  outboundPackets(index?: number): number {
    let packets = 0;
    for (const worker of this.#all) packets += worker.outboundPackets(index);
    return packets;
  }

  /** Datagrams that went in groups to the VTEP of this index; 0 for none. */
  grouped(index: number | undefined): number {
    if (index === undefined) return 0;
    return this.#all.reduce((sum, worker) => sum + worker.grouped(index), 0);
  }

  /** To be called when no worker counts under this index any more, and before another peer gets it. */
  clearVtep(index: number): void {
    for (const worker of this.#all) worker.clearVtep(index);
  }

  /** Every drop reason by name, also those at 0. */
  drops(): Record<string, number> {
    return Object.fromEntries(
      DROP_NAMES.map((name, reason) => [
        name,
        this.#all.reduce((sum, worker) => sum + worker.dropped(reason as DropReason), 0),
      ]),
    );
  }
}
