/**
 * The last 15 minutes in numbers: what went to and from whom, and what was dropped, once every 5 seconds. All of it lies in
 * typed arrays that are as large at the start as they ever get, about 80 KB: a sample writes one column of each series.
 */

export const SAMPLE_INTERVAL_MS = 5000;
/** 15 minutes, and the sample that begins them. */
export const SAMPLES = 181;
/** Of the peers, those with the most traffic lately. The others are in the totals. */
export const MAX_PEER_SERIES = 32;
/** What a peer's traffic of a sample ago still counts against a newcomer: half of it after a minute and a half. */
const WEIGHT_KEPT = 0.96;

/** Since the sample before, in bytes or packets. */
export interface Growth {
  readonly outboundBytes: number;
  readonly inboundBytes: number;
  readonly outboundPackets: number;
  readonly inboundPackets: number;
}

export interface PeerGrowth {
  readonly key: string;
  readonly outboundBytes: number;
  readonly inboundBytes: number;
}

/** What `SampleRing.after` gives: rates per second, oldest first. */
export interface Samples {
  /** Number of the last one, which is what to ask for the next ones with. */
  readonly sequence: number;
  /** Milliseconds since 1970. */
  readonly times: readonly number[];
  readonly totals: Readonly<Record<keyof Growth, readonly number[]>>;
  /** Packets per second, of those reasons that there were any of. */
  readonly drops: Readonly<Record<string, readonly number[]>>;
  readonly peers: readonly {
    readonly key: string;
    readonly outboundBytes: readonly number[];
    readonly inboundBytes: readonly number[];
  }[];
}

interface PeerSlot {
  key: string | undefined;
  weight: number;
  readonly outbound: Float32Array;
  readonly inbound: Float32Array;
}

const TOTALS = ['outboundBytes', 'inboundBytes', 'outboundPackets', 'inboundPackets'] as const;

export class SampleRing {
  readonly #times = new Float64Array(SAMPLES);
  readonly #seconds = new Float32Array(SAMPLES);
  readonly #totals: Record<keyof Growth, Float32Array>;
  /** By reason; as many as the data plane has. */
  readonly #drops = new Map<string, Float32Array>();
  readonly #peers: PeerSlot[] = [];
  /** Of the last sample; the first is 1. */
  #sequence = 0;

  constructor() {
    const series = () => new Float32Array(SAMPLES);
    this.#totals = {
      outboundBytes: series(),
      inboundBytes: series(),
      outboundPackets: series(),
      inboundPackets: series(),
    };
  }

  get sequence(): number {
    return this.#sequence;
  }

  /** `seconds` since the sample before. A peer or reason that is not named has grown by nothing. */
  add(sample: {
    readonly timeMs: number;
    readonly seconds: number;
    readonly totals: Growth;
    readonly drops: Readonly<Record<string, number>>;
    readonly peers: readonly PeerGrowth[];
  }): void {
    const column = ++this.#sequence % SAMPLES;
    this.#times[column] = sample.timeMs;
    this.#seconds[column] = sample.seconds;
    for (const name of TOTALS) this.#totals[name][column] = sample.totals[name];
    for (const series of this.#drops.values()) series[column] = 0;
    for (const [reason, packets] of Object.entries(sample.drops)) {
      if (packets > 0) this.#drop(reason)[column] = packets;
    }
    for (const slot of this.#peers) {
      slot.weight *= WEIGHT_KEPT;
      slot.outbound[column] = 0;
      slot.inbound[column] = 0;
    }
    for (const peer of sample.peers) {
      const bytes = peer.outboundBytes + peer.inboundBytes;
      const slot = bytes > 0 ? this.#slot(peer.key, bytes) : undefined;
      if (slot === undefined) continue;
      slot.weight += bytes;
      slot.outbound[column] = peer.outboundBytes;
      slot.inbound[column] = peer.inboundBytes;
    }
  }

  /** The samples after number `after`, as far back as there are any. */
  after(after: number): Samples {
    const first = Math.max(after + 1, this.#sequence - SAMPLES + 1, 1);
    const columns = Array.from(
      { length: Math.max(0, this.#sequence - first + 1) },
      (_, i) => (first + i) % SAMPLES,
    );
    const rates = (series: Float32Array) =>
      columns.map((column) => Math.round((10 * series[column]!) / (this.#seconds[column] || 1)) / 10);
    return {
      sequence: this.#sequence,
      times: columns.map((column) => this.#times[column]!),
      totals: {
        outboundBytes: rates(this.#totals.outboundBytes),
        inboundBytes: rates(this.#totals.inboundBytes),
        outboundPackets: rates(this.#totals.outboundPackets),
        inboundPackets: rates(this.#totals.inboundPackets),
      },
      drops: Object.fromEntries([...this.#drops].map(([reason, series]) => [reason, rates(series)])),
      peers: this.#peers.flatMap(({ key, outbound, inbound }) =>
        key === undefined ? [] : [{ key, outboundBytes: rates(outbound), inboundBytes: rates(inbound) }],
      ),
    };
  }

  #drop(reason: string): Float32Array {
    let series = this.#drops.get(reason);
    if (series === undefined) {
      series = new Float32Array(SAMPLES);
      this.#drops.set(reason, series);
    }
    return series;
  }

  /** The peer's; undefined if those that have one all have had more traffic lately. */
  #slot(key: string, bytes: number): PeerSlot | undefined {
    let least: PeerSlot | undefined;
    for (const slot of this.#peers) {
      if (slot.key === key) return slot;
      if (least === undefined || slot.weight < least.weight) least = slot;
    }
    if (this.#peers.length < MAX_PEER_SERIES) {
      const slot = {
        key,
        weight: 0,
        outbound: new Float32Array(SAMPLES),
        inbound: new Float32Array(SAMPLES),
      };
      this.#peers.push(slot);
      return slot;
    }
    if (least === undefined || least.weight >= bytes) return undefined;
    least.key = key;
    least.weight = 0;
    least.outbound.fill(0);
    least.inbound.fill(0);
    return least;
  }
}
