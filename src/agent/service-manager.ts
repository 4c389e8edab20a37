/**
 * What systemd is told of the agent (sd_notify(3)): when it is ready, that it reads its configuration again, that it
 * stops, and, as long as the event loop turns, that it lives. A message is one datagram of `NAME=VALUE` lines to the
 * socket that NOTIFY_SOCKET names. Without that variable there is nobody to tell, and this file is not loaded.
 *
 * Ready means that the overlay is up: a unit that is ordered after the agent's wants to reach pods. Until then, which may
 * take as long as it takes the network to come up, the agent asks for more time again and again, so that a start which
 * waits is not cut off and one that hangs is.
 */
import type { Clock, Timer } from '../clock.ts';
import type { Logger } from '../log/logger.ts';
import { sendUnixDatagram } from '../sys/unix-datagram.ts';

/** How often a start asks for more time, and for how much: that of TimeoutStartSec in warren.service. */
const EXTEND_EVERY_MS = 10_000;
const EXTEND_BY_US = 60_000_000;

export interface ServiceManagerOptions {
  /** Variables that are for the agent alone are taken out, so that no program it runs speaks in its name. */
  readonly env: Record<string, string | undefined>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly send?: (socket: string, text: string) => void;
}

export class ServiceManager {
  readonly #options: ServiceManagerOptions;
  readonly #socket: string | undefined;
  /** Half of what the service manager waits for a sign of life. */
  readonly #watchdogMs: number | undefined;
  #timer: Timer | undefined;
  #isReady = false;
  #isStopping = false;
  #hasFailed = false;

  constructor(options: ServiceManagerOptions) {
    this.#options = options;
    const { env } = options;
    this.#socket = env.NOTIFY_SOCKET || undefined;
    const isForUs = env.WATCHDOG_PID === undefined || env.WATCHDOG_PID === String(process.pid);
    const watchdogUs = isForUs ? Number(env.WATCHDOG_USEC) : 0;
    if (watchdogUs > 0) this.#watchdogMs = watchdogUs / 2000;
    for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete env[name];
    this.#beat();
  }

  /** The overlay is up, with what `status` says. */
  ready(status: string): void {
    if (this.#isStopping) return;
    const isFirst = !this.#isReady;
    this.#isReady = true;
    this.#notify('READY=1', `STATUS=${oneLine(status)}`);
    if (isFirst) this.#beat();
  }

  /** What it waits for, or what is wrong, in one sentence. */
  status(text: string): void {
    if (!this.#isStopping) this.#notify(`STATUS=${oneLine(text)}`);
  }

  /** The configuration is read again, until `reloaded`. Before the first `ready` that is no news. */
  reloading(): void {
    if (!this.#isReady || this.#isStopping) return;
    const nowUs = process.hrtime.bigint() / 1000n;
    this.#notify('RELOADING=1', `MONOTONIC_USEC=${nowUs}`);
  }

  reloaded(): void {
    if (this.#isReady && !this.#isStopping) this.#notify('READY=1');
  }

  /** From here on nothing else is said. */
  stopping(): void {
    if (!this.#isStopping) this.#notify('STOPPING=1', 'STATUS=stopping');
    this.#isStopping = true;
    this.#timer?.cancel();
  }

  /** A sign of life, and the next one after it. */
  #beat(): void {
    this.#timer?.cancel();
    const everyMs = this.#isReady ? this.#watchdogMs : EXTEND_EVERY_MS;
    if (this.#socket === undefined || this.#isStopping || everyMs === undefined) return;
    this.#notify(this.#isReady ? 'WATCHDOG=1' : `EXTEND_TIMEOUT_USEC=${EXTEND_BY_US}`);
    this.#timer = this.#options.clock.after(everyMs, () => this.#beat());
  }

  #notify(...lines: readonly string[]): void {
    if (this.#socket === undefined) return;
    const { send = sendUnixDatagram, log } = this.#options;
    try {
      send(this.#socket, lines.join('\n'));
      this.#hasFailed = false;
    } catch (error) {
      if (!this.#hasFailed) log.warn({ err: error }, 'cannot tell the service manager how the agent is');
      this.#hasFailed = true;
    }
  }
}

function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, '; ');
}
