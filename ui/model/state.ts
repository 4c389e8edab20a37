/** What the page knows, as values that never change: `reduce` makes the next state of the present one and what came. */
import type {
  EventReport,
  HistoryReport,
  InventoryReport,
  LeasesReport,
  LinkReport,
  PeerReport,
  StatusReport,
} from '../../src/readmodel/reports.ts';

/** Of what happens to a link, bytes per second. */
export interface Rate {
  readonly outbound: number;
  readonly inbound: number;
}

export interface Counted extends Rate {
  readonly atMs: number;
}

export type Connection =
  | { readonly is: 'connecting' }
  | { readonly is: 'live' }
  /** Since when, and what is shown is of then. */
  | { readonly is: 'lost'; readonly sinceMs: number }
  /** Nothing is shown without a token, or the one that was given is not one. */
  | { readonly is: 'refused'; readonly why: string };

export interface State {
  readonly connection: Connection;
  /** Whether names are shown, or pseudonyms; undefined: not known yet. */
  readonly names: boolean | undefined;
  readonly status: StatusReport | undefined;
  readonly peers: readonly PeerReport[];
  readonly inventory: readonly InventoryReport[];
  readonly leases: LeasesReport;
  readonly events: readonly EventReport[];
  /** Between any two nodes, as those that answer say. */
  readonly links: readonly LinkReport[];
  /** By `peerKey`. */
  readonly rates: ReadonlyMap<string, Rate>;
  /** Counters as they were last, for the next rates. */
  readonly counted: ReadonlyMap<string, Counted>;
  readonly history: HistoryReport;
}

export type Topics = Pick<State, 'peers' | 'inventory' | 'leases' | 'events'> & {
  readonly status: StatusReport;
};

export type Action =
  | { readonly type: 'session'; readonly names: boolean }
  | { readonly type: 'live' }
  | { readonly type: 'lost'; readonly atMs: number }
  | { readonly type: 'refused'; readonly why: string }
  /** `isWhole`: all that the agent has, and not what came since. */
  | { readonly type: 'history'; readonly value: HistoryReport; readonly isWhole: boolean }
  | { readonly type: 'links'; readonly value: readonly LinkReport[] }
  | { readonly type: 'topic'; readonly topic: string; readonly value: unknown; readonly atMs: number };

const NO_HISTORY: HistoryReport = {
  sequence: 0,
  intervalSeconds: 5,
  times: [],
  totals: { outboundBytes: [], inboundBytes: [], outboundPackets: [], inboundPackets: [] },
  drops: {},
  peers: [],
};

export const EMPTY: State = {
  connection: { is: 'connecting' },
  names: undefined,
  status: undefined,
  peers: [],
  inventory: [],
  leases: { ranges: [], leases: [] },
  events: [],
  links: [],
  rates: new Map(),
  counted: new Map(),
  history: NO_HISTORY,
};

/** 15 minutes of samples. */
export const MAX_SAMPLES = 181;

export function reduce(state: State, action: Action): State {
  switch (action.type) {
    case 'session':
      return { ...state, names: action.names };
    case 'live':
      return { ...state, connection: { is: 'live' } };
    case 'lost':
      // The first loss counts: trying again does not make what is shown any newer.
      if (state.connection.is === 'lost') return state;
      return {
        ...state,
        connection: { is: 'lost', sinceMs: action.atMs },
        links: [],
        rates: new Map(),
        counted: new Map(),
      };
    case 'refused':
      return { ...EMPTY, connection: { is: 'refused', why: action.why } };
    case 'history':
      return { ...state, history: action.isWhole ? action.value : joined(state.history, action.value) };
    case 'links':
      return { ...state, links: action.value };
    case 'topic':
      return withTopic(state, action.topic, action.value, action.atMs);
  }
}

/** Which peer it is, wherever it is named: static ones have no id. */
export function peerKey({ id, name }: { readonly id: string; readonly name: string }): string {
  return id === '' ? `static/${name}` : id;
}

function withTopic(state: State, topic: string, value: unknown, atMs: number): State {
  switch (topic) {
    case 'status':
      return { ...state, status: value as StatusReport };
    case 'peers': {
      const peers = value as readonly PeerReport[];
      return { ...state, peers, ...ratesOf(state, peers, atMs) };
    }
    case 'inventory':
      return { ...state, inventory: value as readonly InventoryReport[] };
    case 'leases':
      return { ...state, leases: value as LeasesReport };
    case 'events':
      return { ...state, events: value as readonly EventReport[] };
    default:
      // A later agent's.
      return state;
  }
}

/** Less than this apart, two counts say nothing of a rate. */
const LEAST_GAP_MS = 900;

function ratesOf(
  { counted, rates }: State,
  peers: readonly PeerReport[],
  atMs: number,
): Pick<State, 'counted' | 'rates'> {
  const nextCounted = new Map<string, Counted>();
  const nextRates = new Map<string, Rate>();
  for (const peer of peers) {
    const key = peerKey(peer);
    const [outbound, inbound] = [peer.outbound.bytes, peer.inbound.bytes];
    const before = counted.get(key);
    const rate = rates.get(key);
    if (before && atMs - before.atMs < LEAST_GAP_MS) {
      nextCounted.set(key, before);
      if (rate) nextRates.set(key, rate);
      continue;
    }
    nextCounted.set(key, { outbound, inbound, atMs });
    if (!before) continue;
    const seconds = (atMs - before.atMs) / 1000;
    // Counters of an agent that was started anew begin at 0.
    const grown = (now: number, then: number) => (now >= then ? now - then : now) / seconds;
    nextRates.set(key, {
      outbound: grown(outbound, before.outbound),
      inbound: grown(inbound, before.inbound),
    });
  }
  return { counted: nextCounted, rates: nextRates };
}

/** `next` after `before`, and no more than MAX_SAMPLES. */
function joined(before: HistoryReport, next: HistoryReport): HistoryReport {
  const added = next.times.length;
  // We were away for too long: what we had does not go on.
  if (next.sequence < before.sequence || next.sequence - before.sequence > added) return next;
  if (added === 0) return before;
  const fresh = next.sequence - before.sequence;
  const kept = before.times.length;
  const join = (old: readonly number[] | undefined, more: readonly number[] | undefined) =>
    [
      ...(old ?? new Array<number>(kept).fill(0)),
      ...(more ?? new Array<number>(added).fill(0)).slice(added - fresh),
    ].slice(-MAX_SAMPLES);
  const reasons = new Set([...Object.keys(before.drops), ...Object.keys(next.drops)]);
  const old = new Map(before.peers.map((peer) => [peerKey(peer), peer]));
  return {
    ...next,
    times: join(before.times, next.times),
    totals: {
      outboundBytes: join(before.totals.outboundBytes, next.totals.outboundBytes),
      inboundBytes: join(before.totals.inboundBytes, next.totals.inboundBytes),
      outboundPackets: join(before.totals.outboundPackets, next.totals.outboundPackets),
      inboundPackets: join(before.totals.inboundPackets, next.totals.inboundPackets),
    },
    drops: Object.fromEntries([...reasons].map((one) => [one, join(before.drops[one], next.drops[one])])),
    // Only those that the agent still keeps.
    peers: next.peers.map((peer) => ({
      ...peer,
      outboundBytes: join(old.get(peerKey(peer))?.outboundBytes, peer.outboundBytes),
      inboundBytes: join(old.get(peerKey(peer))?.inboundBytes, peer.inboundBytes),
    })),
  };
}
