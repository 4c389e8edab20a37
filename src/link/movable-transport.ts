/** A transport that can change its address while the protocol runs on it: the host got another one. */
import type { Endpoint } from '../ip/endpoint.ts';
import type { Deadlines } from './deadline.ts';
import type { Exchange, ExchangeHandler, Transport, TransportHandlers } from './transport.ts';

export interface PreparedMove {
  /** Sends from the new address from now on, and lets go of the old one; exchanges under way there fail. */
  commit(): Promise<void>;
  /** Lets go of the new address: as if nothing had been. */
  abort(): Promise<void>;
}

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
   * Binds the new address beside the old one, and hears from both until the move is finished either way. Rejects with
   * a WarrenError when it cannot be bound, and nothing has changed then.
   */
  async prepareMove(bind: Endpoint): Promise<PreparedMove> {
    const next = this.#make(bind);
    if (this.#handlers) await next.open(this.#handlers);
    return {
      commit: async () => {
        const before = this.#current;
        this.#current = next;
        await before.close();
      },
      abort: () => next.close(),
    };
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
