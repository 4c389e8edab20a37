/**
 * Under which session this node seals, and the numbers it has used in it (seal.ts). A number must never come twice in a
 * session: two frames under one nonce tell what is in both, and let others forge more. A process that only runs never
 * repeats one; a machine that is put back to a snapshot, or a process to a checkpoint, does, since the numbers go back
 * with everything else. So a session is renewed now and then, before its numbers run out, and at once when something
 * shows that memory may be older than the world: the wall clock has jumped against the monotonic one (which does not
 * run while the machine is stopped, and goes back with it), or the machine says that it is another (host/machine-generation.ts).
 * This is looked at before each number that is given out. A machine that is put back and has neither a clock that is set
 * right nor a generation id goes unnoticed until the next renewal.
 */
import type { Clock } from '../clock.ts';
import { newSession, receiverOf } from './seal.ts';

export type Series = 'datagram' | 'request' | 'call' | 'response' | 'answer';

/** Frames of streams are numbered in blocks of 2^16 (frame-order.ts): the block number is what is counted here. */
const BLOCK_BITS: Record<Series, number> = { datagram: 0, request: 16, call: 16, response: 16, answer: 16 };
/** A session ends well before its last number, 2^48 - 1. */
const LAST_NUMBER = 2 ** 47;
/** Clocks are set by this much without being suspicious: what a time service corrects while it slews is far less. */
const JUMP_MS = 5000;
/** After a renewal without cause for alarm others may not have heard of it yet, and exchanges under way end. */
const PREVIOUS_KEPT_MS = 60_000;

/** One session; `isVoid` once nothing may be sealed under it any more. */
export interface Session {
  readonly id: string;
  readonly used: Record<Series, number>;
  isVoid: boolean;
}

/** All that changes: what a snapshot of the machine would hold. */
export interface SessionsState {
  current: Session;
  previous: { readonly session: Session; readonly untilMs: number } | undefined;
  /** Wall clock less monotonic clock when it was last looked at. */
  offsetMs: number;
  generation: string;
}

export type RenewalCause = 'age' | 'numbers' | 'clock' | 'machine';

export interface SessionsOptions {
  readonly clock: Clock;
  /** The first one's; absent: a random one. */
  readonly id?: string | undefined;
  /** Changes when this machine goes on from an earlier state; asked before each frame. */
  readonly generation?: (() => string) | undefined;
}

export class Sessions {
  readonly #options: SessionsOptions;
  readonly state: SessionsState;
  /** There is a new session; called from within whatever sends just then. */
  onRenewed: (cause: RenewalCause) => void = () => {};

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.state = {
      current: begin(options.id ?? newSession(options.clock.wallTime())),
      previous: undefined,
      offsetMs: this.#offsetMs(),
      generation: options.generation?.() ?? '',
    };
  }

  /** The present one's, hexadecimal. */
  get id(): string {
    return this.state.current.id;
  }

  /** A number that was never given out in the session before; `number` is the first of its block. */
  next(series: Series): { readonly session: Session; readonly number: number } {
    this.look();
    let { current } = this.state;
    if ((current.used[series] + 1) * 2 ** BLOCK_BITS[series] >= LAST_NUMBER) {
      this.renew('numbers');
      current = this.state.current;
    }
    return { session: current, number: ++current.used[series] * 2 ** BLOCK_BITS[series] };
  }

  /** Renews the session if memory may be older than the world. */
  look(): void {
    const { state } = this;
    const offsetMs = this.#offsetMs();
    const generation = this.#options.generation?.() ?? '';
    const isOtherMachine = generation !== state.generation;
    const hasJumped = Math.abs(offsetMs - state.offsetMs) > JUMP_MS;
    state.offsetMs = offsetMs;
    state.generation = generation;
    if (isOtherMachine || hasJumped) this.renew(isOtherMachine ? 'machine' : 'clock');
  }

  renew(cause: RenewalCause): void {
    const { state } = this;
    const before = state.current;
    state.current = begin(newSession(this.#options.clock.wallTime()));
    const isHarmless = cause === 'age' || cause === 'numbers';
    if (!isHarmless) {
      before.isVoid = true;
      if (state.previous) state.previous.session.isVoid = true;
    }
    state.previous = isHarmless
      ? { session: before, untilMs: this.#options.clock.now() + PREVIOUS_KEPT_MS }
      : undefined;
    this.onRenewed(cause);
  }

  /** Whether what names this session, or this receiver, is for this run of the agent. */
  isOwn(session: string): boolean {
    return session === this.id || session === this.#previousId();
  }

  isReceiver(receiver: number): boolean {
    const previous = this.#previousId();
    return receiver === receiverOf(this.id) || (previous !== undefined && receiver === receiverOf(previous));
  }

  #previousId(): string | undefined {
    const { previous } = this.state;
    return previous && this.#options.clock.now() < previous.untilMs ? previous.session.id : undefined;
  }

  #offsetMs(): number {
    const { clock } = this.#options;
    return clock.wallTime() - clock.now();
  }
}

function begin(id: string): Session {
  return { id, used: { datagram: 0, request: 0, call: 0, response: 0, answer: 0 }, isVoid: false };
}
