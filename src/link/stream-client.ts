/** The asking end of streams: requests of the gossip, which are answered at once, and calls, answered over time. */
import { type Endpoint, formatEndpoint } from '../ip/endpoint.ts';
import { FRAME_COUNTER } from './counters.ts';
import type { Deadlines } from './deadline.ts';
import { FrameOrder } from './frame-order.ts';
import { PeerRefusedError } from './peer-refused.ts';
import { receiverOf } from './seal.ts';
import { readMessages, type StreamContext, StreamWriter } from './stream-context.ts';
import type { Exchange, Transport } from './transport.ts';

/** Where to send, and the run of the agent there, if it is known: a member's record is one. */
export interface Peer {
  readonly gossip: Endpoint;
  /** Hexadecimal. */
  readonly session?: string | undefined;
}

/** What is sent, and what the frames that answer are. */
const ANSWERED_BY = { request: 'response', call: 'answer' } as const;

export interface StreamOptions {
  readonly kind: keyof typeof ANSWERED_BY;
  readonly deadlines: Deadlines;
  /** An answer with more bytes is refused. */
  readonly limitBytes: number;
}

/** `message` gets views that are valid during the call only. */
export interface StreamHandler {
  message(message: Uint8Array): void;
  /** Once; without an error if the answer was complete, with a PeerRefusedError where the other side refuses us. */
  done(error: Error | undefined): void;
}

export class StreamClient {
  readonly #context: StreamContext;
  readonly #transport: Transport;

  constructor(context: StreamContext, transport: Transport) {
    this.#context = context;
    this.#transport = transport;
  }

  open(
    to: Peer,
    messages: readonly Uint8Array[],
    { kind, deadlines, limitBytes }: StreamOptions,
    handler: StreamHandler,
  ): Exchange {
    const { sealer, sessions, counters, guarded } = this.#context;
    const { session: own, number } = sessions.next(kind);
    const session = own.id;
    const writer = new StreamWriter(this.#context, own, { kind, receiver: receiver(to), number });
    const frames = writer.seal(messages, true);
    counters.add('sentStreams');
    const order = new FrameOrder(ANSWERED_BY[kind]);
    let streamBytes = 0;
    let failure: Error | undefined;
    const read = (bytes: Uint8Array): boolean => {
      counters.add('receivedStreamBytes', bytes.length);
      streamBytes += bytes.length;
      const opened = sealer.open(bytes, { session, number });
      if (!opened.ok) {
        failure =
          opened.reason === 'refused'
            ? new PeerRefusedError(opened.code, opened.session)
            : new Error(`${formatEndpoint(to.gossip)} answered with something that is not ours`);
        if (opened.reason !== 'refused') counters.add(FRAME_COUNTER[opened.reason]);
        return true;
      }
      const { header, payload } = opened;
      const isNext = header.receiver === receiverOf(session) && order.isNext(header);
      if (!isNext || streamBytes > limitBytes || !readMessages(counters, payload, handler.message)) {
        counters.add('refusedStream');
        failure = new Error(`the answer of ${formatEndpoint(to.gossip)} makes no sense`);
        return true;
      }
      return header.last;
    };
    return this.#transport.exchange(to.gossip, frames, deadlines, {
      frame: (bytes) => {
        const ended = 'ended';
        const isLast = guarded(() => read(bytes), ended);
        if (isLast !== ended) return isLast;
        failure = new Error(`the answer of ${formatEndpoint(to.gossip)} could not be handled`);
        return true;
      },
      closed: (error) => guarded(() => handler.done(failure ?? error), undefined),
    });
  }
}

/** What a frame names as its receiver. */
export function receiver({ session }: Peer): number {
  return session === undefined ? 0 : receiverOf(session);
}
