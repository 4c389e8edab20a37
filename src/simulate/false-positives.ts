/**
 * Who is wrongly declared dead when the network loses packets and hosts stall: all nodes stay up the whole time.
 * A node counts as healthy unless it is paused, or was within the last `RECOVERY_MS` before it was declared dead:
 * a node that neither receives nor sends for seconds cannot be told from a dead one.
 */

import { seededRandom } from '../membership/random.ts';
import type { MembershipTiming } from '../membership/timing.ts';
import type { Member } from '../membership/types.ts';
import { LargeCluster, type LargeNode } from './large-cluster.ts';

export interface FalsePositiveOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly durationMs: number;
  /** 0 to 1, of all packets. */
  readonly loss: number;
  /** The share of nodes that is paused at any time, on average. */
  readonly paused: number;
  readonly maxPauseMs: number;
  readonly timing: MembershipTiming;
}

export interface FalsePositives {
  readonly nodes: number;
  readonly durationMs: number;
  readonly pauses: number;
  readonly suspicions: number;
  /** How often a healthy node was declared dead. What several nodes say of one death counts once. */
  readonly healthyDeclaredDead: number;
  /** The same of nodes that were paused. */
  readonly pausedDeclaredDead: number;
  /** A few of the healthy ones, for a look at them. */
  readonly examples: readonly string[];
}

const RECOVERY_MS = 10_000;
const TICK_MS = 1000;
const MAX_EXAMPLES = 10;

/** Counts deaths, not what is said of them. */
export class DeathCount {
  healthy = 0;
  paused = 0;
  /** A few of the healthy ones. */
  readonly examples: string[] = [];
  /** Node and incarnation: a death is told under one incarnation, and who lives on takes up the next. */
  readonly #seen = new Set<string>();

  add(
    member: { readonly id: string; readonly incarnation: number },
    was: 'healthy' | 'paused',
    what: string,
  ): void {
    const death = `${member.id} ${member.incarnation}`;
    if (this.#seen.has(death)) return;
    this.#seen.add(death);
    this[was]++;
    if (was === 'healthy' && this.examples.length < MAX_EXAMPLES) this.examples.push(what);
  }
}

export async function measureFalsePositives(options: FalsePositiveOptions): Promise<FalsePositives> {
  const { seed, nodes, durationMs, loss, paused, maxPauseMs, timing } = options;
  const quality = { delayMs: [0.2, 2], loss, duplication: 0 } as const;
  const cluster = await LargeCluster.start({ seed, nodes, timing, quality });
  const { clock } = cluster;
  const random = seededRandom(seed + 17);
  const byId = new Map(cluster.nodes.map((node) => [node.membership.id, node]));
  const deaths = new DeathCount();
  let pauses = 0;

  const onDeath = (member: Member, by: LargeNode) => {
    const nowMs = clock.now();
    const { pausedUntilMs } = byId.get(member.id)!.host;
    const wasPaused = pausedUntilMs > 0 && nowMs - pausedUntilMs < RECOVERY_MS;
    const what = `${member.name} by ${by.membership.self().name} at ${Math.round(nowMs)} ms`;
    deaths.add(member, wasPaused ? 'paused' : 'healthy', what);
  };
  for (const node of cluster.nodes) {
    node.membership.on('change', (member, previous) => {
      if (member.status === 'dead' && previous?.status !== 'dead') onDeath(member, node);
    });
  }

  // Pauses of 0 to the maximum: so many begin per second that `paused` of the nodes are, on average.
  const perTick = (nodes * paused * TICK_MS) / (maxPauseMs / 2);
  let due = 0;
  for (let elapsedMs = 0; elapsedMs < durationMs; elapsedMs += TICK_MS) {
    for (due += perTick; due >= 1; due--) {
      const node = cluster.nodes[Math.floor(random() * nodes)]!;
      const delayMs = random() * TICK_MS;
      const pauseMs = random() * maxPauseMs;
      clock.after(delayMs, () => node.host.pause(pauseMs));
      pauses++;
    }
    clock.advance(TICK_MS);
  }
  const suspicions = cluster.nodes.reduce((sum, node) => sum + node.membership.counters().suspicions!, 0);
  await Promise.all(cluster.nodes.map(({ membership }) => membership.stop()));
  return {
    nodes,
    durationMs,
    pauses,
    suspicions,
    healthyDeclaredDead: deaths.healthy,
    pausedDeclaredDead: deaths.paused,
    examples: deaths.examples,
  };
}
