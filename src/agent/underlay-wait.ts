/**
 * An agent that starts before its host has a network waits for it: at boot, or on a machine whose network is configured
 * by hand, the address that the others reach this node at may come seconds or hours later.
 */
import type { Clock, Timer } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { WarrenError } from '../errors.ts';
import type { Host } from '../host/host.ts';
import type { Underlay } from '../host/underlay-route.ts';
import type { Logger } from '../log/logger.ts';

/** Links that change are looked at this soon: an address comes in several steps. */
const SETTLE_MS = 100;
/** Seeds may become resolvable without any change of a link. */
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 10_000;

export interface UnderlayWait {
  readonly config: Config;
  readonly host: Host;
  readonly clock: Clock;
  readonly log: Logger;
  /** Ends the waiting, with its reason as the error. */
  readonly signal: AbortSignal;
  /** Called each time that the reason to wait is another one. */
  readonly onWaiting: (reason: WarrenError) => void;
}

/** The underlay, as soon as there is one. Throws at once whatever waiting does not mend. */
export async function waitForUnderlay(wait: UnderlayWait): Promise<Underlay> {
  const { config, host, clock, log, signal, onWaiting } = wait;
  let watch: { stop(): void } | undefined;
  let retryMs = FIRST_RETRY_MS;
  let last: string | undefined;
  const sleep = new Sleep(clock);
  const wakeUp = () => sleep.end();
  signal.addEventListener('abort', wakeUp);
  try {
    for (;;) {
      signal.throwIfAborted();
      try {
        const underlay = await host.resolveUnderlay(config);
        if (watch) log.info({ interface: underlay.interfaceName }, 'there is an underlay address now');
        return underlay;
      } catch (error) {
        if (!isAwaited(error)) throw error;
        if (error.message !== last) {
          log.warn({ err: error }, 'waiting for an underlay address');
          onWaiting(error);
        }
        last = error.message;
      }
      watch ??= host.watch(() => sleep.shorten(SETTLE_MS), log);
      await sleep.for(retryMs);
      retryMs = Math.min(2 * retryMs, LAST_RETRY_MS);
    }
  } finally {
    signal.removeEventListener('abort', wakeUp);
    watch?.stop();
  }
}

/** A pause that others may shorten or end. */
class Sleep {
  readonly #clock: Clock;
  #timer: Timer | undefined;
  #resolve: (() => void) | undefined;
  /** Asked for while nobody slept: the next pause is no longer than this. */
  #atMostMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  for(durationMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.#timer = this.#clock.after(Math.min(durationMs, this.#atMostMs), () => this.end());
      this.#atMostMs = Number.POSITIVE_INFINITY;
    });
  }

  shorten(toMs: number): void {
    if (!this.#resolve) this.#atMostMs = toMs;
    else {
      this.#timer?.cancel();
      this.#timer = this.#clock.after(toMs, () => this.end());
    }
  }

  end(): void {
    this.#timer?.cancel();
    this.#resolve?.();
    this.#resolve = undefined;
  }
}

function isAwaited(error: unknown): error is WarrenError {
  if (!(error instanceof WarrenError)) return false;
  return error.code === 'UNDERLAY_ADDRESS_UNKNOWN' || error.code === 'UNDERLAY_ADDRESS_MISSING';
}
