/**
 * Messages to frames and back: sealing, replay protection, the frame order of streams, counting. Everything
 * above this file deals in checked messages from nodes that hold the cluster's key.
 */
import type { Endpoint } from '../ip/endpoint.ts';
import { formatEndpoint } from '../ip/endpoint.ts';
import { decodeMessage, type Message } from '../membership/codec.ts';
import { FRAME_COUNTER, type GossipCounters, MESSAGE_COUNTER } from './counters.ts';
import { pack, packGroups, unpack } from './packing.ts';
import { ReplayGuard } from './replay-guard.ts';
import {
  type ClusterKeyBytes,
  type FrameHeader,
  type FrameRefusal,
  type FrameRequest,
  MAX_FRAME_BYTES,
  type RefusalCode,
  receiverOf,
  refusalFrame,
  type Sealer,
} from './seal.ts';
import { type Exchange, type InboundExchange, MAX_DATAGRAM_BYTES, type Transport } from './transport.ts';

/** The other side answered, and does not talk to us. */
export class PeerRefusedError extends Error {
  readonly code: RefusalCode;
  /** Of the node that refused, where the code is `session`. */
  readonly session: string;
  constructor(code: RefusalCode, session: string) {
    super(REFUSAL_TEXT[code]);
    this.code = code;
    this.session = session;
  }
}

const REFUSAL_TEXT: Record<RefusalCode, string> = {
  key: 'refused us: its cluster key or cluster name differs from ours',
  clear: 'refused us: it has a cluster key, and this node has none (cluster.keyFile)',
  sealed: 'refused us: it has no cluster key, and this node has one (cluster.keyFile)',
  cluster: 'refused us: it belongs to a cluster of another name (cluster.name)',
  version: 'refused us: it speaks another version of the gossip protocol',
  busy: 'refused us: it serves too many streams at the moment',
  invalid: 'refused us: it could not read what this node sent',
  session: 'refused us: it restarted at this very moment',
};

/** The receiving end of another node's request. */
export interface StreamReader {
  message(message: Message): void;
  /** The request is complete. */
  end(): readonly Uint8Array[];
}

/** Where to send, and the run of the agent there, if it is known: a member's record is one. */
export interface Peer {
  readonly gossip: Endpoint;
  /** Hexadecimal. */
  readonly session?: string | undefined;
}

/** Whom a datagram came from: a peer to answer to. */
export interface Sender extends Peer {
  /** The member that runs under the session now; undefined where this node knows of none. */
  readonly id: string | undefined;
  /** It was sent to this very run of this agent. What was not may have been recorded long ago. */
  readonly isAddressed: boolean;
  /** And it comes from the present run of a member that this node knows. */
  readonly isCurrent: boolean;
  /** The key it was sealed with: what the sender is sure to have. */
  readonly key: ClusterKeyBytes | undefined;
}

export interface LinkHandlers {
  datagram(sender: Sender, message: Message): void;
  stream(from: Endpoint): StreamReader;
}

export interface LinkOptions {
  readonly transport: Transport;
  readonly sealer: Sealer;
  /** Of this run of the agent (seal.ts). */
  readonly session: string;
  readonly counters: GossipCounters;
  /** The simulator has one that nodes share. */
  readonly decode?: typeof decodeMessage | undefined;
  readonly streamTimeoutMs: number;
  /** The id of the member that runs under this session now. */
  readonly memberOf: (session: string) => string | undefined;
  /** Something was thrown while a frame was handled. What others send must never end the agent. */
  readonly onBug: (error: unknown) => void;
}

/** The most that one side may send in a stream: the largest table, and some to spare. */
const MAX_STREAM_BYTES = 16 * 1024 * 1024;
/** Numbers of a stream's frames are this far from those of the next stream; their sizes allow no more. */
const FRAMES_PER_STREAM = 0x1_0000;

export class Link {
  readonly #options: LinkOptions;
  readonly #replays = new ReplayGuard();
  readonly #streamReplays = new ReplayGuard();
  #handlers: LinkHandlers | undefined;
  #datagramNumber = 0;
  #requestNumber = 0;
  #responseNumber = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  /** The room for packed messages in one datagram. */
  get datagramBytes(): number {
    return MAX_DATAGRAM_BYTES - this.#options.sealer.overheadBytes;
  }

  async open(handlers: LinkHandlers): Promise<void> {
    this.#handlers = handlers;
    await this.#options.transport.open({
      datagram: (from, bytes) => {
        this.#guarded(() => this.#receiveDatagram(from, bytes), undefined);
      },
      accept: (from) => {
        const inbound = this.#accept(from);
        return { frame: (bytes) => this.#guarded(() => inbound.frame(bytes), [refusalFrame('invalid')]) };
      },
    });
  }

  close(): Promise<void> {
    this.#handlers = undefined;
    return this.#options.transport.close();
  }

  /**
   * `messages` together fit `datagramBytes`; each costs `LENGTH_BYTES` besides its own. Sealed under the primary
   * key, or under `key`.
   */
  send(to: Peer, messages: readonly Uint8Array[], key?: ClusterKeyBytes): void {
    const { transport, sealer, session, counters } = this.#options;
    const number = ++this.#datagramNumber;
    const header = { kind: 'datagram', last: true, session, receiver: receiver(to), number } as const;
    const frame = sealer.seal(header, pack(messages), { key });
    counters.add('sentDatagrams');
    counters.add('sentBytes', frame.length);
    transport.send(to.gossip, frame);
  }

  /**
   * Sends `messages` in a stream and hands over the answer message by message. `done` is called once, with
   * an error (a PeerRefusedError where the other side refuses us) unless the answer was complete. A node whose
   * run is not known, or another by now, says which it is, and is asked again.
   */
  exchange(
    to: Peer,
    messages: readonly Uint8Array[],
    receive: (message: Message) => void,
    done: (error: Error | undefined) => void,
  ): Exchange {
    let current = this.#attempt(to, messages, receive, (error) => {
      if (!(error instanceof PeerRefusedError) || error.code !== 'session') done(error);
      else current = this.#attempt({ ...to, session: error.session }, messages, receive, done);
    });
    return { cancel: () => current.cancel() };
  }

  #attempt(
    to: Peer,
    messages: readonly Uint8Array[],
    receive: (message: Message) => void,
    done: (error: Error | undefined) => void,
  ): Exchange {
    const { transport, sealer, session, counters, streamTimeoutMs } = this.#options;
    const number = ++this.#requestNumber * FRAMES_PER_STREAM;
    const frames = this.#sealStream({ kind: 'request', session, receiver: receiver(to), number }, messages);
    counters.add('sentStreams');
    const order = new FrameOrder('response');
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
      if (!isNext || streamBytes > MAX_STREAM_BYTES || !this.#readMessages(payload, receive)) {
        counters.add('refusedStream');
        failure = new Error(`the answer of ${formatEndpoint(to.gossip)} makes no sense`);
        return true;
      }
      return header.last;
    };
    return transport.exchange(to.gossip, frames, streamTimeoutMs, {
      frame: (bytes) => {
        const ended = 'ended';
        const isLast = this.#guarded(() => read(bytes), ended);
        if (isLast !== ended) return isLast;
        failure = new Error(`the answer of ${formatEndpoint(to.gossip)} could not be handled`);
        return true;
      },
      closed: (error) => this.#guarded(() => done(failure ?? error), undefined),
    });
  }

  #guarded<T, U>(work: () => T, otherwise: U): T | U {
    try {
      return work();
    } catch (error) {
      this.#options.counters.add('bugs');
      this.#options.onBug(error);
      return otherwise;
    }
  }

  #receiveDatagram(from: Endpoint, bytes: Uint8Array): void {
    const { sealer, counters } = this.#options;
    counters.add('receivedDatagrams');
    counters.add('receivedBytes', bytes.length);
    const opened = sealer.open(bytes);
    if (!opened.ok) {
      counters.add(opened.reason === 'refused' ? 'refusedKind' : FRAME_COUNTER[opened.reason]);
      return;
    }
    const { header, payload } = opened;
    if (header.kind !== 'datagram') {
      counters.add('refusedKind');
      return;
    }
    // In clear text anyone can make up sessions and numbers; refusing repetitions would protect nothing.
    const { session, number } = header;
    if (sealer.sealed && !this.#replays.accept(session, number)) {
      counters.add('refusedReplay');
      return;
    }
    const id = this.#options.memberOf(session);
    const isAddressed = !sealer.sealed || this.#isForUs(header);
    const isCurrent = !sealer.sealed || (isAddressed && id !== undefined);
    const sender: Sender = { gossip: from, session, id, isAddressed, isCurrent, key: opened.key };
    this.#readMessages(payload, (message) => this.#handlers?.datagram(sender, message));
  }

  #accept(from: Endpoint): InboundExchange {
    const { sealer, counters } = this.#options;
    const reader = this.#handlers?.stream(from);
    const order = new FrameOrder('request');
    let request: FrameRequest | undefined;
    let streamBytes = 0;
    counters.add('receivedStreams');
    return {
      frame: (bytes) => {
        counters.add('receivedStreamBytes', bytes.length);
        streamBytes += bytes.length;
        const opened = sealer.open(bytes);
        if (!opened.ok) {
          if (opened.reason === 'refused') return [];
          counters.add(FRAME_COUNTER[opened.reason]);
          return [refusalFrame(refusalCode(opened.reason))];
        }
        const { header, payload } = opened;
        if (!request) {
          if (sealer.sealed && !this.#isForUs(header)) {
            counters.add('refusedSession');
            return [refusalFrame('session', this.#options.session)];
          }
          if (
            sealer.sealed &&
            !this.#streamReplays.accept(header.session, header.number / FRAMES_PER_STREAM)
          ) {
            counters.add('refusedReplay');
            return [refusalFrame('invalid')];
          }
          request = header;
        }
        const isNext = streamBytes <= MAX_STREAM_BYTES && order.isNext(header);
        if (!isNext || !reader || !this.#readMessages(payload, (message) => reader.message(message))) {
          counters.add('refusedStream');
          return [refusalFrame('invalid')];
        }
        if (!header.last) return undefined;
        const response = {
          kind: 'response',
          session: this.#options.session,
          receiver: receiverOf(request.session),
          number: ++this.#responseNumber * FRAMES_PER_STREAM,
        } as const;
        return this.#sealStream(response, reader.end(), { key: opened.key, request });
      },
    };
  }

  /** Recorded frames are for another run, or for another node. */
  #isForUs(header: FrameHeader): boolean {
    return header.receiver === receiverOf(this.#options.session);
  }

  /** `header.number` is the first frame's. */
  #sealStream(
    header: Omit<FrameHeader, 'last'>,
    messages: readonly Uint8Array[],
    options?: { readonly key: ClusterKeyBytes | undefined; readonly request: FrameRequest },
  ): Uint8Array[] {
    const { sealer, counters } = this.#options;
    const groups = packGroups(messages, MAX_FRAME_BYTES - sealer.overheadBytes);
    return groups.map((payload, index) => {
      const last = index === groups.length - 1;
      const frame = sealer.seal({ ...header, last, number: header.number + index }, payload, options);
      counters.add('sentStreamBytes', frame.length);
      return frame;
    });
  }

  /** False when the payload is cut short; messages that break a bound are counted and skipped. */
  #readMessages(payload: Uint8Array, receive: (message: Message) => void): boolean {
    const { counters, decode = decodeMessage } = this.#options;
    const isWhole = unpack(payload, (bytes) => {
      const decoded = decode(bytes);
      if (decoded.ok) receive(decoded.value);
      else counters.add(MESSAGE_COUNTER[decoded.reason]);
    });
    if (!isWhole) counters.add('refusedMalformed');
    return isWhole;
  }
}

/** Frames of one direction of a stream: all of one session, numbered one after the other. */
class FrameOrder {
  readonly #kind: FrameHeader['kind'];
  #session: string | undefined;
  #number = 0;

  constructor(kind: FrameHeader['kind']) {
    this.#kind = kind;
  }

  isNext({ kind, session, number }: FrameHeader): boolean {
    if (kind !== this.#kind) return false;
    if (this.#session === undefined) {
      this.#session = session;
      this.#number = number;
      return number % FRAMES_PER_STREAM === 0;
    }
    return session === this.#session && number === ++this.#number;
  }
}

function receiver({ session }: Peer): number {
  return session === undefined ? 0 : receiverOf(session);
}

function refusalCode(reason: FrameRefusal): RefusalCode {
  switch (reason) {
    case 'key':
    case 'clear':
    case 'sealed':
    case 'cluster':
    case 'version':
      return reason;
    default:
      return 'invalid';
  }
}
