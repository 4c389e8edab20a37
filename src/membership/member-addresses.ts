/** The addresses that members gossip from: their streams have places that strangers cannot take (link/stream-admission.ts). */
import type { Clock } from '../clock.ts';
import type { IpAddress } from '../ip/address.ts';
import type { MemberTable } from './member-table.ts';

/** Streams may come in by the thousand: the table is looked through no more often than this. */
const FRESH_MS = 1000;

export class MemberAddresses {
  readonly #table: MemberTable;
  readonly #clock: Clock;
  /** As many as there are members, at most. */
  #known: ReadonlySet<string> = new Set();
  #madeAtMs = Number.NEGATIVE_INFINITY;

  constructor(table: MemberTable, clock: Clock) {
    this.#table = table;
    this.#clock = clock;
  }

  has(address: IpAddress): boolean {
    const nowMs = this.#clock.now();
    if (nowMs - this.#madeAtMs >= FRESH_MS) {
      this.#madeAtMs = nowMs;
      const known = new Set<string>();
      for (const { record } of this.#table) known.add(keyOf(record.gossip.address));
      this.#known = known;
    }
    return this.#known.has(keyOf(address));
  }
}

function keyOf({ family, value }: IpAddress): string {
  return `${family}/${value}`;
}
