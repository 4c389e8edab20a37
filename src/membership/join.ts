/**
 * Joining: through seeds and remembered members when the agent starts. Later, seeds and dead members are tried from time
 * to time, so that the two sides of a partition find each other once it has healed.
 */

import type { Clock, TimerGroup } from '../clock.ts';
import {
  type Endpoint,
  formatEndpoint,
  formatHostPort,
  type HostPort,
  sameEndpoint,
} from '../ip/endpoint.ts';
import { type Peer, PeerRefusedError } from '../link/link.ts';
import type { Logger } from '../log/logger.ts';
import { type Random, randomIndex, sample, shuffle } from './random.ts';
import { literalAddress, type Resolve } from './resolve.ts';
import type { Roster } from './roster.ts';
import type { Synchronizer } from './sync.ts';
import type { MembershipTiming } from './timing.ts';

export type JoinOutcome = 'joining' | 'joined' | 'alone';

/** Whoever else knows nodes to join through, such as an orchestrator. */
export interface SeedSource {
  /** So many of them at most, chosen anew with each call. */
  seeds(atMost: number): readonly HostPort[];
  /** Nobody is known yet, and an answer is to come: until then this node is not alone. */
  readonly isPending: boolean;
}

export const MAX_DISCOVERED = 8;

export interface JoinerOptions {
  readonly selfId: string;
  /** Where this node itself is reached, so that it does not join itself. */
  readonly selfEndpoint: () => Endpoint;
  readonly seeds: readonly HostPort[];
  /** Tried like `seeds`. What cannot be joined of them is a problem only while nothing was joined. */
  readonly discovery?: SeedSource | undefined;
  /** Members of an earlier run. */
  readonly remembered: readonly Endpoint[];
  readonly roster: Roster;
  readonly synchronizer: Synchronizer;
  readonly clock: Clock;
  readonly timers: TimerGroup;
  readonly timing: MembershipTiming;
  readonly random: Random;
  readonly resolve: Resolve;
  readonly logger: Logger;
  readonly onOutcome: (outcome: 'joined' | 'alone') => void;
}

interface Target {
  readonly label: string;
  readonly hostPort: HostPort | undefined;
  readonly endpoint: Endpoint | undefined;
  /** An attempt is under way. */
  isBusy: boolean;
  isSelf: boolean;
  /** It answered, and refused us. */
  hasRefused: boolean;
  /** Why the last attempt failed. */
  problem: string | undefined;
  /** Whom it turned out to be. */
  peer: string | undefined;
}

/** In gossip intervals after an exchange with a node that was lost. */
const FOLLOW_UP_INTERVALS = [5, 15];

export class Joiner {
  readonly #options: JoinerOptions;
  readonly #seeds: Target[];
  readonly #remembered: Target[];
  /** The latest that `discovery` named, by host and port; MAX_DISCOVERED at most. */
  #discovered = new Map<string, Target>();
  #outcome: JoinOutcome = 'joining';
  #retryMs: number;
  #startedAtMs = 0;

  constructor(options: JoinerOptions) {
    this.#options = options;
    this.#retryMs = options.timing.joinRetryMs;
    this.#seeds = options.seeds.map((hostPort) => newTarget(`seed ${formatHostPort(hostPort)}`, hostPort));
    this.#remembered = options.remembered.map((endpoint) =>
      newTarget(`former member ${formatEndpoint(endpoint)}`, undefined, endpoint),
    );
  }

  get outcome(): JoinOutcome {
    return this.#outcome;
  }

  start(): void {
    const { clock, timers, timing } = this.#options;
    this.#startedAtMs = clock.now();
    timers.after(timing.joinTimeoutMs, () => this.#checkAlone());
    this.#joinRound();
  }

  /** To be called when `discovery` knows others than before: who has nobody else tries them at once. */
  discoveryChanged(): void {
    const { clock, timers, timing } = this.#options;
    if (this.#outcome === 'joined') return;
    const hadNobody = this.#discovered.size === 0;
    this.#discover();
    if (this.#outcome === 'joining' && hadNobody && this.#discovered.size > 0) {
      // They have as long to answer as seeds have that are known from the start.
      this.#startedAtMs = clock.now();
      timers.after(timing.joinTimeoutMs, () => this.#checkAlone());
    }
    for (const target of this.#discovered.values()) this.#try(target);
    this.#checkAlone();
  }

  /** Why seeds and former members cannot be joined; at most one line for each. */
  problems(): string[] {
    const targets = this.#outcome === 'joined' ? this.#seeds : this.#targets();
    return targets.flatMap((target) => (target.problem && !this.#isAlive(target) ? [target.problem] : []));
  }

  /** The ids of the nodes that seeds and former members turned out to be. */
  peers(): string[] {
    return this.#targets().flatMap(({ peer, isSelf }) => (peer && !isSelf ? [peer] : []));
  }

  #targets(): Target[] {
    return [...this.#seeds, ...this.#discovered.values(), ...this.#remembered];
  }

  #discover(): void {
    const { discovery } = this.#options;
    if (!discovery) return;
    const found = discovery.seeds(MAX_DISCOVERED).slice(0, MAX_DISCOVERED);
    this.#discovered = new Map(
      found.map((hostPort) => {
        const text = formatHostPort(hostPort);
        return [text, this.#discovered.get(text) ?? newTarget(`node ${text}`, hostPort)];
      }),
    );
  }

  /** Tries all seeds and remembered members, again and again until one has answered. */
  #joinRound(): void {
    const { clock, timers, timing, random } = this.#options;
    this.#discover();
    const targets = this.#targets();
    for (const target of targets) this.#try(target);
    this.#checkAlone();
    const isYoung = clock.now() - this.#startedAtMs < timing.joinEagerMs;
    const isEager = isYoung && targets.some(({ isSelf }) => !isSelf);
    const delayMs = isEager ? this.#retryMs : timing.reconnectIntervalMs;
    this.#retryMs = Math.min(this.#retryMs * 1.5, timing.joinRetryMaxMs);
    timers.after(delayMs * (1 + random() / 4), () => {
      if (this.#outcome === 'joined') this.#reconnectRound();
      else this.#joinRound();
    });
  }

  /** Tries one seed that is not a member, and perhaps one dead member; all of them when no member is alive. */
  #reconnectRound(): void {
    const { timers, timing, random, roster } = this.#options;
    const isAlone = roster.table.reachable <= 1;
    this.#discover();
    const known = [...this.#seeds, ...this.#discovered.values()];
    const lost = known.filter((seed) => !this.#isAlive(seed));
    for (const seed of isAlone ? lost : shuffle(random, lost).slice(0, 1)) this.#try(seed);
    const dead = roster.table.count('dead');
    if (dead > 0 && random() < dead / roster.table.reachable) {
      const [member] = sample(random, roster.table, 1, (entry) => entry.status === 'dead');
      if (member)
        this.#options.synchronizer.full(member.record, (result) => this.#followUp(result, member.record));
    }
    timers.after(timing.reconnectIntervalMs * (1 + random() / 4), () => this.#reconnectRound());
  }

  /**
   * Where both sides hold each other for dead, the first exchange makes the living refute; and what this node
   * remembers from an earlier run may be out of date, and has been told. Further exchanges a little later carry
   * over what is newer; between nodes that agree they cost next to nothing.
   */
  #followUp(result: { readonly peer: string } | { readonly error: Error }, peer: Peer): void {
    const { roster, synchronizer, timers, timing, remembered } = this.#options;
    const hasDoubts = remembered.length > 0 || roster.table.count('dead') + roster.table.count('suspect') > 0;
    if ('error' in result || !hasDoubts) return;
    for (const intervals of FOLLOW_UP_INTERVALS) {
      timers.after(intervals * timing.gossipIntervalMs, () => synchronizer.compare(peer, () => {}));
    }
  }

  #try(target: Target): void {
    if (target.isBusy || target.isSelf) return;
    target.isBusy = true;
    if (target.endpoint) {
      this.#sync(target, target.endpoint);
      return;
    }
    const { host, port } = target.hostPort!;
    const literal = literalAddress(host);
    if (literal) {
      this.#tryAddresses(target, [{ address: literal, port }]);
      return;
    }
    this.#options.resolve(host, (result) => {
      if (result instanceof Error) {
        this.#fail(target, `${target.label}: the name cannot be resolved (${result.message})`);
      } else {
        this.#tryAddresses(
          target,
          result.map((address) => ({ address, port })),
        );
      }
    });
  }

  /** One of the addresses in this node's own family, a different one each time. */
  #tryAddresses(target: Target, endpoints: readonly Endpoint[]): void {
    const { selfEndpoint, random } = this.#options;
    const self = selfEndpoint();
    const { family } = self.address;
    const usable = endpoints.filter((endpoint) => endpoint.address.family === family);
    if (usable.some((endpoint) => sameEndpoint(endpoint, self))) {
      target.isSelf = true;
      target.isBusy = false;
      target.problem = undefined;
      return;
    }
    const endpoint = usable[randomIndex(random, usable.length)];
    if (endpoint) this.#sync(target, endpoint);
    else this.#fail(target, `${target.label} has no IPv${family} address, and this node uses IPv${family}`);
  }

  #sync(target: Target, endpoint: Endpoint): void {
    const { synchronizer, selfId, logger } = this.#options;
    const peer = { gossip: endpoint };
    synchronizer.full(peer, (result) => {
      if ('error' in result) {
        target.hasRefused = result.error instanceof PeerRefusedError && result.error.code !== 'busy';
        this.#fail(target, `${target.label} ${describe(result.error)}`);
        return;
      }
      target.isBusy = false;
      target.hasRefused = false;
      target.problem = undefined;
      target.peer = result.peer;
      if (result.peer === selfId) {
        target.isSelf = true;
        this.#checkAlone();
        return;
      }
      this.#followUp(result, peer);
      if (this.#outcome !== 'joined') {
        logger.info({ through: formatEndpoint(endpoint) }, 'joined the cluster');
        this.#outcome = 'joined';
        this.#options.onOutcome('joined');
      }
    });
  }

  #fail(target: Target, problem: string): void {
    if (target.problem !== problem && this.#outcome !== 'joined') this.#options.logger.warn(problem);
    target.isBusy = false;
    target.problem = problem;
    this.#checkAlone();
  }

  /**
   * Alone: there is nobody to join, or nobody has answered for the join timeout. Not while somebody refuses
   * us: a cluster is there, and a node that is shut out of it must not act as if it were the first.
   */
  #checkAlone(): void {
    const { clock, timing, logger } = this.#options;
    if (this.#outcome !== 'joining' || this.#options.discovery?.isPending) return;
    const others = this.#targets().filter((target) => !target.isSelf);
    if (others.some((target) => target.hasRefused)) return;
    if (others.length > 0 && clock.now() - this.#startedAtMs < timing.joinTimeoutMs) return;
    if (others.length > 0) logger.warn('no other node answers; going on alone, and trying again');
    this.#outcome = 'alone';
    this.#options.onOutcome('alone');
  }

  #isAlive(target: Target): boolean {
    if (target.isSelf) return true;
    const { table } = this.#options.roster;
    if (target.peer) return table.get(target.peer)?.status === 'alive';
    // Not tried yet: it may have joined through us.
    const literal = target.hostPort && literalAddress(target.hostPort.host);
    const endpoint = target.endpoint ?? (literal && { address: literal, port: target.hostPort!.port });
    if (!endpoint) return false;
    for (const entry of table) {
      if (entry.status === 'alive' && sameEndpoint(entry.record.gossip, endpoint)) return true;
    }
    return false;
  }
}

function newTarget(label: string, hostPort: HostPort | undefined, endpoint?: Endpoint): Target {
  return {
    label,
    hostPort,
    endpoint,
    isBusy: false,
    isSelf: false,
    hasRefused: false,
    problem: undefined,
    peer: undefined,
  };
}

/** What follows a target's name in a problem's text. */
function describe(error: Error): string {
  if (error instanceof PeerRefusedError) return error.message;
  const { code } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'ECONNREFUSED':
      return 'does not answer: no agent listens there (connection refused)';
    case 'ETIMEDOUT':
      return 'does not answer: timed out';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return `cannot be reached: no route to it (${code})`;
    case 'ECONNRESET':
    case 'EPIPE':
      return 'does not answer: it closed the connection';
    default:
      return `does not answer: ${error.message}`;
  }
}
