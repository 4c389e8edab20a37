/**
 * The port between the protocol and a network. The real one is UDP and TCP (udp-tcp-transport.ts); tests and
 * the simulator have one in memory. It moves frames and knows nothing of what is in them.
 *
 * Callbacks, not promises: the protocol reacts within one turn of the event loop, and a simulated cluster
 * runs without waiting for microtasks.
 */
import type { IpAddress } from '../ip/address.ts';
import type { Endpoint } from '../ip/endpoint.ts';
import type { Deadlines } from './deadline.ts';
import type { Origin } from './stream-admission.ts';

/** A datagram larger than this may be cut in pieces on the underlay: 1500 less IPv6 and UDP, with some room. */
export const MAX_DATAGRAM_BYTES = 1400;
/** When so much of an answer waits to be sent, its writer is told to wait. */
export const QUEUE_BYTES = 256 * 1024;

export interface Transport {
  /** Binds and begins to call `handlers`. Rejects with a WarrenError when the address cannot be bound. */
  open(handlers: TransportHandlers): Promise<void>;
  /** Best effort, at most `MAX_DATAGRAM_BYTES`. The bytes are the transport's from now on. */
  send(to: Endpoint, datagram: Uint8Array): void;
  /**
   * Opens a stream, sends `frames` and hands what comes back to `handler`, whose `closed` is called exactly
   * once, never before `exchange` has returned.
   */
  exchange(
    to: Endpoint,
    frames: readonly Uint8Array[],
    deadlines: Deadlines,
    handler: ExchangeHandler,
  ): Exchange;
  /** Ends everything; no handler is called afterwards, except `closed` of streams under way. */
  close(): Promise<void>;
}

export interface TransportHandlers {
  /** `bytes` are valid during the call only. */
  datagram(from: Endpoint, bytes: Uint8Array): void;
  /** Another node opened a stream; `responder` answers it. */
  accept(from: Endpoint, responder: Responder): InboundStream;
  /** Whose address that is; asked before anything of a stream is looked at. Absent: all are strangers. */
  origin?(address: IpAddress): Origin;
}

/** What the accepting side is told of a stream. Nothing more is called once it was ended or aborted. */
export interface InboundStream {
  /** `bytes` are valid during the call only. */
  frame(bytes: Uint8Array): void;
  /** There is room again, after a `write` that returned false. */
  drained(): void;
  /** The other side has gone, or time is up. At most once. */
  closed(): void;
}

/** How the accepting side answers: at once or over time. Calls after the end do nothing. */
export interface Responder {
  /**
   * The other side has shown that it has the cluster's key: until then a stream is cut soon (stream-admission.ts).
   * False: there are too many already; the stream is to be refused as `busy`.
   */
  proven(): boolean;
  /**
   * Sends frames of the answer. False: `QUEUE_BYTES` or more wait to be sent, and the next write is to wait for
   * `drained`. One that does not wait loses the stream, so that the queue stays bounded.
   */
  write(frames: readonly Uint8Array[]): boolean;
  /** Sends the last frames, however many, and ends the stream when they are out. */
  end(frames: readonly Uint8Array[]): void;
  /** Ends the stream at once; what still waits to be sent is lost. */
  abort(): void;
  /**
   * The stream may take as long as this from now on. It no longer counts among those that wait for an answer, of
   * which a transport has a bounded number: who keeps streams bounds them.
   */
  keep(deadlines: Deadlines): void;
}

export interface ExchangeHandler {
  /** Takes the next frame of the answer; true when it was the last. */
  frame(bytes: Uint8Array): boolean;
  /** The exchange is over: without an error if `frame` returned true. */
  closed(error: Error | undefined): void;
}

export interface Cancellable {
  /** Ends the exchange; `closed` is not called. */
  cancel(): void;
}

export interface Exchange extends Cancellable {
  /** Reads no more for the time being, but for what has come already: 128 KiB at most. */
  pause(): void;
  resume(): void;
}
