/**
 * One random history of a small cluster, and the invariants of leases that must hold in it.
 *
 *     happens at random      partitions, one-way links, heals, pauses, crashes (between any two writes to the disk,
 *                            too), restarts, leaves with and without the lease, joins at the same moment, pods that
 *                            come and go, forgets, absences longer than leases are kept; half with a cluster key
 *     must hold always       lease-oracle.ts
 *     must hold at the end   after the last heal and a bounded time all agree on one owner for each subnet, and
 *                            everyone who can have a lease has one
 *
 * The seed decides everything: the same seed is the same history.
 */
import { createHash } from 'node:crypto';
import { formatPrefix } from '../ip/prefix.ts';
import { parseKeyRing } from '../link/key-ring.ts';
import { type Random, randomIndex, sample, seededRandom, shuffle } from '../membership/random.ts';
import { type MembershipTiming, timingPresets } from '../membership/timing.ts';
import { podRange, SimulatedCluster, type SimulatedNode } from './cluster.ts';
import { LeaseOracle } from './lease-oracle.ts';
import type { VirtualHost } from './virtual-network.ts';

export interface History {
  readonly seed: number;
  /** What happened, one line each, with the virtual time. */
  readonly events: readonly string[];
  /** Empty: everything held. */
  readonly violations: readonly string[];
  /** From the last heal until all agreed, milliseconds. */
  readonly agreedAfterMs: number;
}

const AGREEMENT_LIMIT_MS = 90_000;
const STEP_MS = 250;
/** Dead nodes are forgotten soon, so that expiry is part of histories. */
const RETENTION_MS = 60_000;

const timing: MembershipTiming = { ...timingPresets.lan, deadRetentionMs: RETENTION_MS };

export async function runLeaseHistory(seed: number): Promise<History> {
  const history = new LeaseHistory(seed);
  await history.run();
  return {
    seed,
    events: history.events,
    violations: history.violations,
    agreedAfterMs: history.agreedAfterMs,
  };
}

class LeaseHistory {
  readonly events: string[] = [];
  readonly violations: string[] = [];
  agreedAfterMs = 0;
  readonly #random: Random;
  readonly #cluster: SimulatedCluster;
  readonly #oracle: LeaseOracle;
  #blocked: (from: VirtualHost, to: VirtualHost) => boolean = () => false;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    const quality = {
      delayMs: [0.2, this.#pick([1, 20, 80])] as const,
      loss: this.#pick([0, 0, 0.02, 0.1]),
      duplication: this.#pick([0, 0.05]),
    };
    // 4 or 8 subnets for 3 to 6 nodes: often nearly full, sometimes too few.
    const range = podRange(this.#pick(['10.42.0.0/22', '10.42.0.0/21']), 24);
    const key = createHash('sha256').update(`key ${seed}`).digest('base64');
    const keyRing = this.#random() < 0.5 ? parseKeyRing(key, 'simulated') : undefined;
    this.#cluster = new SimulatedCluster({
      seed,
      quality,
      timing,
      podCidrs: [range],
      ...(keyRing && { keyRing }),
    });
    this.#cluster.network.reaches = (from, to) => !this.#blocked(from, to);
    const count = 3 + randomIndex(this.#random, 4);
    for (let number = 0; number < count; number++) {
      const node = this.#cluster.add(number === 0 ? [1] : [0, 1]);
      node.wallSkewMs = Math.floor((this.#random() - 0.5) * 20_000);
    }
    const { nodes, clock } = this.#cluster;
    this.#oracle = new LeaseOracle({
      nodes,
      seeds: nodes.slice(0, 2),
      leaseTtlMs: RETENTION_MS,
      now: () => clock.now(),
      onViolation: (text) => this.#violation(text),
    });
  }

  async run(): Promise<void> {
    const { nodes, clock } = this.#cluster;
    // Some start at the same moment, the rest follows.
    for (const node of nodes) {
      await this.#start(node);
      if (this.#random() < 0.4) this.#advance(this.#random() * 3000);
    }
    const actions = 6 + randomIndex(this.#random, 10);
    for (let action = 0; action < actions; action++) {
      this.#advance(this.#random() * this.#pick([5_000, 5_000, 5_000, 5_000, 5_000, 40_000]));
      await this.#act();
    }
    await this.#healAll();
    const settled = () => clock.now() - healedAtMs >= 5_000 && this.#disagreement() === undefined;
    const healedAtMs = clock.now();
    while (!settled() && clock.now() - healedAtMs < AGREEMENT_LIMIT_MS) this.#advance(STEP_MS);
    this.agreedAfterMs = clock.now() - healedAtMs;
    const disagreement = this.#disagreement();
    if (disagreement)
      this.#violation(`no agreement ${AGREEMENT_LIMIT_MS} ms after the last heal: ${disagreement}`);
    for (const node of nodes) if (node.isRunning) await node.stop();
  }

  async #act(): Promise<void> {
    const { nodes, network } = this.#cluster;
    const running = nodes.filter((node) => node.isRunning);
    const stopped = nodes.filter((node) => !node.isRunning);
    const [node] = sample(this.#random, running, 1, () => true);
    switch (randomIndex(this.#random, 11)) {
      case 0:
        this.#partition();
        break;
      case 1: {
        const [a, b] = shuffle(this.#random, [...nodes]);
        this.#note(`one-way: ${a!.name} does not reach ${b!.name}`);
        this.#blocked = (from, to) => from === a!.host && to === b!.host;
        break;
      }
      case 2:
        this.#note('heal');
        this.#blocked = () => false;
        break;
      case 3:
        if (!node) break;
        this.#note(`crash: ${node.name}`);
        await node.kill();
        break;
      case 4: {
        if (!node) break;
        // The next write reaches the disk, and nothing of what follows happens; or it does not even.
        const isWritten = this.#random() < 0.5;
        const store = this.#pick(['lease', 'members'] as const);
        this.#note(`${node.name} will crash ${isWritten ? 'after' : 'before'} it next writes its ${store}`);
        node.crashAt = { store, when: isWritten ? 'after' : 'before' };
        break;
      }
      case 5:
        for (const other of stopped) if (this.#random() < 0.7) await this.#start(other);
        break;
      case 6:
        if (!node) break;
        if (node.podCount > 0) this.#setPods(node, 0);
        else if (node.leases.state().status === 'active') this.#setPods(node, 1);
        break;
      case 7: {
        if (!node) break;
        const [dead] = sample(
          this.#random,
          node.membership.members(),
          1,
          (member) => member.status === 'dead',
        );
        if (!dead) break;
        this.#note(`${node.name} forgets ${dead.name}`);
        node.membership.forget(dead.id);
        this.#oracle.forgotten(nodes.find(({ name }) => name === dead.name)!);
        break;
      }
      case 8:
        if (!node) break;
        this.#note(`pause: ${node.name}`);
        network.find(node.host.endpoint)!.pause(this.#random() * 8_000);
        break;
      case 9:
        if (node) await this.#leave(node);
        break;
      case 10:
        this.#outlast();
        break;
    }
  }

  async #start(node: SimulatedNode): Promise<void> {
    this.#note(
      `start: ${node.name}${node.storedLease ? ` with ${node.storedLease.prefixes.map(formatPrefix)}` : ''}`,
    );
    this.#oracle.starts(node);
    await node.start();
    let last = '';
    node.leases.on('change', () => {
      const now = `${node.leases.state().status} ${node.subnets}`;
      if (now !== last) this.#note(`  ${node.name}: ${now}`);
      last = now;
      this.#oracle.changes(node);
    });
  }

  #setPods(node: SimulatedNode, count: number): void {
    this.#note(`${node.name} has ${count} pods in ${node.subnets}`);
    this.#oracle.podsChange(node, count);
    node.setPods(count);
  }

  #partition(): void {
    const [, ...others] = shuffle(this.#random, [...this.#cluster.nodes]);
    const cut = others.slice(0, 1 + randomIndex(this.#random, others.length)).map(({ host }) => host);
    const inside = new Set(cut);
    this.#note(`partition: ${cut.map((host) => this.#nameOf(host)).join(' ')} from the rest`);
    this.#blocked = (from, to) => inside.has(from) !== inside.has(to);
  }

  /**
   * A partition that outlasts leases, with pods on both sides of it: who has waited for a subnet takes one of the
   * other side's, and starts pods in it. Its first owner has lost it then, and must keep it for its pods.
   */
  #outlast(): void {
    const startPods = () => {
      for (const node of this.#cluster.nodes) {
        const { status } = node.leases.state();
        if (node.isRunning && node.podCount === 0 && status === 'active') this.#setPods(node, 1);
      }
    };
    startPods();
    this.#partition();
    this.#advance(RETENTION_MS * (1 + this.#random()));
    if (this.#random() < 0.7) startPods();
  }

  /** The agent is stopped for good, and a node without pods may give its lease back. */
  async #leave(node: SimulatedNode): Promise<void> {
    const releases = node.podCount === 0 && this.#random() < 0.5;
    this.#note(`${node.name} leaves${releases ? ' and gives its lease back' : ''}`);
    if (releases) {
      node.leases.release();
      this.#oracle.releases(node);
    }
    const leaving = node.membership.leave();
    this.#oracle.leaves(node);
    this.#advance(2 * timing.leaveMs);
    // A crash at a write that it made meanwhile, or a pause: it has not left in good order then.
    if (!node.isRunning) return;
    if (node.host.pausedUntilMs <= this.#cluster.clock.now()) await leaving;
    await node.stop();
  }

  async #healAll(): Promise<void> {
    this.#note('heal, and start all');
    this.#blocked = () => false;
    for (const node of this.#cluster.nodes) {
      node.crashAt = undefined;
      if (!node.isRunning) await this.#start(node);
    }
  }

  #advance(durationMs: number): void {
    const { clock } = this.#cluster;
    for (let leftMs = durationMs; leftMs > 0; leftMs -= STEP_MS) {
      clock.advance(Math.min(STEP_MS, leftMs));
      this.#oracle.look((from, to) => this.#blocked(from.host, to.host));
    }
  }

  /** What is not as it must be at the end; undefined if all is. */
  #disagreement(): string | undefined {
    const { nodes } = this.#cluster;
    const views = nodes.map((node) =>
      node.leases
        .owners()
        .map(({ prefix, memberId }) => `${formatPrefix(prefix)}=${memberId}`)
        .sort()
        .join(' '),
    );
    if (new Set(views).size > 1) return 'the nodes see different owners';
    const holders = new Map<string, string>();
    for (const node of nodes) {
      const { status } = node.leases.state();
      if (status === 'joining' || status === 'claiming') return `${node.name} is ${status}`;
      if (status === 'lost' && node.podCount === 0) return `${node.name} has lost its lease and has no pods`;
      if (status !== 'active') continue;
      const other = holders.get(node.subnets);
      if (other) return `${other} and ${node.name} both hold ${node.subnets}`;
      holders.set(node.subnets, node.name);
      if (!views[0]!.includes(`=${node.id}`)) return `${node.name} is active and nobody's view has it`;
    }
    const free = (this.#cluster.podCidrs[0]!.range.length === 22 ? 4 : 8) - holders.size;
    const without = nodes.filter((node) => node.leases.state().status === 'exhausted').length;
    if (without > 0 && free > 0 && nodes.every((node) => node.membership.count('dead') === 0)) {
      return `${without} nodes have no lease, and ${free} subnets are free`;
    }
    return undefined;
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[randomIndex(this.#random, choices.length)]!;
  }

  #nameOf(host: VirtualHost): string {
    return this.#cluster.nodes.find((node) => node.host === host)?.name ?? '?';
  }

  #note(text: string): void {
    this.events.push(`${Math.round(this.#cluster.clock.now())} ms  ${text}`);
  }

  #violation(text: string): void {
    if (this.violations.includes(text)) return;
    this.violations.push(text);
    this.#note(`VIOLATION ${text}`);
  }
}
