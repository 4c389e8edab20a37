/**
 * Messages to frames and back: sealing, replay protection, the frame order of streams, counting. Everything
 * above this file deals in checked messages from nodes that hold the cluster's key.
 */
import type { Endpoint } from '../ip/endpoint.ts';
import { formatEndpoint } from '../ip/endpoint.ts';
import { decodeMessage, type Message } from './codec.ts';
import { FRAME_COUNTER, type GossipCounters, MESSAGE_COUNTER } from './counters.ts';
import { pack, packGroups, unpack } from './packing.ts';
import { ReplayGuard } from './replay-guard.ts';
import {
  type ClusterKeyBytes,
  type FrameKind,
  type FrameRefusal,
  MAX_FRAME_BYTES,
  type RefusalCode,
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
  /** 8 random bytes, new for each run. */
  readonly session: Uint8Array;
  readonly counters: GossipCounters;
  /** The simulator has one that nodes share. */
  readonly decode?: typeof decodeMessage | undefined;
  readonly streamTimeoutMs: number;
  /** Whether a member runs under this session (hexadecimal) now. */
  readonly isCurrentSession: (session: string) => boolean;
  /** Something was thrown while a frame was handled. What others send must never end the agent. */
  readonly onBug: (error: unknown) => void;
}

/** The most that one side may send in a stream: the largest table, and some to spare. */
const MAX_STREAM_BYTES = 16 * 1024 * 1024;

export class Link {
  readonly #options: LinkOptions;
  readonly #replays = new ReplayGuard();
  readonly #streamReplays = new ReplayGuard();
  #handlers: LinkHandlers | undefined;
  #datagramNumber = 0;
  #exchangeNumber = 0;

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
    const header = {
      kind: 'datagram',
      last: true,
      session,
      receiver: this.#receiver(to),
      number: Math.floor(number / 0x1_0000_0000),
      index: number >>> 0,
    } as const;
    const frame = sealer.seal(header, pack(messages), key);
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
    this.#exchangeNumber = (this.#exchangeNumber + 1) >>> 0;
    const number = this.#exchangeNumber;
    const header = { kind: 'request', session, receiver: this.#receiver(to), number } as const;
    const frames = this.#sealStream(header, messages);
    counters.add('sentStreams');
    let index = 0;
    let streamBytes = 0;
    let failure: Error | undefined;
    const read = (bytes: Uint8Array): boolean => {
      counters.add('receivedStreamBytes', bytes.length);
      streamBytes += bytes.length;
      const opened = sealer.open(bytes);
      if (!opened.ok) {
        failure =
          opened.reason === 'refused'
            ? new PeerRefusedError(opened.code, hexText(opened.session))
            : new Error(`${formatEndpoint(to.gossip)} answered with something that is not ours`);
        if (opened.reason !== 'refused') counters.add(FRAME_COUNTER[opened.reason]);
        return true;
      }
      const { header, payload } = opened;
      const isNext =
        header.kind === 'response' &&
        header.number === number &&
        header.index === index++ &&
        Buffer.compare(header.session, session) === 0;
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
    let sender: Sender = { gossip: from, isAddressed: true, isCurrent: true, key: undefined };
    if (sealer.sealed) {
      const session = hexText(header.session);
      if (!this.#replays.accept(session, header.number * 0x1_0000_0000 + header.index)) {
        counters.add('refusedReplay');
        return;
      }
      const isAddressed = this.#isForUs(header);
      const isCurrent = isAddressed && this.#options.isCurrentSession(session);
      sender = { gossip: from, session, isAddressed, isCurrent, key: opened.key };
    }
    this.#readMessages(payload, (message) => this.#handlers?.datagram(sender, message));
  }

  #accept(from: Endpoint): InboundExchange {
    const { sealer, counters } = this.#options;
    const reader = this.#handlers?.stream(from);
    let expected: { session: Uint8Array; number: number; index: number } | undefined;
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
        if (!expected) {
          if (sealer.sealed && !this.#isForUs(header)) {
            counters.add('refusedSession');
            return [refusalFrame('session', this.#options.session)];
          }
          if (sealer.sealed && !this.#streamReplays.accept(hexText(header.session), header.number)) {
            counters.add('refusedReplay');
            return [refusalFrame('invalid')];
          }
          expected = { session: header.session, number: header.number, index: 0 };
        }
        const isNext =
          streamBytes <= MAX_STREAM_BYTES &&
          header.kind === 'request' &&
          header.number === expected.number &&
          header.index === expected.index++ &&
          Buffer.compare(header.session, expected.session) === 0;
        if (!isNext || !reader || !this.#readMessages(payload, (message) => reader.message(message))) {
          counters.add('refusedStream');
          return [refusalFrame('invalid')];
        }
        if (!header.last) return undefined;
        const { session, number } = header;
        return this.#sealStream({ kind: 'response', session, number }, reader.end(), opened.key);
      },
    };
  }

  /** Recorded frames are for another run, or for another node. */
  #isForUs({ receiver }: { readonly receiver?: Uint8Array | undefined }): boolean {
    return receiver !== undefined && Buffer.compare(receiver, this.#options.session) === 0;
  }

  #receiver({ session }: Peer): Uint8Array | undefined {
    return session !== undefined && this.#options.sealer.sealed ? Buffer.from(session, 'hex') : undefined;
  }

  #sealStream(
    header: {
      readonly kind: FrameKind;
      readonly session: Uint8Array;
      readonly receiver?: Uint8Array | undefined;
      readonly number: number;
    },
    messages: readonly Uint8Array[],
    key?: ClusterKeyBytes,
  ): Uint8Array[] {
    const { sealer, counters } = this.#options;
    const groups = packGroups(messages, MAX_FRAME_BYTES - sealer.overheadBytes);
    return groups.map((payload, index) => {
      const last = index === groups.length - 1;
      const frame = sealer.seal({ ...header, last, index }, payload, key);
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

function hexText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
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
