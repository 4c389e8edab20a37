/**
 * What the kernel's counters say of each policy: packets that it denied, and that it would deny if it were in force. The counters
 * are of attachments, and go with them; what they have counted is added up here. Of each pod and direction the first denial is
 * logged, and so again after an hour.
 */
import type { Clock, Timer } from '../clock.ts';
import type { PolicyRules } from '../host/rules/host-rules.ts';
import { formatAddress } from '../ip/address.ts';
import type { Logger } from '../log/logger.ts';
import type { InForce } from './enforcer.ts';
import type { Direction } from './model.ts';

const EVERY_MS = 5000;
const QUIET_MS = 3_600_000;
/** Lines of a look; what comes on top of them is one line together. */
const MAX_LINES = 5;
/** Pods and directions that were logged; more are not told apart. */
const MAX_LOGGED = 4096;
const DIRECTIONS = [
  ['in', 'ingress'],
  ['out', 'egress'],
] as const;

export interface DeniedPackets {
  readonly policy: string;
  readonly direction: Direction;
  readonly packets: number;
  /** It would be so if the policy were in force. */
  readonly isStaged: boolean;
}

export interface DenialsOptions {
  readonly rules: Pick<PolicyRules, 'counts' | 'denied'>;
  readonly inForce: () => InForce | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Rise {
  readonly pod: string;
  readonly addresses: readonly string[];
  readonly direction: Direction;
  readonly policies: readonly string[];
  readonly packets: number;
}

export class Denials {
  readonly #options: DenialsOptions;
  /** The kernel's counters when they were read last. Bounded by them. */
  #last: ReadonlyMap<string, number> = new Map();
  /** Bounded by the policies that there have been. */
  readonly #totals = new Map<string, DeniedPackets>();
  /** What was denied and not looked at for the log yet. Bounded by the attachments. */
  readonly #unlogged = new Map<string, Rise>();
  readonly #loggedAtMs = new Map<string, number>();
  #timer: Timer | undefined;
  #looking: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(options: DenialsOptions) {
    this.#options = options;
  }

  start(): void {
    // What an earlier run has counted is not of this one.
    this.#last = this.#counts();
    this.#later();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await this.#looking;
  }

  /** Each policy that has denied something since the agent's start; a packet that several deny counts for each. */
  packets(): DeniedPackets[] {
    this.#read();
    return [...this.#totals.values()];
  }

  #later(): void {
    this.#timer = this.#options.clock.after(EVERY_MS, () => {
      this.#looking = this.#look()
        .catch((error: unknown) =>
          this.#options.log.warn({ err: error }, 'denied packets cannot be looked at'),
        )
        .finally(() => {
          if (!this.#isStopped) this.#later();
        });
    });
  }

  async #look(): Promise<void> {
    const { clock, log, rules } = this.#options;
    const now = clock.now();
    for (const [key, atMs] of this.#loggedAtMs) if (now - atMs >= QUIET_MS) this.#loggedAtMs.delete(key);
    this.#read();
    const news = [...this.#unlogged].filter(([key]) => !this.#loggedAtMs.has(key)).map(([, rise]) => rise);
    this.#unlogged.clear();
    if (news.length === 0 || this.#loggedAtMs.size >= MAX_LOGGED) return;
    const denied = await rules.denied('denied');
    for (const { pod, direction, policies, packets, addresses } of news.slice(0, MAX_LINES)) {
      this.#loggedAtMs.set(`${pod} ${direction}`, now);
      const end = direction === 'ingress' ? 'destination' : 'source';
      const latest = denied
        .filter((one) => addresses.includes(one[end]))
        .sort((a, b) => a.ageSeconds - b.ageSeconds)[0];
      log.warn(
        {
          ...{ pod, direction, policies, packets },
          ...(latest && {
            from: latest.source,
            to: latest.destination,
            what: latest.port === 0 ? latest.protocol : `${latest.protocol} ${latest.port}`,
          }),
        },
        'network policies deny packets; the next ones like these are not logged for an hour',
      );
    }
    if (news.length > MAX_LINES) {
      log.warn({ pods: news.length - MAX_LINES }, 'network policies deny packets of more pods');
    }
  }

  /** Takes over what was counted since the last time. */
  #read(): void {
    const inForce = this.#options.inForce();
    const counts = this.#counts();
    const before = this.#last;
    this.#last = counts;
    if (inForce === undefined) return;
    const pods = new Map(inForce.local.map(({ interfaceName, pod }) => [interfaceName, pod]));
    for (const { interfaceName, staged, ...own } of inForce.model.attachments) {
      const pod = pods.get(interfaceName)!;
      for (const [short, direction] of DIRECTIONS)
        for (const isStaged of [false, true]) {
          const counter = `${isStaged ? 'trial' : 'denied'}_${short}_${interfaceName}`;
          const [now, then] = [counts.get(counter) ?? 0, before.get(counter) ?? 0];
          // Less than before: it is another counter, of an attachment that came back.
          const packets = now < then ? now : now - then;
          if (packets <= 0) continue;
          const policies = (isStaged ? staged : own)[direction].flatMap((tier) => tier.policies);
          for (const policy of policies) this.#add({ policy, direction, isStaged, packets });
          if (isStaged) continue;
          const addresses = pod.addresses.map(formatAddress);
          const name = `${pod.namespace}/${pod.name}`;
          const key = `${name} ${direction}`;
          const sum = packets + (this.#unlogged.get(key)?.packets ?? 0);
          this.#unlogged.set(key, { pod: name, addresses, direction, policies, packets: sum });
        }
    }
  }

  #add(one: DeniedPackets): void {
    const key = `${one.policy} ${one.direction} ${one.isStaged}`;
    const before = this.#totals.get(key)?.packets ?? 0;
    this.#totals.set(key, { ...one, packets: before + one.packets });
  }

  #counts(): ReadonlyMap<string, number> {
    try {
      return this.#options.rules.counts();
    } catch {
      return this.#last;
    }
  }
}
