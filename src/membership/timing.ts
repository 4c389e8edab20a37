/**
 * Every interval and multiplier of the protocol, with the formula it stands in. n is the number of nodes that
 * are alive or suspect, this one included. The names and most values follow memberlist's config.go.
 */
export interface MembershipTiming {
  /**
   * One other node is probed per interval, in shuffled order: each is probed by this node every
   * (n - 1) * interval, and by someone about once per interval.
   */
  readonly probeIntervalMs: number;
  /**
   * How long a direct probe may take before others are asked to try (and TCP is tried). The probe has failed
   * when there is no answer by any way after probeInterval * (1 + health score).
   */
  readonly probeTimeoutMs: number;
  /** How many other nodes are asked to probe for this one. */
  readonly indirectProbes: number;
  /**
   * A suspect that does not refute is declared dead after
   *   min = suspicionMultiplier * max(1, log10 n) * probeInterval
   * once suspicionMultiplier - 2 other nodes have confirmed the suspicion, or in any case where there are not
   * that many others; and after its last chances, which take another 1.5 * probeTimeout.
   */
  readonly suspicionMultiplier: number;
  /**
   * Before any confirmation the timeout is max = suspicionMaxMultiplier * min, and with c of k confirmations
   *   max - (max - min) * log(c + 1) / log(k + 1).
   */
  readonly suspicionMaxMultiplier: number;
  /** The health score (Lifeguard's local health multiplier) goes from 0 to this less 1. */
  readonly awarenessMaxMultiplier: number;
  /**
   * While there is news, every node tells some to `gossipNodes` random others once per interval. The first of it,
   * after an interval without, it tells within a quarter of one.
   */
  readonly gossipIntervalMs: number;
  readonly gossipNodes: number;
  /** News is told retransmitMultiplier * ceil(log10(n + 1)) times by each node that has heard it. */
  readonly retransmitMultiplier: number;
  /** How long the dead are still told things, so that they can refute. */
  readonly gossipToDeadMs: number;
  /**
   * The member tables of two nodes are compared, and exchanged where they differ, once per
   *   interval * (n <= 32 ? 1 : ceil(log2(n / 32)) + 1) on each node.
   */
  readonly pushPullIntervalMs: number;
  /** The most that one stream may take, from connecting to the last byte. */
  readonly streamTimeoutMs: number;
  /** Without an answer from any seed for this long, a node goes on alone (and keeps trying). */
  readonly joinTimeoutMs: number;
  /**
   * Pause after a failed attempt to join, times 1.5 each time up to the maximum, and 0 to 25 % more; nodes that are
   * started together wait for one another. After joinEager it is reconnectInterval.
   */
  readonly joinRetryMs: number;
  readonly joinRetryMaxMs: number;
  readonly joinEagerMs: number;
  /** Once per interval a lost seed and, with probability dead / alive, a dead member are tried again. */
  readonly reconnectIntervalMs: number;
  /** How long dead and left nodes are shown, and their leases kept for them (cluster.leaseTtl); see leaseKeptMs. */
  readonly deadRetentionMs: number;
  /**
   * How long nodes that are forgotten are remembered as such, on purpose or because they were gone for too long:
   *   max(tombstoneRetention, 2 * deadRetention)
   * Until then a late copy of what they said is known to be one.
   */
  readonly tombstoneRetentionMs: number;
  /**
   * A suspicion that ends this late tells of a stalled host (this one), which may not have heard a refutation
   * yet: it starts over with the minimum.
   */
  readonly stallMs: number;
  /** Whether a suspect is told so by those who ping it or are pinged by it (Lifeguard's buddy system). */
  readonly tellsSuspects: boolean;
  /** How long a node that leaves goes on telling so. */
  readonly leaveMs: number;
}

const DAY_MS = 24 * 3600 * 1000;

/**
 * One data centre. A node of three that is killed is declared dead after 3.4 to 4.6 s: it is next probed within
 * 0 to 1.2 s (1.2 where both others have just done so), the probe fails after 0.6, the suspicion ends after 2.4,
 * and the last chances take 0.375.
 */
const lan: MembershipTiming = {
  probeIntervalMs: 600,
  probeTimeoutMs: 250,
  indirectProbes: 3,
  suspicionMultiplier: 4,
  suspicionMaxMultiplier: 6,
  awarenessMaxMultiplier: 8,
  gossipIntervalMs: 200,
  gossipNodes: 3,
  retransmitMultiplier: 4,
  gossipToDeadMs: 30_000,
  pushPullIntervalMs: 30_000,
  streamTimeoutMs: 10_000,
  joinTimeoutMs: 5_000,
  joinRetryMs: 100,
  joinRetryMaxMs: 500,
  joinEagerMs: 60_000,
  reconnectIntervalMs: 5_000,
  deadRetentionMs: DAY_MS,
  tombstoneRetentionMs: 7 * DAY_MS,
  stallMs: 1000,
  tellsSuspects: true,
  leaveMs: 800,
};

/** Between data centres: up to a second of round trip, some loss. */
const wan: MembershipTiming = {
  ...lan,
  probeIntervalMs: 5_000,
  probeTimeoutMs: 3_000,
  suspicionMultiplier: 6,
  gossipIntervalMs: 500,
  gossipNodes: 4,
  gossipToDeadMs: 60_000,
  pushPullIntervalMs: 60_000,
  streamTimeoutMs: 30_000,
  joinTimeoutMs: 15_000,
  joinRetryMs: 1_000,
  joinRetryMaxMs: 5_000,
  reconnectIntervalMs: 15_000,
  leaveMs: 3_000,
};

/** Nodes on one machine: the lab. */
const local: MembershipTiming = {
  ...lan,
  probeIntervalMs: 500,
  probeTimeoutMs: 200,
  indirectProbes: 1,
  gossipIntervalMs: 100,
  pushPullIntervalMs: 15_000,
  gossipToDeadMs: 15_000,
  streamTimeoutMs: 3_000,
  reconnectIntervalMs: 2_000,
  leaveMs: 400,
};

export const timingPresets = { lan, wan, local } as const;

/** The same without Lifeguard (plain SWIM with suspicion): to measure what it brings. */
export function withoutLifeguard(timing: MembershipTiming): MembershipTiming {
  return {
    ...timing,
    awarenessMaxMultiplier: 1,
    suspicionMaxMultiplier: 1,
    tellsSuspects: false,
    stallMs: Number.POSITIVE_INFINITY,
  };
}

export function retransmitLimit(timing: MembershipTiming, nodes: number): number {
  return timing.retransmitMultiplier * Math.ceil(Math.log10(nodes + 1));
}

export function pushPullDelayMs(timing: MembershipTiming, nodes: number): number {
  const scale = nodes <= 32 ? 1 : Math.ceil(Math.log2(nodes / 32)) + 1;
  return timing.pushPullIntervalMs * scale;
}

/** Ages are told in whole seconds, and news takes its time: times of death that differ by less are one. */
export const SAME_TIME_MS = 2000;

/** A lease is kept for all of its time after the latest death that any node saw: none is told of those it is near. */
export function leaseKeptMs(timing: MembershipTiming): number {
  return timing.deadRetentionMs + SAME_TIME_MS;
}

export function memoryMs(timing: MembershipTiming): number {
  return Math.max(timing.tombstoneRetentionMs, 2 * timing.deadRetentionMs);
}
