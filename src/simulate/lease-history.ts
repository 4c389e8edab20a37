/**
 * One random life of a small cluster, and what must never happen to a lease in it.
 *
 *     happens at random      partitions, one-way links, heals, crashes (between any two writes to the disk, too),
 *                            restarts, joins at the same moment, pods that come and go, forgets, expiry
 *     must hold always       a node's subnet never moves while it has pods
 *                            nobody claims a subnet that it knows to be another's
 *                            two nodes that know and hear each other for a while do not both hold a subnet
 *     must hold at the end   after the last heal and a bounded time all agree on one owner for each subnet, and
 *                            everyone who can have a lease has one
 *
 * The seed decides everything: the same seed is the same history.
 */
import { formatPrefix } from '../ip/prefix.ts';
import { type Random, randomIndex, sample, seededRandom, shuffle } from '../membership/random.ts';
import { type MembershipTiming, timingPresets } from '../membership/timing.ts';
import { podRange, SimulatedCluster, type SimulatedNode } from './cluster.ts';
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

/** Two nodes that can talk to each other for so long must have settled whose a subnet is. */
const SETTLED_MS = 20_000;
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
  /** What each node with pods has its pods in. */
  readonly #pinned = new Map<SimulatedNode, string>();
  /** When the two of a pair last could not hear each other. */
  readonly #apartAtMs = new Map<string, number>();
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
    this.#cluster = new SimulatedCluster({ seed, quality, timing, podCidrs: [range] });
    this.#cluster.network.reaches = (from, to) => !this.#blocked(from, to);
  }

  async run(): Promise<void> {
    const { nodes, clock } = this.#cluster;
    const count = 3 + randomIndex(this.#random, 4);
    for (let number = 0; number < count; number++) {
      const node = this.#cluster.add(number === 0 ? [1] : [0, 1]);
      node.wallSkewMs = Math.floor((this.#random() - 0.5) * 20_000);
    }
    // Some start at the same moment, the rest follows.
    for (const node of nodes) {
      await this.#start(node);
      if (this.#random() < 0.4) this.#advance(this.#random() * 3000);
    }
    const actions = 6 + randomIndex(this.#random, 10);
    for (let action = 0; action < actions; action++) {
      this.#advance(this.#random() < 0.2 ? this.#random() * 40_000 : this.#random() * 5_000);
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
    switch (randomIndex(this.#random, 9)) {
      case 0: {
        const [, ...others] = shuffle(this.#random, [...nodes]);
        const cut = others.slice(0, 1 + randomIndex(this.#random, others.length)).map(({ host }) => host);
        const inside = new Set(cut);
        this.#note(`partition: ${cut.map((host) => this.#nameOf(host)).join(' ')} from the rest`);
        this.#blocked = (from, to) => inside.has(from) !== inside.has(to);
        break;
      }
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
        this.#note(`${node.name} will crash ${isWritten ? 'after' : 'before'} its next write`);
        node.crashAtSave = isWritten ? 'after' : 'before';
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
        break;
      }
      case 8:
        if (!node) break;
        this.#note(`pause: ${node.name}`);
        network.find(node.host.endpoint)!.pause(this.#random() * 8_000);
        break;
    }
  }

  async #start(node: SimulatedNode): Promise<void> {
    this.#note(
      `start: ${node.name}${node.storedLease ? ` with ${node.storedLease.prefixes.map(formatPrefix)}` : ''}`,
    );
    this.#noteApart(node, ...this.#cluster.nodes);
    await node.start();
    let last = '';
    node.leases.on('change', () => {
      const now = `${node.leases.state().status} ${node.subnets}`;
      if (now !== last) this.#note(`  ${node.name}: ${now}`);
      last = now;
      this.#check(node);
    });
  }

  #setPods(node: SimulatedNode, count: number): void {
    this.#note(`${node.name} has ${count} pods in ${node.subnets}`);
    if (count > 0) this.#pinned.set(node, node.subnets);
    else this.#pinned.delete(node);
    node.setPods(count);
  }

  async #healAll(): Promise<void> {
    this.#note('heal, and start all');
    this.#blocked = () => false;
    for (const node of this.#cluster.nodes) {
      node.crashAtSave = undefined;
      if (!node.isRunning) await this.#start(node);
    }
  }

  #advance(durationMs: number): void {
    const { clock, nodes } = this.#cluster;
    for (let leftMs = durationMs; leftMs > 0; leftMs -= STEP_MS) {
      clock.advance(Math.min(STEP_MS, leftMs));
      for (const a of nodes) {
        for (const b of nodes) {
          const isApart =
            !a.isRunning ||
            !b.isRunning ||
            a.host.pausedUntilMs > clock.now() ||
            this.#blocked(a.host, b.host);
          if (a !== b && isApart) this.#apartAtMs.set(pairOf(a, b), clock.now());
        }
      }
      this.#checkOwners();
    }
  }

  /** After any change of a node's lease. */
  #check(node: SimulatedNode): void {
    if (!node.isRunning) return;
    const { subnets } = node;
    const { status } = node.leases.state();
    const pinned = this.#pinned.get(node);
    if (pinned !== undefined && subnets !== '' && subnets !== pinned) {
      this.#violation(`${node.name} moved from ${pinned} to ${subnets} under its pods (${status})`);
    }
    if (status !== 'claiming' || pinned !== undefined) return;
    for (const member of node.membership.members()) {
      if (member.id === node.id || !member.lease || member.lease.state !== 'active') continue;
      const theirs = member.lease.prefixes.map(formatPrefix).join(' ');
      if (theirs === subnets)
        this.#violation(`${node.name} claims ${subnets}, which it knows to be ${member.name}'s`);
    }
  }

  #checkOwners(): void {
    const { nodes, clock } = this.#cluster;
    const holders = nodes.filter((node) => node.isRunning && node.leases.state().status === 'active');
    for (const [i, a] of holders.entries()) {
      for (const b of holders.slice(i + 1)) {
        if (a.subnets !== b.subnets) continue;
        // Two that never met cannot know: on their side of a partition there may be no seed.
        if (!knows(a, b) && !knows(b, a)) this.#noteApart(a, b);
        const togetherMs = clock.now() - (this.#apartAtMs.get(pairOf(a, b)) ?? 0);
        if (togetherMs > SETTLED_MS) this.#violation(`${a.name} and ${b.name} both hold ${a.subnets}`);
      }
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

  #noteApart(node: SimulatedNode, ...others: SimulatedNode[]): void {
    for (const other of others) this.#apartAtMs.set(pairOf(node, other), this.#cluster.clock.now());
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

function knows(node: SimulatedNode, other: SimulatedNode): boolean {
  return node.membership.member(other.id)?.status === 'alive';
}

function pairOf(a: SimulatedNode, b: SimulatedNode): string {
  return a.name < b.name ? `${a.name}/${b.name}` : `${b.name}/${a.name}`;
}
