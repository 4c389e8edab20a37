/**
 * How long it takes until every node knows what one has attached, and what it costs: in a series of attaches and
 * detaches, for a node that joins late, and after a partition.
 */
import type { InventoryTiming } from '../inventory/timing.ts';
import { randomIndex } from '../membership/random.ts';
import type { MembershipTiming } from '../membership/timing.ts';
import type { Rpc } from '../rpc/rpc.ts';
import { attachment, InventoryCluster, type InventoryNode } from './inventory-cluster.ts';
import { SEALED_EXTRA_BYTES, UDP_IP_BYTES } from './large-cluster.ts';
import { perfectLan } from './virtual-network.ts';

export interface InventorySpreadOptions {
  readonly seed: number;
  readonly nodes: number;
  /** Of each node. */
  readonly attachments: number;
  /** Attaches and detaches, one after the other on random nodes. */
  readonly changes: number;
  /** 0 to 1. */
  readonly loss: number;
  readonly first: InventoryTiming['first'];
  readonly timing: MembershipTiming;
}

/** Milliseconds, over all changes. */
export interface Delays {
  readonly p50: number;
  readonly p99: number;
  readonly most: number;
}

export interface InventorySpread {
  readonly nodes: number;
  readonly attachments: number;
  readonly changes: number;
  readonly loss: number;
  readonly first: InventoryTiming['first'];
  /** From the attach (or detach) until the last node knows of it. */
  readonly knownToAll: Delays;
  /** The same until one node does, over all nodes. */
  readonly knownToOne: Delays;
  /** Of `knownToOne`: milliseconds until that share of the nodes knows, 0 to 1. */
  readonly shares: readonly (readonly [ms: number, share: number])[];
  /** What a node sends for one change, with what membership needs to tell of it; above what it sends at rest. */
  readonly bytesPerChange: { readonly udp: number; readonly stream: number };
  /** What a node asks for one change. */
  readonly callsPerChange: number;
  /** The most calls that came to one node within `AT_ONCE_MS`. */
  readonly mostCallsAtOnce: number;
  /** What a node sends in a second at rest. */
  readonly bytesAtRest: { readonly udp: number; readonly stream: number };
  /** All start at once, with their attachments: until all know all. */
  readonly startMs: number;
  /** A newcomer's start until it knows all, and what it took for that. */
  readonly lateJoinMs: number;
  readonly lateJoinBytes: number;
  /** From the heal until all know all, where a fifth of the nodes were cut off for a minute while things changed. */
  readonly healMs: number;
  /** Of that, until all had each other's records, which say what there is to pull: membership's part. */
  readonly healKnownMs: number;
}

const WARM_UP_MS = 20_000;
const REST_MS = 60_000;
/** On average; evenly spread around it. */
const CHANGE_INTERVAL_MS = 250;
export const AT_ONCE_MS = 10;
const SHARES = [0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1];
const PARTITION_MS = 60_000;
const LIMIT_MS = 120_000;

export async function measureInventorySpread(options: InventorySpreadOptions): Promise<InventorySpread> {
  const { seed, nodes, attachments, changes, loss, first, timing } = options;
  const quality = { ...perfectLan, loss };
  const calls = new CallCounter();
  const all = new InventoryCluster({
    ...{ seed, timing, quality, inventory: { first } },
    rpcOf: (node) => calls.counted(node.rpc, () => node.cluster.clock.now()),
  });
  const { clock, cluster } = all;
  const agreed = async (what: string, stepMs = 20): Promise<number> => {
    const startMs = clock.now();
    const took = await clock.runUntil(() => all.isSettled, LIMIT_MS, stepMs);
    if (took === undefined || !all.agrees()) {
      throw new Error(`seed ${seed}: ${what}: after ${LIMIT_MS} ms not all know all`);
    }
    return clock.now() - startMs;
  };

  await all.start(nodes, attachments);
  const startMs = await agreed('start');
  await clock.run(WARM_UP_MS);

  const beforeRest = sent(all);
  await clock.run(REST_MS);
  const afterRest = sent(all);
  const atRest = (before: number, after: number) => ((after - before) * 1000) / REST_MS / nodes;
  const bytesAtRest = {
    udp: atRest(beforeRest.udp, afterRest.udp),
    stream: atRest(beforeRest.stream, afterRest.stream),
  };

  const watch = new ChangeWatch(all);
  calls.reset();
  const seriesStartMs = clock.now();
  for (let i = 0; i < changes; i++) {
    await clock.run(CHANGE_INTERVAL_MS * (0.5 + cluster.random()));
    watch.change(all.nodes[randomIndex(cluster.random, nodes)]!, i % 2 === 0, attachments + i);
  }
  await agreed('series');
  watch.stop();
  const seriesMs = clock.now() - seriesStartMs;
  const callsPerChange = calls.total / changes / nodes;
  const mostCallsAtOnce = calls.mostAtOnce;
  const afterSeries = sent(all);
  const perChange = (before: number, after: number, rest: number) =>
    ((after - before) / nodes - (rest * seriesMs) / 1000) / changes;
  const bytesPerChange = {
    udp: perChange(afterRest.udp, afterSeries.udp, bytesAtRest.udp),
    stream: perChange(afterRest.stream, afterSeries.stream, bytesAtRest.stream),
  };

  const beforeJoin = sent(all);
  const late = all.add(attachments);
  await late.node.start();
  const lateJoinMs = await agreed('late join');
  const lateJoinBytes = sent(all).stream - beforeJoin.stream;

  const cut = all.nodes.slice(0, Math.ceil(nodes / 5));
  const rest = all.nodes.slice(cut.length);
  cluster.network.partition(
    cut.map(({ node }) => node.host),
    rest.map(({ node }) => node.host),
  );
  await clock.run(PARTITION_MS / 2);
  for (const side of [cut, rest]) {
    for (let i = 0; i < 10; i++) {
      const node = side[randomIndex(cluster.random, side.length)]!;
      node.set(attachment(all.nodes.indexOf(node), attachments + changes + i));
    }
  }
  await clock.run(PARTITION_MS / 2);
  cluster.network.heal();
  const healKnownMs = await clock.runUntil(() => all.isTold, LIMIT_MS, 20);
  const healMs = (healKnownMs ?? 0) + (await agreed('heal'));
  await Promise.all(all.nodes.map((node) => node.stop()));
  return {
    ...{
      nodes,
      attachments,
      changes,
      loss,
      first,
      bytesPerChange,
      bytesAtRest,
      callsPerChange,
      mostCallsAtOnce,
    },
    knownToAll: delaysOf(watch.toAllMs),
    knownToOne: delaysOf(watch.toOneMs),
    shares: sharesOf(watch.toOneMs),
    ...{ startMs, lateJoinMs, lateJoinBytes, healKnownMs: healKnownMs ?? healMs, healMs },
  };
}

/** How many calls come to the nodes. */
class CallCounter {
  total = 0;
  mostAtOnce = 0;

  /** `rpc`, with what it serves counted. */
  counted(rpc: Rpc, now: () => number): Rpc {
    const lately: number[] = [];
    return {
      call: (...question) => rpc.call(...question),
      stream: (...question) => rpc.stream(...question),
      serve: (method, handler) =>
        rpc.serve(method, (...question) => {
          const nowMs = now();
          while (lately.length > 0 && lately[0]! < nowMs - AT_ONCE_MS) lately.shift();
          lately.push(nowMs);
          this.total++;
          this.mostAtOnce = Math.max(this.mostAtOnce, lately.length);
          return handler(...question);
        }),
    };
  }

  reset(): void {
    this.total = 0;
    this.mostAtOnce = 0;
  }
}

/** When each node hears of each change. */
class ChangeWatch {
  readonly #all: InventoryCluster;
  /** By owner and attachment: when it was changed, and who has yet to hear of it. */
  readonly #open = new Map<string, { readonly atMs: number; missing: number }>();
  readonly #stops: (() => void)[] = [];
  readonly #random: () => number;
  readonly toAllMs: number[] = [];
  readonly toOneMs: number[] = [];

  constructor(all: InventoryCluster) {
    this.#all = all;
    this.#random = all.cluster.random;
    for (const reader of all.nodes) {
      const listener = ({
        nodeId,
        set,
        deleted,
      }: {
        nodeId: string;
        set: readonly { id: string }[];
        deleted: readonly string[];
      }) => {
        if (nodeId === reader.id) return;
        for (const { id } of set) this.#heard(`${nodeId}/${id}`);
        for (const id of deleted) this.#heard(`${nodeId}/${id}`);
      };
      reader.inventories.on('change', listener);
      this.#stops.push(() => reader.inventories.off('change', listener));
    }
  }

  /** Attaches number `number`, or detaches any of those that nothing is under way of. */
  change(node: InventoryNode, isAttach: boolean, number: number): void {
    const still = [...node.attached.keys()].filter((id) => !this.#open.has(`${node.id}/${id}`));
    const entry = attachment(this.#all.nodes.indexOf(node), number);
    const id = isAttach || still.length === 0 ? entry.id : still[randomIndex(this.#random, still.length)]!;
    this.#open.set(`${node.id}/${id}`, { atMs: this.#all.clock.now(), missing: this.#all.nodes.length - 1 });
    if (id === entry.id) node.set(entry);
    else node.delete(id);
  }

  stop(): void {
    for (const stop of this.#stops) stop();
  }

  #heard(key: string): void {
    const change = this.#open.get(key);
    if (!change) return;
    const tookMs = this.#all.clock.now() - change.atMs;
    this.toOneMs.push(tookMs);
    if (--change.missing > 0) return;
    this.#open.delete(key);
    this.toAllMs.push(tookMs);
  }
}

function delaysOf(delaysMs: readonly number[]): Delays {
  const at = quantiles(delaysMs);
  return { p50: at(0.5), p99: at(0.99), most: at(1) };
}

function sharesOf(delaysMs: readonly number[]): InventorySpread['shares'] {
  const at = quantiles(delaysMs);
  return SHARES.map((share) => [at(share), share] as const);
}

function quantiles(delaysMs: readonly number[]): (share: number) => number {
  const sorted = [...delaysMs].sort((a, b) => a - b);
  return (share) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
}

function sent({ nodes }: InventoryCluster): { readonly udp: number; readonly stream: number } {
  let udp = 0;
  let stream = 0;
  for (const { host } of nodes.map(({ node }) => node)) {
    udp += host.sentBytes + host.sentDatagrams * (SEALED_EXTRA_BYTES + UDP_IP_BYTES);
    stream += host.sentStreamBytes;
  }
  return { udp, stream };
}
