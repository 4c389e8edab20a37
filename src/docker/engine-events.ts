/**
 * Hears when something of an engine's containers and networks may be another than before. What it is does not matter: whoever
 * listens asks the engine again, so an event that is missed while there is no connection is no loss.
 */
import { type ClientRequest, request } from 'node:http';
import type { Clock, Timer } from '../clock.ts';

const RETRY_MS = 1000;
/** `health_status` stands for all of its kind. */
const FILTERS = {
  type: ['container', 'network'],
  event: ['create', 'start', 'rename', 'health_status', 'connect', 'destroy'],
};

export interface EngineEventsOptions {
  /** The engine's own. */
  readonly socket: string;
  readonly clock: Clock;
  /** Also after each new connection. */
  readonly onEvent: () => void;
}

export class EngineEvents {
  readonly #options: EngineEventsOptions;
  #asked: ClientRequest | undefined;
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(options: EngineEventsOptions) {
    this.#options = options;
  }

  start(): void {
    const { socket, clock, onEvent } = this.#options;
    const path = `/events?filters=${encodeURIComponent(JSON.stringify(FILTERS))}`;
    const asked = request({ socketPath: socket, path, headers: { host: 'docker' }, agent: false });
    this.#asked = asked;
    asked.on('response', (response) => {
      if (response.statusCode !== 200) return asked.destroy();
      onEvent();
      response.on('data', () => onEvent());
      response.on('error', () => {});
    });
    asked.on('error', () => {});
    asked.on('close', () => {
      if (!this.#isStopped) this.#timer = clock.after(RETRY_MS, () => this.start());
    });
    asked.end();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#asked?.destroy();
  }
}
