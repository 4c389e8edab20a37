/**
 * What the web page shows of the past: rates of the last 15 minutes (ring.ts) and what happened (event-log.ts). It runs in
 * every agent, looked at or not, since who opens the page wants to see what was before. A sample costs one look at the
 * counters of each peer.
 */
import { EventEmitter } from 'node:events';
import { type Clock, TimerGroup } from '../clock.ts';
import type { DataPlane } from '../dataplane/dataplane.ts';
import { type Endpoint, formatEndpoint, sameEndpoint } from '../ip/endpoint.ts';
import type { Member } from '../membership/types.ts';
import type { KnownPeer } from '../peers/peer-view.ts';
import type { OwnLink } from './cluster-links.ts';
import { type ClusterEvent, type EventKind, EventLog } from './event-log.ts';
import { type Growth, type PeerGrowth, SAMPLE_INTERVAL_MS, SampleRing, type Samples } from './ring.ts';

interface HistoryParts {
  readonly clock: Clock;
  readonly dataPlane: Pick<DataPlane, 'report' | 'traffic' | 'sessionAgeMs' | 'vtep'>;
  readonly peers: { peers(): readonly Pick<KnownPeer, 'key' | 'id' | 'name'>[] };
  readonly self: { readonly id: string; readonly name: string };
  readonly members: {
    on(event: 'change', listener: (member: Member, previous: Member | undefined) => void): unknown;
    on(event: 'removed', listener: (member: Pick<Member, 'id' | 'name'>) => void): unknown;
  };
  /** What was put back on this host, by kind. */
  readonly repairs: () => Readonly<Record<string, number>>;
}

interface PeerCounters {
  outboundBytes: number;
  inboundBytes: number;
  sessionAgeMs: number | undefined;
  /** Number of the sample that saw it last. */
  seen: number;
}

const NOTHING: Growth = { outboundBytes: 0, inboundBytes: 0, outboundPackets: 0, inboundPackets: 0 };

export class History extends EventEmitter<{ change: [] }> {
  readonly #parts: HistoryParts;
  readonly #timers: TimerGroup;
  readonly #ring = new SampleRing();
  readonly #log = new EventLog();
  /** By key: peers that anything went to or came from. Bounded by the data plane's peers. */
  readonly #counters = new Map<string, PeerCounters>();
  #totals = NOTHING;
  #drops: Readonly<Record<string, number>> = {};
  #offloads: Readonly<Record<string, boolean>> | undefined;
  #repairs: Readonly<Record<string, number>> = {};
  #vtep: Endpoint;
  #sampledAtMs = 0;

  constructor(parts: HistoryParts) {
    super();
    this.#parts = parts;
    this.#timers = new TimerGroup(parts.clock);
    this.#vtep = parts.dataPlane.vtep;
    const { members, self } = parts;
    members.on('change', (member, previous) => {
      if (member.id !== self.id) this.#memberChanged(member, previous);
    });
    members.on('removed', ({ id, name }) => this.#happened('forgotten', { id, name }));
  }

  start(): void {
    const { totals, drops } = this.#parts.dataPlane.report();
    this.#totals = totals;
    this.#drops = drops;
    this.#repairs = this.#parts.repairs();
    this.#sampledAtMs = this.#parts.clock.now();
    this.#next();
  }

  stop(): void {
    this.#timers.close();
  }

  samples(after: number): Samples {
    return this.#ring.after(after);
  }

  events(): readonly ClusterEvent[] {
    return this.#log.list();
  }

  /** This node's, with what went out by the last sample. */
  links(): OwnLink[] {
    const { dataPlane, peers } = this.#parts;
    const ids = new Map(peers.peers().map(({ key, id }) => [key, id]));
    return this.#ring.after(this.#ring.sequence - 1).peers.flatMap(({ key, outboundBytes }) => {
      const [rate = 0] = outboundBytes;
      const to = ids.get(key) ?? '';
      if (rate === 0 || to === '') return [];
      return [{ to, outboundBytes: rate, isSealed: dataPlane.sessionAgeMs?.(key) !== undefined }];
    });
  }

  #next(): void {
    this.#timers.after(SAMPLE_INTERVAL_MS, () => {
      this.#sample();
      this.#next();
    });
  }

  #sample(): void {
    const { clock, dataPlane } = this.#parts;
    const report = dataPlane.report();
    const nowMs = clock.now();
    const peers = this.#peerGrowth();
    this.#ring.add({
      timeMs: clock.wallTime(),
      seconds: Math.max(0.001, (nowMs - this.#sampledAtMs) / 1000),
      totals: {
        outboundBytes: grown(report.totals.outboundBytes, this.#totals.outboundBytes),
        inboundBytes: grown(report.totals.inboundBytes, this.#totals.inboundBytes),
        outboundPackets: grown(report.totals.outboundPackets, this.#totals.outboundPackets),
        inboundPackets: grown(report.totals.inboundPackets, this.#totals.inboundPackets),
      },
      drops: Object.fromEntries(
        Object.entries(report.drops).map(([reason, count]) => [
          reason,
          grown(count, this.#drops[reason] ?? 0),
        ]),
      ),
      peers,
    });
    this.#sampledAtMs = nowMs;
    this.#totals = report.totals;
    this.#drops = report.drops;
    this.#noteOwn(report.offloads);
  }

  /** Of those peers that had any traffic; and who has new keys. */
  #peerGrowth(): PeerGrowth[] {
    const { dataPlane, peers } = this.#parts;
    const sample = this.#ring.sequence + 1;
    const growth: PeerGrowth[] = [];
    const rekeyed: Pick<KnownPeer, 'id' | 'name'>[] = [];
    for (const { key, id, name } of peers.peers()) {
      const { outboundBytes, inboundBytes } = dataPlane.traffic(key);
      if (outboundBytes + inboundBytes === 0) continue;
      const sessionAgeMs = dataPlane.sessionAgeMs?.(key);
      const before = this.#counters.get(key);
      if (before === undefined) {
        growth.push({ key, outboundBytes, inboundBytes });
        this.#counters.set(key, { outboundBytes, inboundBytes, sessionAgeMs, seen: sample });
        continue;
      }
      if (outboundBytes !== before.outboundBytes || inboundBytes !== before.inboundBytes) {
        growth.push({
          key,
          outboundBytes: grown(outboundBytes, before.outboundBytes),
          inboundBytes: grown(inboundBytes, before.inboundBytes),
        });
      }
      if (
        sessionAgeMs !== undefined &&
        before.sessionAgeMs !== undefined &&
        sessionAgeMs < before.sessionAgeMs
      )
        rekeyed.push({ id, name });
      before.outboundBytes = outboundBytes;
      before.inboundBytes = inboundBytes;
      before.sessionAgeMs = sessionAgeMs;
      before.seen = sample;
    }
    for (const [key, { seen }] of this.#counters) if (seen !== sample) this.#counters.delete(key);
    const [first] = rekeyed;
    if (first) this.#happened('rekeyed', first, { others: rekeyed.length - 1 });
    return growth;
  }

  #noteOwn(offloads: Readonly<Record<string, boolean>>): void {
    const { self, repairs, dataPlane } = this.#parts;
    for (const [name, isOn] of Object.entries(offloads)) {
      const wasOn = this.#offloads?.[name];
      if (wasOn === undefined || wasOn === isOn) continue;
      this.#happened(isOn ? 'offload-on' : 'offload-off', self, { detail: name });
    }
    this.#offloads = { ...offloads };
    const put = repairs();
    for (const [kind, count] of Object.entries(put)) {
      if (count > (this.#repairs[kind] ?? 0)) this.#happened('repaired', self, { detail: kind });
    }
    this.#repairs = { ...put };
    if (!sameEndpoint(this.#vtep, dataPlane.vtep)) {
      this.#vtep = dataPlane.vtep;
      this.#happened('moved', self, { detail: formatEndpoint(dataPlane.vtep) });
    }
  }

  #memberChanged(member: Member, previous: Member | undefined): void {
    const kind = changeOf(member, previous);
    if (kind !== undefined) this.#happened(kind, member);
    if (previous && !sameEndpoint(member.vtep, previous.vtep))
      this.#happened('moved', member, { detail: formatEndpoint(member.vtep) });
  }

  #happened(
    kind: EventKind,
    { id, name }: { readonly id: string; readonly name: string },
    more: { readonly detail?: string; readonly others?: number } = {},
  ): void {
    this.#log.add({ timeMs: this.#parts.clock.wallTime(), kind, nodeId: id, node: name, ...more });
    this.emit('change');
  }
}

/** Counters of a peer that was forgotten and came back begin anew. */
function grown(now: number, before: number): number {
  return now >= before ? now - before : now;
}

function changeOf(member: Member, previous: Member | undefined): EventKind | undefined {
  if (member.status === previous?.status) return undefined;
  switch (member.status) {
    case 'alive':
      return previous === undefined || previous.status === 'left' || previous.status === 'dead'
        ? 'joined'
        : 'recovered';
    case 'suspect':
      return 'suspect';
    // One that was dead before this node heard of it did not die now.
    case 'dead':
      return previous === undefined ? undefined : 'died';
    case 'left':
      return previous === undefined ? undefined : 'left';
  }
}
