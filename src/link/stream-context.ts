/** What both ends of streams share (stream-client.ts, stream-server.ts). */
import type { GossipCounters } from './counters.ts';
import { FRAMES_PER_STREAM } from './frame-order.ts';
import { packGroups, unpack } from './packing.ts';
import {
  type ClusterKeyBytes,
  type FrameHeader,
  type FrameRequest,
  MAX_FRAME_BYTES,
  type Sealer,
} from './seal.ts';
import type { Session, Sessions } from './sessions.ts';

export interface StreamContext {
  readonly sealer: Sealer;
  readonly sessions: Sessions;
  readonly counters: GossipCounters;
  /** Runs what handles others' bytes: what is thrown is a bug, and ends nothing but the stream. */
  readonly guarded: <T, U>(work: () => T, otherwise: U) => T | U;
}

/** The most that one side of a request may send: the largest table, and some to spare. */
export const MAX_STREAM_BYTES = 16 * 1024 * 1024;

/** Seals one direction of a stream, frame after frame. */
export class StreamWriter {
  readonly #context: StreamContext;
  readonly #header: Omit<FrameHeader, 'last' | 'session'>;
  readonly #session: Session;
  #index = 0;

  /** `header.number` is the first frame's. */
  constructor(context: StreamContext, session: Session, header: Omit<FrameHeader, 'last' | 'session'>) {
    this.#context = context;
    this.#session = session;
    this.#header = header;
  }

  /** Nothing more may be sealed under its session: the stream cannot go on. */
  get isVoid(): boolean {
    this.#context.sessions.look();
    return this.#session.isVoid;
  }

  /** Frames that it has sealed so far. */
  get frames(): number {
    return this.#index;
  }

  /** Throws a RangeError when the direction would have more than `FRAMES_PER_STREAM`. */
  seal(
    messages: readonly Uint8Array[],
    isEnd: boolean,
    options?: { readonly key: ClusterKeyBytes | undefined; readonly request: FrameRequest },
  ): Uint8Array[] {
    const { sealer, counters } = this.#context;
    const groups = packGroups(messages, MAX_FRAME_BYTES - sealer.overheadBytes);
    if (this.#index + groups.length > FRAMES_PER_STREAM) throw new RangeError('too many frames in a stream');
    return groups.map((payload, at) => {
      const last = isEnd && at === groups.length - 1;
      const number = this.#header.number + this.#index++;
      const header = { ...this.#header, session: this.#session.id, last, number };
      const frame = sealer.seal(header, payload, options);
      counters.add('sentStreamBytes', frame.length);
      return frame;
    });
  }
}

/** Hands out the messages of a frame; false when it is cut short. They are views of `payload`. */
export function readMessages(
  counters: GossipCounters,
  payload: Uint8Array,
  receive: (message: Uint8Array) => void,
): boolean {
  const isWhole = unpack(payload, receive);
  if (!isWhole) counters.add('refusedMalformed');
  return isWhole;
}
