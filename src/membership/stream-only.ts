/**
 * Members whose probes are answered over TCP and not over UDP: a firewall lets one through and not the other. That
 * would be a line for each probe, thousands an hour: there is one when it begins and one when it has ended, with how
 * often it was in between.
 */
import type { Clock } from '../clock.ts';
import type { Logger } from '../log/logger.ts';

/** It has ended when all answers have come over UDP for so long: what is lossy comes and goes. */
const ENDED_AFTER_MS = 60_000;

interface Episode {
  readonly sinceMs: number;
  probes: number;
  /** Answers come over UDP since then. */
  udpSinceMs: number | undefined;
}

export class StreamOnlyLog {
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** By member; those that are no longer known go when another one begins. */
  readonly #episodes = new Map<string, Episode>();
  readonly #isKnown: (id: string) => boolean;

  constructor(clock: Clock, logger: Logger, isKnown: (id: string) => boolean) {
    this.#clock = clock;
    this.#logger = logger;
    this.#isKnown = isKnown;
  }

  /** A probe was answered over TCP alone. */
  overStream(id: string, name: string): void {
    const episode = this.#episodes.get(id);
    if (episode) {
      episode.probes++;
      episode.udpSinceMs = undefined;
      return;
    }
    for (const known of this.#episodes.keys()) if (!this.#isKnown(known)) this.#episodes.delete(known);
    this.#episodes.set(id, { sinceMs: this.#clock.now(), probes: 1, udpSinceMs: undefined });
    this.#logger.warn(
      { node: name },
      'node answers over TCP and not over UDP; check its firewall (the next line comes when that has ended)',
    );
  }

  /** A probe was answered over UDP. */
  overDatagram(id: string, name: string): void {
    const episode = this.#episodes.get(id);
    if (!episode) return;
    const nowMs = this.#clock.now();
    episode.udpSinceMs ??= nowMs;
    if (nowMs - episode.udpSinceMs < ENDED_AFTER_MS) return;
    this.#episodes.delete(id);
    const seconds = Math.round((episode.udpSinceMs - episode.sinceMs) / 1000);
    this.#logger.info({ node: name, seconds, probes: episode.probes }, 'node answers over UDP again');
  }
}
