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

  constructor(workers: number) {
    this.workers = Array.from({ length: workers }, () => new WorkerCounters());
  }

  totals(): TrafficTotals {
    return addTraffic(this.workers.map((worker) => worker.totals()));
  }

  /** To and from the VTEP of this index; zeros for none. */
  vtep(index: number | undefined): TrafficTotals {
    return addTraffic(index === undefined ? [] : this.workers.map((worker) => worker.vtep(index)));
  }

  /** To the VTEP of this index, or to all. */
  outboundPackets(index?: number): number {
    let packets = 0;
    for (const worker of this.workers) packets += worker.outboundPackets(index);
    return packets;
  }

  /** Datagrams that went in groups to the VTEP of this index; 0 for none. */
  grouped(index: number | undefined): number {
    if (index === undefined) return 0;
    return this.workers.reduce((sum, worker) => sum + worker.grouped(index), 0);
  }

  /** To be called when no worker counts under this index any more, and before another peer gets it. */
  clearVtep(index: number): void {
    for (const worker of this.workers) worker.clearVtep(index);
  }

  /** Every drop reason by name, also those at 0. */
  drops(): Record<string, number> {
    return Object.fromEntries(
      DROP_NAMES.map((name, reason) => [
        name,
        this.workers.reduce((sum, worker) => sum + worker.dropped(reason as DropReason), 0),
      ]),
    );
  }
}
