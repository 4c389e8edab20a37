/**
 * The accepting end of streams. A gossip request is answered as soon as it is complete; a call is handed to the handler
 * of calls (rpc/), which answers in as many frames as it needs and takes its time.
 */
import type { Endpoint } from '../ip/endpoint.ts';
import { FRAME_COUNTER } from './counters.ts';
import type { Deadlines } from './deadline.ts';
import { FRAMES_PER_STREAM, FrameOrder, isFirstFrame } from './frame-order.ts';
import { refusalCode } from './peer-refused.ts';
import { ReplayGuard } from './replay-guard.ts';
import {
  type ClusterKeyBytes,
  type FrameHeader,
  type RefusalCode,
  receiverOf,
  refusalFrame,
} from './seal.ts';
import { MAX_STREAM_BYTES, readMessages, type StreamContext, StreamWriter } from './stream-context.ts';
import type { InboundStream, Responder } from './transport.ts';

/** The receiving end of another node's request. Messages are views that are valid during the call only. */
export interface StreamReader {
  message(message: Uint8Array): void;
  /** The request is complete. */
  end(): readonly Uint8Array[];
}

/** The receiving end of a call. */
export interface CallReader {
  message(message: Uint8Array): void;
  /** The call is complete. */
  end(): void;
  /** There is room for more of the answer, after a `write` that returned false. */
  drained(): void;
  /** The caller has gone, or time is up; not called once the answer has ended. */
  closed(): void;
}

/** The answer to a call. After its end, and when the caller has gone, nothing happens. */
export interface Answer {
  /** False: the writer is to wait for `drained` (transport.ts). */
  write(messages: readonly Uint8Array[]): boolean;
  end(messages: readonly Uint8Array[]): void;
  /** Instead of an answer, in clear text: for what could not be read, or is for another run. */
  refuse(code: RefusalCode): void;
  keep(deadlines: Deadlines): void;
}

export type CallAcceptor = (from: Endpoint, answer: Answer) => CallReader;

export interface StreamServerHandlers {
  readonly stream: (from: Endpoint) => StreamReader | undefined;
  /** Undefined where calls are not served. */
  readonly call: () => CallAcceptor | undefined;
}

/** What a caller may send; rpc/ takes less. */
const MAX_CALL_BYTES = 2 * 1024 * 1024;
/** A writer that goes on after so many loses its stream; rpc/ ends earlier. The rest is for what one write holds. */
const MAX_ANSWER_FRAMES = FRAMES_PER_STREAM - 1024;

export class StreamServer {
  readonly #context: StreamContext;
  readonly #handlers: StreamServerHandlers;
  readonly #requestReplays = new ReplayGuard();
  readonly #callReplays = new ReplayGuard();

  constructor(context: StreamContext, handlers: StreamServerHandlers) {
    this.#context = context;
    this.#handlers = handlers;
  }

  accept(from: Endpoint, responder: Responder): InboundStream {
    const { counters, guarded } = this.#context;
    counters.add('receivedStreams');
    const stream = new ServedStream(this.#context, responder, (first) => this.#begin(first, from, responder));
    const take = (bytes: Uint8Array) => {
      stream.frame(bytes);
      return true;
    };
    return {
      frame: (bytes) => {
        if (guarded(() => take(bytes), false)) return;
        responder.end([refusalFrame('invalid')]);
        guarded(() => stream.closed(), undefined);
      },
      drained: () => guarded(() => stream.drained(), undefined),
      closed: () => guarded(() => stream.closed(), undefined),
    };
  }

  /** Judges a stream by its first frame. */
  #begin(
    first: FrameHeader,
    from: Endpoint,
    responder: Responder,
  ): Begun | { readonly refusal: RefusalCode } {
    const { sealer, sessions, counters } = this.#context;
    sessions.look();
    const refused = (counter: 'refusedStream' | 'refusedSession' | 'refusedReplay', refusal: RefusalCode) => {
      counters.add(counter);
      return { refusal };
    };
    const { kind } = first;
    if ((kind !== 'request' && kind !== 'call') || !isFirstFrame(first)) {
      return refused('refusedStream', 'invalid');
    }
    // Recorded frames are for another run, or for another node.
    if (sealer.sealed && !sessions.isReceiver(first.receiver)) return refused('refusedSession', 'session');
    const number = first.number / FRAMES_PER_STREAM;
    const replays = kind === 'call' ? this.#callReplays : this.#requestReplays;
    if (sealer.sealed && !replays.accept(first.session, number)) {
      return refused('refusedReplay', kind === 'call' ? 'replayed' : 'invalid');
    }
    const answerKind = kind === 'call' ? 'answer' : 'response';
    const answer = () => {
      const { session, number } = sessions.next(answerKind);
      const header = { kind: answerKind, receiver: receiverOf(first.session), number } as const;
      return new StreamWriter(this.#context, session, header);
    };
    if (kind === 'request') {
      const reader = this.#handlers.stream(from);
      if (!reader) return refused('refusedStream', 'invalid');
      return {
        maxBytes: MAX_STREAM_BYTES,
        message: (bytes) => reader.message(bytes),
        end: (key) => responder.end(answer().seal(reader.end(), true, { key, request: first })),
        drained: () => {},
        closed: () => {},
      };
    }
    const accept = this.#handlers.call();
    if (!accept) return refused('refusedStream', 'invalid');
    let keyOfCall: ClusterKeyBytes | undefined;
    let writer: StreamWriter | undefined;
    const sealed = (messages: readonly Uint8Array[], isEnd: boolean) => {
      writer ??= answer();
      return writer.seal(messages, isEnd, { key: keyOfCall, request: first });
    };
    const isOver = () => writer !== undefined && (writer.frames >= MAX_ANSWER_FRAMES || writer.isVoid);
    const reader = accept(from, {
      write: (messages) => {
        if (isOver()) {
          responder.abort();
          reader.closed();
          return false;
        }
        return responder.write(sealed(messages, false));
      },
      end: (messages) => {
        if (writer?.isVoid) responder.abort();
        else responder.end(sealed(messages, true));
      },
      refuse: (code) => {
        counters.add('refusedStream');
        responder.end([code === 'session' ? refusalFrame(code, sessions.id) : refusalFrame(code)]);
      },
      keep: (deadlines) => responder.keep(deadlines),
    });
    return {
      maxBytes: MAX_CALL_BYTES,
      message: (bytes) => reader.message(bytes),
      end: (key) => {
        keyOfCall = key;
        reader.end();
      },
      drained: () => reader.drained(),
      closed: () => reader.closed(),
    };
  }
}

/** A stream whose first frame was accepted. */
interface Begun {
  readonly maxBytes: number;
  message(bytes: Uint8Array): void;
  /** The last frame has come; `key` is the one it was sealed with. */
  end(key: ClusterKeyBytes | undefined): void;
  drained(): void;
  closed(): void;
}

class ServedStream implements InboundStream {
  readonly #context: StreamContext;
  readonly #responder: Responder;
  readonly #begin: (first: FrameHeader) => Begun | { readonly refusal: RefusalCode };
  #order: FrameOrder | undefined;
  #begun: Begun | undefined;
  #streamBytes = 0;
  #isComplete = false;

  constructor(
    context: StreamContext,
    responder: Responder,
    begin: (first: FrameHeader) => Begun | { readonly refusal: RefusalCode },
  ) {
    this.#context = context;
    this.#responder = responder;
    this.#begin = begin;
  }

  frame(bytes: Uint8Array): void {
    const { sealer, counters } = this.#context;
    counters.add('receivedStreamBytes', bytes.length);
    this.#streamBytes += bytes.length;
    const opened = sealer.open(bytes);
    if (!opened.ok) {
      if (opened.reason === 'refused') {
        this.#end([]);
        return;
      }
      counters.add(FRAME_COUNTER[opened.reason]);
      this.#end([refusalFrame(refusalCode(opened.reason))]);
      return;
    }
    const { header, payload } = opened;
    if (!this.#begun) {
      const begun = this.#begin(header);
      if ('refusal' in begun) {
        const { refusal } = begun;
        this.#end([
          refusal === 'session' ? refusalFrame(refusal, this.#context.sessions.id) : refusalFrame(refusal),
        ]);
        return;
      }
      this.#begun = begun;
      this.#order = new FrameOrder(header.kind);
      if (!this.#responder.proven()) {
        this.#end([refusalFrame('busy')]);
        return;
      }
    }
    const begun = this.#begun;
    const isNext = !this.#isComplete && this.#streamBytes <= begun.maxBytes && this.#order?.isNext(header);
    if (!isNext || !readMessages(counters, payload, begun.message)) {
      counters.add('refusedStream');
      this.#end([refusalFrame('invalid')]);
      return;
    }
    if (!header.last) return;
    this.#isComplete = true;
    begun.end(opened.key);
  }

  drained(): void {
    this.#begun?.drained();
  }

  closed(): void {
    this.#begun?.closed();
  }

  /** Of a stream that is not as it should be. */
  #end(frames: readonly Uint8Array[]): void {
    this.#responder.end(frames);
    this.#begun?.closed();
    this.#begun = undefined;
  }
}
