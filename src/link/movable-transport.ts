/** A transport that can change its address while the protocol runs on it: the host got another one. */
import type { Endpoint } from '../ip/endpoint.ts';
import type { Deadlines } from './deadline.ts';
import type { Exchange, ExchangeHandler, Transport, TransportHandlers } from './transport.ts';

export class MovableTransport implements Transport {
  readonly #make: (bind: Endpoint) => Transport;
  #current: Transport;
  #handlers: TransportHandlers | undefined;

  constructor(bind: Endpoint, make: (bind: Endpoint) => Transport) {
    this.#make = make;
    this.#current = make(bind);
  }

  async open(handlers: TransportHandlers): Promise<void> {
    await this.#current.open(handlers);
    this.#handlers = handlers;
  }

  /**
   * Binds the new address, then lets go of the old one; exchanges under way there fail. Rejects with a
   * WarrenError when it cannot be bound, and nothing has changed then.
   */
  async moveTo(bind: Endpoint): Promise<void> {
    const next = this.#make(bind);
    if (this.#handlers) await next.open(this.#handlers);
    const before = this.#current;
    this.#current = next;
    await before.close();
  }

  send(to: Endpoint, datagram: Uint8Array): void {
    this.#current.send(to, datagram);
  }

  exchange(
    to: Endpoint,
    frames: readonly Uint8Array[],
    deadlines: Deadlines,
    handler: ExchangeHandler,
  ): Exchange {
    return this.#current.exchange(to, frames, deadlines, handler);
  }

  async close(): Promise<void> {
    this.#handlers = undefined;
    await this.#current.close();
  }
}
