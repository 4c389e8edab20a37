/**
 * Keeps this node's rules in step with pods, namespaces and policies, whoever knows them. What is to be is compiled anew from
 * all of them when something changes, and what of it is another goes to the kernel in one transaction.
 *
 *     start      rules of an earlier run are in force until the first compile; addresses that it let through stay so for a
 *                while, since the attachments of other nodes are not known here yet
 *     a source   that does not know all: rules stay as they are, whatever the others say, and new pods wait. Only where an earlier
 *     is late    run has left nothing, what is known is in force meanwhile
 *     a new pod  has no interface before its rules are there (`admit`)
 *     the end    rules stay
 */
import type { Clock, Timer } from '../clock.ts';
import { errorMessage, WarrenError } from '../errors.ts';
import { Following } from '../following.ts';
import type { PolicyRules } from '../host/rules/host-rules.ts';
import type { RenderedSet, RenderedState } from '../host/rules/nft-difference.ts';
import { formatAddress } from '../ip/address.ts';
import type { Prefix } from '../ip/prefix.ts';
import type { Logger } from '../log/logger.ts';
import { compileInSteps, type LocalAttachment } from './compile.ts';
import { inSteps } from './in-steps.ts';
import type { RuleModel } from './model.ts';
import { renderInSteps } from './nft/render.ts';
import { gather, type PolicySource, type SourcedPod } from './source.ts';

/** Compiling takes no more than this part of the time where there is very much of it. */
const SHARE = 1 / 4;
const RETRY_MS = 1000;
/** After a start, for the inventories of other nodes to come. */
const GRACE_MS = 10_000;
/** A new pod waits for its policies no longer. */
const ADMIT_MS = 10_000;
const ADMIT_PAUSE_MS = 100;

export interface LocalPod extends LocalAttachment {
  readonly pod: SourcedPod;
}

export interface EnforcerOptions {
  readonly sources: readonly PolicySource[];
  /** The pods of this node that have an interface, or are about to. */
  readonly local: () => readonly LocalPod[];
  readonly rules: PolicyRules;
  readonly tunName: string;
  /** Addresses of pods are in these, and nobody else's. */
  readonly podRanges: readonly Prefix[];
  readonly clock: Clock;
  readonly log: Logger;
  /** Something about it is another: what is in force, or a problem. */
  readonly onChange: () => void;
}

/** What is in force. */
export interface InForce {
  readonly model: RuleModel;
  readonly local: readonly LocalPod[];
}

export class Enforcer {
  readonly #following: Following;
  readonly #options: EnforcerOptions;
  /** Addresses by the sets that an earlier run has left. Bounded by what it let through. */
  #left: ReadonlyMap<string, readonly string[]> = new Map();
  /** The packet filter has rules of an earlier run, or it is not known whether. */
  #hasFound = true;
  /** Names of sources that did not know all when they were asked last. */
  #late: readonly string[] = [];
  #grace: Timer | undefined;
  #unsubscribe: (() => void)[] = [];
  #problem: string | undefined;
  #inForce: InForce | undefined;

  constructor(options: EnforcerOptions) {
    this.#options = options;
    const { clock } = options;
    this.#following = new Following({ clock, follow: () => this.#follow(), retryMs: RETRY_MS, share: SHARE });
  }

  /** Resolves when the rules are in force, or are known not to be: that shows as a problem, and is tried again. */
  async start(): Promise<void> {
    const { rules, clock, sources, log } = this.#options;
    try {
      this.#left = await rules.left();
      this.#hasFound = this.#left.size > 0;
    } catch (error) {
      log.error({ err: error }, 'what an earlier run has left of policies cannot be read');
    }
    this.#grace = clock.after(GRACE_MS, () => {
      this.#left = new Map();
      this.#following.soon();
    });
    this.#unsubscribe = sources.map((source) => source.onChange(() => this.#following.soon()));
    await this.#following.settledOrAgain();
  }

  /** The rules stay as they are. */
  async stop(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe();
    this.#grace?.cancel();
    await this.#following.stop();
  }

  /** Undefined as long as a source does not know all, or it could not be done. */
  get inForce(): InForce | undefined {
    return this.#inForce;
  }

  /** Resolves when the rules are what follows from all that is known now. Throws why they are not. */
  settled(): Promise<void> {
    return this.#following.settled();
  }

  /**
   * Resolves when the rules of an attachment that has no interface yet are in force. What fails is tried again, for 10 s. Throws
   * POLICY_LATE. `unknown`: what is not known of it yet that its rules follow from; undefined: all is.
   */
  async admit(name: string, unknown: () => string | undefined = () => undefined): Promise<void> {
    const { clock } = this.#options;
    const untilMs = clock.now() + ADMIT_MS;
    let failure: unknown;
    while (!this.#following.isStopped) {
      // Asked before the pass that counts begins.
      const isKnown = unknown() === undefined;
      const [isDone, error] = await this.#within(untilMs - clock.now(), this.settled());
      failure = error;
      if (isKnown && isDone && this.#inForce !== undefined && this.#late.length === 0) return;
      if (clock.now() >= untilMs) break;
      const pauseMs = Math.min(ADMIT_PAUSE_MS, untilMs - clock.now());
      await new Promise<void>((resolve) => clock.after(pauseMs, resolve));
    }
    const why = this.#problem ?? unknown() ?? `not within ${ADMIT_MS / 1000} s`;
    throw new WarrenError('POLICY_LATE', `the network policies of ${name} are not in force: ${why}`, {
      hint: 'It has no network before they are. See `warren status`, and try again.',
      cause: failure,
    });
  }

  /** Whether it has worked by then, and why it has not, if that is known. */
  async #within(limitMs: number, work: Promise<void>): Promise<[boolean, unknown?]> {
    let deadline: Timer | undefined;
    const late = new Promise<[boolean]>((resolve) => {
      deadline = this.#options.clock.after(limitMs, () => resolve([false]));
    });
    const done = work.then(
      (): [boolean] => [true],
      (error: unknown): [boolean, unknown] => [false, error],
    );
    const result = await Promise.race([done, late]);
    deadline?.cancel();
    return result;
  }

  /** What a person should look at, one sentence each. */
  problems(): string[] {
    return this.#problem === undefined ? [] : [this.#problem];
  }

  async #follow(): Promise<void> {
    const { sources, local, rules, tunName, podRanges, clock, log, onChange } = this.#options;
    const before = this.#problem;
    try {
      const ready = sources.filter((source) => source.isReady());
      const late = sources.filter((source) => !ready.includes(source)).map(({ name }) => name);
      this.#late = late;
      const lateness =
        late.length === 0
          ? undefined
          : `network policies stay as they are, and new pods wait: ${late.join(', ')} has not told all yet`;
      if (lateness !== undefined && (this.#inForce !== undefined || this.#hasFound)) {
        this.#problem = lateness;
        return;
      }
      const beganMs = clock.now();
      const input = gather(ready);
      const here = local();
      const model = await inSteps(compileInSteps(input, here), clock);
      const state = await inSteps(renderInSteps(model, { tunName, podRanges }), clock);
      const wanted = this.#left.size === 0 ? state : withLeft(state, this.#left, input.pods);
      this.#following.hasWorked(beganMs);
      await rules.apply(wanted);
      // With what is not all that there is no new pod is let in.
      if (lateness === undefined) this.#inForce = { model, local: here };
      this.#problem = lateness;
    } catch (error) {
      const problem = `network policies are not in force as they are to be: ${errorMessage(error)}`;
      if (problem !== this.#problem) log.error({ err: error }, 'network policies are not in force');
      this.#problem = problem;
      throw error;
    } finally {
      if (this.#problem !== before || this.#problem === undefined) onChange();
    }
  }
}

/** Sets of pods have those addresses besides that they had before, and that nobody is known to have now. */
function withLeft(
  { sets, chains }: RenderedState,
  left: ReadonlyMap<string, readonly string[]>,
  pods: readonly SourcedPod[],
): RenderedState {
  const known = new Set(pods.flatMap(({ addresses }) => addresses.map(formatAddress)));
  const added = (name: string, set: RenderedSet): RenderedSet => {
    const others = (left.get(name) ?? []).filter((text) => !known.has(text));
    if (others.length === 0 || !/_pods[46]_/.test(name)) return set;
    return { ...set, elements: new Set([...set.elements, ...others]) };
  };
  return { chains, sets: new Map([...sets].map(([name, set]) => [name, added(name, set)])) };
}
