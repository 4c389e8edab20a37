/** The link (link/link.ts), which moves bytes, as the protocol uses it: with messages of gossip.proto, checked. */
import type { Endpoint } from '../ip/endpoint.ts';
import { type GossipCounters, MESSAGE_COUNTER } from '../link/counters.ts';
import type { Link, Peer, Sender } from '../link/link.ts';
import type { ClusterKeyBytes } from '../link/seal.ts';
import type { Cancellable } from '../link/transport.ts';
import { decodeMessage, type Message } from './codec.ts';

/** The receiving end of another node's request. */
export interface MessageReader {
  message(message: Message): void;
  /** The request is complete. */
  end(): readonly Uint8Array[];
}

export interface MessageHandlers {
  datagram(sender: Sender, message: Message): void;
  stream(from: Endpoint): MessageReader;
}

export class Messenger {
  readonly #link: Link;
  readonly #counters: GossipCounters;
  readonly #decode: typeof decodeMessage;

  /** `decode`: the simulator has one that nodes share. */
  constructor(link: Link, counters: GossipCounters, decode: typeof decodeMessage = decodeMessage) {
    this.#link = link;
    this.#counters = counters;
    this.#decode = decode;
  }

  /** The room for packed messages in one datagram. */
  get datagramBytes(): number {
    return this.#link.datagramBytes;
  }

  open(handlers: MessageHandlers): Promise<void> {
    return this.#link.open({
      datagram: (sender, bytes) => this.#read(bytes, (message) => handlers.datagram(sender, message)),
      stream: (from) => {
        const reader = handlers.stream(from);
        return {
          message: (bytes) => this.#read(bytes, (message) => reader.message(message)),
          end: () => reader.end(),
        };
      },
    });
  }

  send(to: Peer, messages: readonly Uint8Array[], key?: ClusterKeyBytes): void {
    this.#link.send(to, messages, key);
  }

  /** Asks another node; see `Link.exchange`. */
  exchange(
    to: Peer,
    messages: readonly Uint8Array[],
    receive: (message: Message) => void,
    done: (error: Error | undefined) => void,
  ): Cancellable {
    return this.#link.exchange(to, messages, (bytes) => this.#read(bytes, receive), done);
  }

  /** Messages that break a bound are counted and skipped. */
  #read(bytes: Uint8Array, receive: (message: Message) => void): void {
    const decoded = this.#decode(bytes);
    if (decoded.ok) receive(decoded.value);
    else this.#counters.add(MESSAGE_COUNTER[decoded.reason]);
  }
}
