/** How long a join, a leave and a death take to be known, and what the cluster costs at rest, by its size. */

import type { MembershipTiming } from '../membership/timing.ts';
import { LargeCluster, type LargeNode, SEALED_EXTRA_BYTES, UDP_IP_BYTES } from './large-cluster.ts';
import { silenceOf } from './silence.ts';

export interface DisseminationOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly timing: MembershipTiming;
}

export interface Spread {
  /** Milliseconds until so much of the cluster knew. */
  readonly toMost: number;
  readonly toAll: number;
}

export interface Dissemination {
  readonly nodes: number;
  /** From the newcomer's start. */
  readonly join: Spread;
  /** From the moment the node says that it leaves. */
  readonly leave: Spread;
  /** From the kill to the first node that declares it dead, and from there on. */
  readonly detectedMs: number;
  readonly death: Spread;
  /** UDP with all headers, sealed, at rest: bytes sent by one node in a second. */
  readonly bytesPerSecond: number;
  /** The same for push-pull over TCP; measured in clusters where one comes often enough. */
  readonly pushPullBytesPerSecond: number | undefined;
  /** UDP bytes per node that the join, the leave and the death cost beyond that, together. */
  readonly bytesForNews: number;
}

/** The share of nodes that counts as the cluster. */
export const MOST = 0.999;
const WARM_UP_MS = 2_000;
/** As short for the largest as is enough for probes; long enough for a few push-pulls in smaller ones. */
const AT_REST_MS = 10_000;
const SMALL = 300;
const SMALL_AT_REST_MS = 180_000;
const LIMIT_MS = 300_000;

export async function measureDissemination(options: DisseminationOptions): Promise<Dissemination> {
  const { seed, nodes } = options;
  const cluster = await LargeCluster.start(options);
  const { clock } = cluster;
  clock.advance(WARM_UP_MS);

  const before = sent(cluster);
  const atRestMs = nodes <= SMALL ? SMALL_AT_REST_MS : AT_REST_MS;
  clock.advance(atRestMs);
  const after = sent(cluster);
  const perNode = (bytes: number) => (bytes * 1000) / atRestMs / nodes;
  const bytesPerSecond = perNode(after.udpBytes - before.udpBytes);
  const pushPullBytesPerSecond = nodes <= SMALL ? perNode(after.streamBytes - before.streamBytes) : undefined;

  const newsStartMs = clock.now();
  const watch = (who: () => string, status: string, others: readonly LargeNode[]) =>
    watchSpread(cluster, others, who, status);

  let newcomerId = '';
  const joinWatch = watch(() => newcomerId, 'alive', [...cluster.nodes]);
  const newcomer = await cluster.join(seed % nodes);
  newcomerId = newcomer.membership.id;
  const join = joinWatch.finish();

  const leaver = cluster.nodes[nodes - 1]!;
  const leaveWatch = watch(
    () => leaver.membership.id,
    'left',
    cluster.nodes.filter((node) => node !== leaver),
  );
  const leaving = leaver.membership.leave();
  const leave = leaveWatch.finish();
  clock.advance(options.timing.leaveMs);
  await leaving;
  await leaver.membership.stop();

  // One that has not left: node 0 is the one the newcomer joined through if the cluster has only two.
  const victim = cluster.nodes[nodes - 2]!;
  const survivors = cluster.nodes.filter((node) => node !== victim && node !== leaver);
  const deathWatch = watch(() => victim.membership.id, 'dead', survivors);
  const killedAtMs = clock.now();
  await silenceOf(victim);
  const death = deathWatch.finish();
  const firstMs = deathWatch.firstAtMs() - killedAtMs;

  const end = sent(cluster);
  const newsMs = clock.now() - newsStartMs;
  const bytesForNews = (end.udpBytes - after.udpBytes) / nodes - (bytesPerSecond * newsMs) / 1000;
  await Promise.all(cluster.nodes.map(({ membership }) => membership.stop()));
  return {
    nodes,
    join,
    leave,
    detectedMs: firstMs,
    death: { toMost: death.toMost - firstMs, toAll: death.toAll - firstMs },
    bytesPerSecond,
    pushPullBytesPerSecond,
    bytesForNews,
  };
}

function watchSpread(cluster: LargeCluster, others: readonly LargeNode[], who: () => string, status: string) {
  const startMs = cluster.clock.now();
  const times: number[] = [];
  const knowing = new Set<LargeNode>();
  const listeners = others.map((node) => {
    const listener = (member: { id: string; status: string }) => {
      if (member.status !== status || knowing.has(node) || member.id !== who()) return;
      knowing.add(node);
      times.push(cluster.clock.now());
    };
    node.membership.on('change', listener);
    return () => node.membership.off('change', listener);
  });
  return {
    firstAtMs: () => times[0]!,
    /** Runs until everyone knows. */
    finish(): Spread {
      const took = cluster.clock.advanceUntil(() => times.length === others.length, LIMIT_MS, 20);
      for (const stop of listeners) stop();
      if (took === undefined) {
        throw new Error(
          `seed ${cluster.seed}: after ${LIMIT_MS} ms ${times.length} of ${others.length} nodes know who is ${status}`,
        );
      }
      const most = times[Math.ceil(MOST * others.length) - 1]!;
      return { toMost: most - startMs, toAll: times.at(-1)! - startMs };
    },
  };
}

function sent(cluster: LargeCluster): { udpBytes: number; streamBytes: number } {
  let udpBytes = 0;
  let streamBytes = 0;
  for (const { host } of cluster.nodes) {
    udpBytes += host.sentBytes + host.sentDatagrams * (SEALED_EXTRA_BYTES + UDP_IP_BYTES);
    streamBytes += host.sentStreamBytes;
  }
  return { udpBytes, streamBytes };
}
