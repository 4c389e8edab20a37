/**
 * The timers of one peer, as WireGuard's paper, section 6, has them. It is told what happens and says what to do; it
 * neither sends nor knows keys. Sessions are made by traffic: without any, all timers end.
 *
 *   timer        begins with                                        is over when         then
 *   retry        an initiation                                      the handshake ends   another, 90 s at most; then give up
 *   answer       data that was sent (15 s)                          anything comes       a new handshake: the peer is gone, or
 *                                                                                        has lost its keys
 *   keepalive    data that came (10 s)                              anything is sent     an empty packet, so that the peer
 *                                                                                        does not think the same of us
 *   persistent   anything, if it is asked for                       -                    an empty packet
 *   forget       a handshake that ended, or was given up (540 s)    another ended        keys and handshake are overwritten
 */
import { type Clock, type Timer, TimerGroup } from '../../clock.ts';
import {
  KEEPALIVE_TIMEOUT_MS,
  REJECT_AFTER_TIME_MS,
  REKEY_ATTEMPT_TIME_MS,
  REKEY_JITTER_MS,
  REKEY_TIMEOUT_MS,
} from './constants.ts';

/** How many initiations are tried again before the peer is taken to be gone. */
export const MAX_RETRIES = REKEY_ATTEMPT_TIME_MS / REKEY_TIMEOUT_MS;
const FORGET_AFTER_MS = 3 * REJECT_AFTER_TIME_MS;

export interface TimerActions {
  /** A new handshake; `isRetry`: the same attempt, whose last initiation was not answered. */
  initiate(isRetry: boolean): void;
  sendKeepalive(): void;
  /** The peer does not answer: what waits for it is dropped. */
  giveUp(): void;
  /** Keys have not been renewed for so long that none may be left. */
  forget(): void;
}

export interface TimerOptions {
  /** 0: none. */
  readonly persistentKeepaliveMs: number;
  /** From 0 to below 1; other than Math.random in tests. It spreads retries and is no secret. */
  readonly random?: (() => number) | undefined;
}

type Name = 'retry' | 'answer' | 'keepalive' | 'persistent' | 'forget';

export class PeerTimers {
  readonly #actions: TimerActions;
  readonly #group: TimerGroup;
  #persistentMs: number;
  readonly #random: () => number;
  /** One of each name at most. */
  readonly #running = new Map<Name, Timer>();
  #retries = 0;
  #wantsAnotherKeepalive = false;

  constructor(clock: Clock, actions: TimerActions, { persistentKeepaliveMs, random }: TimerOptions) {
    this.#actions = actions;
    this.#group = new TimerGroup(clock);
    this.#persistentMs = persistentKeepaliveMs;
    this.#random = random ?? Math.random;
  }

  /** 0: none any more. */
  setPersistentKeepalive(ms: number): void {
    this.#persistentMs = ms;
    if (ms === 0) this.#clear('persistent');
    else if (this.#running.has('persistent')) this.#traversed();
  }

  initiationSent(isRetry: boolean): void {
    if (!isRetry) this.#retries = 0;
    this.#set('retry', this.#jittered(REKEY_TIMEOUT_MS), () => this.#retry());
  }

  /** This side has keys: of a response that it sent or received. */
  keysDerived(): void {
    this.#set('forget', FORGET_AFTER_MS, () => this.#actions.forget());
  }

  /** Both sides have the keys. */
  handshakeEnded(): void {
    this.#clear('retry');
    this.#retries = 0;
  }

  /** A packet that is not empty. */
  dataSent(): void {
    if (!this.#running.has('answer'))
      this.#set('answer', this.#jittered(KEEPALIVE_TIMEOUT_MS + REKEY_TIMEOUT_MS), () =>
        this.#actions.initiate(false),
      );
  }

  /** A packet that is not empty. */
  dataReceived(): void {
    if (this.#running.has('keepalive')) this.#wantsAnotherKeepalive = true;
    else this.#startKeepalive();
  }

  /** Anything at all that the peer will know to be ours. */
  authenticatedSent(): void {
    this.#clear('keepalive');
    this.#traversed();
  }

  /** Anything at all that is known to be the peer's. */
  authenticatedReceived(): void {
    this.#clear('answer');
    this.#traversed();
  }

  /** Nothing happens any more. */
  close(): void {
    this.#group.close();
    this.#running.clear();
  }

  #retry(): void {
    if (this.#retries < MAX_RETRIES) {
      this.#retries++;
      this.#actions.initiate(true);
      return;
    }
    this.#clear('keepalive');
    this.#actions.giveUp();
    if (!this.#running.has('forget')) this.keysDerived();
  }

  #startKeepalive(): void {
    this.#wantsAnotherKeepalive = false;
    this.#set('keepalive', KEEPALIVE_TIMEOUT_MS, () => {
      const again = this.#wantsAnotherKeepalive;
      this.#actions.sendKeepalive();
      if (again) this.#startKeepalive();
    });
  }

  #traversed(): void {
    if (this.#persistentMs > 0)
      this.#set('persistent', this.#persistentMs, () => this.#actions.sendKeepalive());
  }

  #jittered(ms: number): number {
    return ms + Math.floor(this.#random() * REKEY_JITTER_MS);
  }

  #set(name: Name, delayMs: number, callback: () => void): void {
    this.#clear(name);
    this.#running.set(
      name,
      this.#group.after(delayMs, () => {
        this.#running.delete(name);
        callback();
      }),
    );
  }

  #clear(name: Name): void {
    this.#running.get(name)?.cancel();
    this.#running.delete(name);
  }
}
