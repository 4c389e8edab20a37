/**
 * A network in memory with seeded faults: delay, loss, duplication, reordering (by unequal delays),
 * partitions, one-way links, hosts that stop and hosts that are paused.
 */

import type { Clock } from '../clock.ts';
import type { Endpoint } from '../ip/endpoint.ts';
import type { Deadlines } from '../link/deadline.ts';
import type { Exchange, ExchangeHandler, Transport, TransportHandlers } from '../link/transport.ts';
import type { Random } from '../membership/random.ts';
import type { VirtualClock } from './virtual-clock.ts';
import { VirtualStream } from './virtual-stream.ts';

export interface LinkQuality {
  /** One way: from the first to the second, evenly spread. */
  readonly delayMs: readonly [number, number];
  /** 0 to 1. */
  readonly loss: number;
  readonly duplication: number;
}

export const perfectLan: LinkQuality = { delayMs: [0.2, 1], loss: 0, duplication: 0 };

export class VirtualNetwork {
  readonly clock: VirtualClock;
  readonly #random: Random;
  readonly #hosts = new Map<string, VirtualHost>();
  /** The same by the endpoint's object, which the records of a node share; a host stays what it is. */
  readonly #byObject = new WeakMap<Endpoint, VirtualHost>();
  quality: LinkQuality;
  /**
   * Whether `from` reaches `to`; one direction. Replace it to make partitions, one-way links, and hosts that
   * datagrams do not reach and streams do.
   */
  reaches: (from: VirtualHost, to: VirtualHost, via: 'datagram' | 'stream') => boolean = () => true;

  constructor(clock: VirtualClock, random: Random, quality: LinkQuality = perfectLan) {
    this.clock = clock;
    this.#random = random;
    this.quality = quality;
  }

  /** The host that has the endpoint; made when it is first asked for. */
  host(endpoint: Endpoint): VirtualHost {
    const key = keyOf(endpoint);
    const host = this.#hosts.get(key) ?? new VirtualHost(this, endpoint);
    this.#hosts.set(key, host);
    return host;
  }

  find(endpoint: Endpoint): VirtualHost | undefined {
    const known = this.#byObject.get(endpoint);
    if (known) return known;
    const host = this.#hosts.get(keyOf(endpoint));
    if (host) this.#byObject.set(endpoint, host);
    return host;
  }

  /** Only hosts of the same group reach each other; hosts in none reach nobody. */
  partition(...groups: readonly (readonly VirtualHost[])[]): void {
    const groupOf = new Map<VirtualHost, number>();
    for (const [number, hosts] of groups.entries()) {
      for (const host of hosts) groupOf.set(host, number);
    }
    this.reaches = (from, to) => groupOf.has(from) && groupOf.get(from) === groupOf.get(to);
  }

  heal(): void {
    this.reaches = () => true;
  }

  isLost(): boolean {
    return this.quality.loss > 0 && this.#random() < this.quality.loss;
  }

  isDuplicated(): boolean {
    return this.quality.duplication > 0 && this.#random() < this.quality.duplication;
  }

  delayMs(): number {
    const [least, most] = this.quality.delayMs;
    return least + this.#random() * (most - least);
  }
}

export class VirtualHost {
  readonly network: VirtualNetwork;
  readonly endpoint: Endpoint;
  /** Set while an agent runs on it. */
  handlers: TransportHandlers | undefined;
  sentDatagrams = 0;
  sentBytes = 0;
  /** Both sides of streams, as far as this host sent them. */
  sentStreamBytes = 0;
  /** Of others, and not answered in full. */
  readonly streams = new Set<VirtualStream>();
  /** Off: it sends nothing, hears nothing, and its timers do not fire. */
  isDown = false;
  #pausedUntilMs = 0;

  constructor(network: VirtualNetwork, endpoint: Endpoint) {
    this.network = network;
    this.endpoint = endpoint;
  }

  /** Nothing happens on this host for so long: what arrives and what is due waits. */
  pause(durationMs: number): void {
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, this.network.clock.now() + durationMs);
  }

  /** When the latest pause ended or will end; 0 if there was none. */
  get pausedUntilMs(): number {
    return this.#pausedUntilMs;
  }

  /** Runs `callback` now, or when the pause ends. */
  run(callback: () => void): void {
    const waitMs = this.#pausedUntilMs - this.network.clock.now();
    if (this.isDown) return;
    if (waitMs > 0) this.network.clock.after(waitMs, () => this.run(callback));
    else callback();
  }

  /** The network's clock, but for the pauses of this host. */
  get clock(): Clock {
    const { clock } = this.network;
    return {
      now: () => clock.now(),
      wallTime: () => clock.wallTime(),
      after: (delayMs, callback) => {
        let isCancelled = false;
        const timer = clock.after(delayMs, () =>
          this.run(() => {
            if (!isCancelled) callback();
          }),
        );
        return {
          cancel: () => {
            isCancelled = true;
            timer.cancel();
          },
        };
      },
    };
  }

  transport(): Transport {
    return new VirtualTransport(this);
  }
}

class VirtualTransport implements Transport {
  readonly #host: VirtualHost;
  #handlers: TransportHandlers | undefined;

  constructor(host: VirtualHost) {
    this.#host = host;
  }

  async open(handlers: TransportHandlers): Promise<void> {
    this.#handlers = handlers;
    this.#host.handlers = handlers;
  }

  async close(): Promise<void> {
    if (this.#host.handlers === this.#handlers) this.#host.handlers = undefined;
    if (!this.#handlers) return;
    this.#handlers = undefined;
    for (const stream of [...this.#host.streams]) stream.reset();
  }

  send(to: Endpoint, datagram: Uint8Array): void {
    const from = this.#host;
    const { network } = from;
    if (from.isDown) return;
    from.sentDatagrams++;
    from.sentBytes += datagram.length;
    const copies = network.isDuplicated() ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      if (network.isLost()) continue;
      network.clock.after(network.delayMs(), () => {
        const target = network.find(to);
        if (!target || !network.reaches(from, target, 'datagram')) return;
        target.run(() => target.handlers?.datagram(from.endpoint, datagram));
      });
    }
  }

  exchange(
    to: Endpoint,
    frames: readonly Uint8Array[],
    deadlines: Deadlines,
    handler: ExchangeHandler,
  ): Exchange {
    // An agent that has stopped hears nothing any more.
    const isRunning = () => this.#handlers !== undefined && this.#host.handlers === this.#handlers;
    return new VirtualStream(this.#host, to, frames, deadlines, handler, isRunning);
  }
}

function keyOf({ address, port }: Endpoint): string {
  return `${address.family}/${address.value}/${port}`;
}
