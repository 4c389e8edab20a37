/**
 * Requests and their answers over one netlink socket. The kernel answers within the send, so that a receive never
 * waits; whoever calls is blocked for as long as the kernel needs, the wait for its RTNL lock included.
 *
 * An answer is known by its sequence number. What is left of a conversation that failed half way is passed over.
 */
import { concat } from './attribute.ts';
import {
  NFNL_MSG_BATCH_BEGIN,
  NFNL_MSG_BATCH_END,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
} from './constants.ts';
import { malformed, NetlinkError } from './error.ts';
import type { Message, Request } from './message.ts';
import { type Acknowledgement, decodeAcknowledgement, decodeMessages, encodeMessage } from './message.ts';
import { batchEdge } from './nf-tables.ts';

/** A netlink socket. Each throws what the system call says. */
export interface NetlinkPort {
  send(datagram: Uint8Array): void;
  /** The next datagram, in memory of its own. Throws if none comes. */
  receive(): Uint8Array;
}

/** A request, and what it is for, as a phrase that an error can begin with. */
export interface Change {
  readonly doing: string;
  readonly request: Request;
}

const MAX_DUMP_BYTES = 256 * 1024 * 1024;
/** Dumps that were interrupted by changes; the last one is taken as it is. */
const MAX_DUMP_TRIES = 4;

export class NetlinkConversation {
  readonly #port: NetlinkPort;
  #sequence = 0;

  constructor(port: NetlinkPort) {
    this.#port = port;
  }

  /**
   * Sends all of `changes` at once. The kernel carries each of them out, also after one that it refused; throws
   * a NetlinkError for the first refused one.
   */
  change(changes: readonly Change[]): void {
    if (changes.length === 0) return;
    const first = this.#take(changes.length);
    const datagram = changes.map(({ request }, i) => encode(request, NLM_F_ACK, first + i));
    this.#port.send(concat(datagram));
    const answers = this.#acknowledgements(first, changes.length);
    throwFirst(changes, answers);
  }

  /** The one answer to `request`. Throws a NetlinkError. */
  ask({ request, doing }: Change): Message {
    const sequence = this.#take(1);
    this.#port.send(encode(request, 0, sequence));
    for (;;) {
      for (const message of decodeMessages(this.#port.receive())) {
        if (message.sequence !== sequence) continue;
        if (message.type !== NLMSG_ERROR) return message;
        const { errno, detail } = decodeAcknowledgement(message);
        if (errno === 0) throw malformed('a bare acknowledgement in place of an answer');
        throw new NetlinkError(errno, doing, detail);
      }
    }
  }

  /** All answers to `request`. Throws a NetlinkError. */
  dump(what: Change): Message[] {
    for (let i = 1; ; i++) {
      const { messages, interrupted } = this.#dumpOnce(what);
      if (!interrupted || i === MAX_DUMP_TRIES) return messages;
    }
  }

  /**
   * Carries out all of `changes` of nf_tables or, if it refuses one, none of them: throws a NetlinkError for the
   * first refused one.
   */
  transact(changes: readonly Change[]): void {
    if (changes.length === 0) return;
    const begin = this.#take(changes.length + 2);
    const first = begin + 1;
    this.#port.send(
      concat([
        encodeMessage(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, begin, batchEdge()),
        ...changes.map(({ request }, i) => encode(request, NLM_F_ACK, first + i)),
        encodeMessage(NFNL_MSG_BATCH_END, NLM_F_REQUEST, first + changes.length, batchEdge()),
      ]),
    );
    // A batch that is refused as a whole is answered for its beginning or its end alone.
    const answers = this.#acknowledgements(first, changes.length, [begin, first + changes.length]);
    throwFirst(changes, answers);
  }

  #take(count: number): number {
    const first = this.#sequence + 1;
    this.#sequence += count;
    // A number that comes round again is no matter: answers are awaited before the next request.
    if (this.#sequence > 0x7fff_0000) this.#sequence = 0;
    return first;
  }

  /** One for each of `count` requests from `first` on; a refusal with a number of `edges` stands for all. */
  #acknowledgements(first: number, count: number, edges: readonly number[] = []): Acknowledgement[] {
    const answers: Acknowledgement[] = [];
    let missing = count;
    while (missing > 0) {
      for (const message of decodeMessages(this.#port.receive())) {
        if (message.type !== NLMSG_ERROR) continue;
        const answer = decodeAcknowledgement(message);
        const index = message.sequence - first;
        if (edges.includes(message.sequence) && answer.errno !== 0) return [answer];
        if (index < 0 || index >= count || answers[index] !== undefined) continue;
        answers[index] = answer;
        missing--;
      }
    }
    return answers;
  }

  #dumpOnce({ request, doing }: Change): { messages: Message[]; interrupted: boolean } {
    const sequence = this.#take(1);
    this.#port.send(encode(request, NLM_F_DUMP, sequence));
    const messages: Message[] = [];
    let interrupted = false;
    let bytes = 0;
    for (;;) {
      const datagram = this.#port.receive();
      bytes += datagram.length;
      if (bytes > MAX_DUMP_BYTES) throw malformed(`${doing} gives more than ${MAX_DUMP_BYTES} bytes`);
      for (const message of decodeMessages(datagram)) {
        if (message.sequence !== sequence) continue;
        interrupted ||= (message.flags & NLM_F_DUMP_INTR) !== 0;
        if (message.type === NLMSG_DONE || message.type === NLMSG_ERROR) {
          // The result of a dump may be left out (before Linux 4.20).
          if (message.type === NLMSG_DONE && message.body.length < 4) return { messages, interrupted };
          const { errno, detail } = decodeAcknowledgement(message);
          if (errno > 0) throw new NetlinkError(errno, doing, detail);
          return { messages, interrupted };
        }
        messages.push(message);
      }
    }
  }
}

function encode({ type, flags, body }: Request, more: number, sequence: number): Uint8Array {
  return encodeMessage(type, NLM_F_REQUEST | flags | more, sequence, body);
}

function throwFirst(changes: readonly Change[], answers: readonly Acknowledgement[]): void {
  answers.forEach(({ errno, detail }, i) => {
    if (errno !== 0) throw new NetlinkError(errno, changes[i]!.doing, detail);
  });
}
