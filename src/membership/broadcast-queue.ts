/**
 * Broadcasts that wait to be gossiped: each is sent a limited number of times, the newest first, and a newer one about
 * the same member replaces an older one (memberlist queue.go).
 */
interface Broadcast {
  readonly key: string;
  readonly bytes: Uint8Array;
  /** The member that has no need to hear it. */
  readonly notTo: string | undefined;
  transmits: number;
  /** A newer broadcast has its key; it is skipped and dropped when met. */
  superseded: boolean;
}

/** How many broadcasts that do not fit are passed over in search of one that does. */
const MAX_MISFITS = 16;

export class BroadcastQueue {
  /** Bounded by its keys: one per member, and one per statement about one (admission/). */
  readonly #current = new Map<string, Broadcast>();
  /** By number of transmits so far; the newest of a tier stands last. */
  readonly #tiers: Broadcast[][] = [];

  get size(): number {
    return this.#current.size;
  }

  /** `notTo`: a member's own record is no news to it, and a transmit to it would be lost on the others. */
  put(key: string, bytes: Uint8Array, notTo?: string): void {
    this.remove(key);
    const broadcast = { key, bytes, notTo, transmits: 0, superseded: false };
    this.#current.set(key, broadcast);
    const tier = this.#tier(0);
    tier.push(broadcast);
    // While there is no member to send to, superseded broadcasts are never removed in passing.
    if (tier.length > 2 * this.#current.size + MAX_MISFITS) {
      this.#tiers[0] = tier.filter((queued) => !queued.superseded);
    }
  }

  remove(key: string): void {
    const old = this.#current.get(key);
    if (old) old.superseded = true;
    this.#current.delete(key);
  }

  /**
   * Takes what fits into `limitBytes` and is news to the member `to`, each message costing `overheadBytes`
   * more than its length. What has now been sent `transmitLimit` times is forgotten.
   */
  take(limitBytes: number, overheadBytes: number, transmitLimit: number, to?: string): Uint8Array[] {
    const taken: Broadcast[] = [];
    let free = limitBytes;
    let misfits = 0;
    for (const tier of this.#tiers) {
      for (let i = tier.length - 1; i >= 0 && misfits < MAX_MISFITS && free > overheadBytes; i--) {
        const broadcast = tier[i]!;
        if (broadcast.superseded) {
          tier.splice(i, 1);
        } else if (to !== undefined && broadcast.notTo === to) {
          // Stays for the others.
        } else if (broadcast.bytes.length + overheadBytes <= free) {
          tier.splice(i, 1);
          free -= broadcast.bytes.length + overheadBytes;
          taken.push(broadcast);
        } else {
          misfits++;
        }
      }
    }
    for (const broadcast of taken) {
      broadcast.transmits++;
      if (broadcast.transmits < transmitLimit) this.#tier(broadcast.transmits).push(broadcast);
      else this.#current.delete(broadcast.key);
    }
    return taken.map((broadcast) => broadcast.bytes);
  }

  #tier(transmits: number): Broadcast[] {
    while (this.#tiers.length <= transmits) this.#tiers.push([]);
    return this.#tiers[transmits]!;
  }
}
