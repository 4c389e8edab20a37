/**
 * Where an encloser puts datagrams that leave as one piece of memory, one behind the other, so that those of a message need one
 * iovec. They are numbered from 0 on, and again after each flush.
 */
import {
  MAX_DATAGRAMS,
  MAX_HEADER_BYTES,
  MAX_MESSAGES,
  type OutboundArena,
} from '../datapath/outbound-arena.ts';
import { Arena } from '../sys/arena.ts';
import { IOVEC, MSGHDR } from '../sys/structs.ts';

/** All packets that were read, and for each datagram its own headers, padding and trailer. */
const OUTPUT_BYTES = 4 * 65_536 + MAX_DATAGRAMS * (MAX_HEADER_BYTES + 64);

export class ContiguousOutput {
  readonly memory = new Arena(OUTPUT_BYTES);
  readonly #messages: OutboundArena;
  readonly #iovecs = new Arena(MAX_MESSAGES * IOVEC.bytes);
  /** Where each datagram begins; one more, where the last one ends. */
  readonly #at = new Int32Array(MAX_DATAGRAMS + 1);

  /** `messages`: what is sent from there. */
  constructor(messages: OutboundArena) {
    this.#messages = messages;
  }

  /** Makes room for datagram `number` behind the one before it; returns where it begins. */
  place(number: number, bytes: number): number {
    const at = this.#at[number]!;
    this.#at[number + 1] = at + bytes;
    return at;
  }

  at(number: number): number {
    return this.#at[number]!;
  }

  /** Makes `message` carry `size` datagrams from `first` on. */
  gather(message: number, first: number, size: number): void {
    const iovec = message * IOVEC.bytes;
    const at = this.#at[first]!;
    this.#iovecs.setWord(iovec + IOVEC.base, this.memory.address(at));
    this.#iovecs.setWord(iovec + IOVEC.length, this.#at[first + size]! - at);
    const { arena, view } = this.#messages;
    const header = this.#messages.message(message);
    arena.setWord(header + MSGHDR.iov, this.#iovecs.address(iovec));
    view.setUint32(header + MSGHDR.iovCount, 1, true);
  }
}
