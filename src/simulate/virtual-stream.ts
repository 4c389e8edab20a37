/**
 * A stream between two hosts of the virtual network. Nothing in it is lost or reordered; each packet that would have
 * been lost costs a retransmission. Data that a partition cuts off is lost.
 */
import type { Endpoint } from '../ip/endpoint.ts';
import { Deadline, type Deadlines } from '../link/deadline.ts';
import {
  type Exchange,
  type ExchangeHandler,
  type InboundStream,
  QUEUE_BYTES,
  type Responder,
} from '../link/transport.ts';
import type { VirtualHost } from './virtual-network.ts';

/** A stream survives loss; each lost packet costs it this much. */
const RETRANSMIT_MS = 200;

export class VirtualStream implements Exchange, Responder {
  readonly #from: VirtualHost;
  readonly #handler: ExchangeHandler;
  /** The agent that asks still runs. */
  readonly #isRunning: () => boolean;
  readonly #deadline: Deadline;
  #target: VirtualHost | undefined;
  #inbound: InboundStream | undefined;
  #keptDeadline: Deadline | undefined;
  /** The asking side is through with it. */
  #isOver: boolean;
  /** The answering side is. */
  #isEnded = false;
  #isPaused = false;
  /** A partition has swallowed a part of the answer. */
  #isCut = false;
  #answerAtMs = 0;
  /** Of the answer, on its way or not taken yet. */
  #queuedBytes = 0;
  #isFull = false;
  readonly #arrived: { readonly bytes: number; readonly take: () => void }[] = [];

  constructor(
    from: VirtualHost,
    to: Endpoint,
    frames: readonly Uint8Array[],
    deadlines: Deadlines,
    handler: ExchangeHandler,
    isRunning: () => boolean,
  ) {
    this.#from = from;
    this.#handler = handler;
    this.#isRunning = isRunning;
    this.#isOver = from.isDown;
    const { network } = from;
    for (const frame of frames) from.sentStreamBytes += frame.length;
    this.#deadline = new Deadline(from.clock, deadlines, () => this.#finish(coded('timed out', 'ETIMEDOUT')));
    network.clock.after(this.#delayMs(), () => {
      const target = network.find(to);
      if (!target || from.isDown || !network.reaches(from, target, 'stream')) return;
      target.run(() => this.#arrive(target, frames));
    });
  }

  // The asking side.

  cancel(): void {
    this.#leave();
  }

  pause(): void {
    this.#isPaused = true;
    this.#deadline.hold(true);
  }

  resume(): void {
    this.#isPaused = false;
    this.#deadline.hold(false);
    this.#take();
  }

  #finish(error: Error | undefined): void {
    if (this.#isOver) return;
    this.#leave();
    this.#handler.closed(error);
  }

  #leave(): void {
    this.#isOver = true;
    this.#deadline.cancel();
    if (this.#inbound && !this.#isEnded) this.#tellGone();
  }

  #take(): void {
    while (!this.#isPaused && !this.#isOver && this.#isRunning()) {
      const next = this.#arrived.shift();
      if (!next) return;
      this.#deadline.touch();
      this.#queuedBytes -= next.bytes;
      if (this.#isFull && this.#queuedBytes === 0) this.#tellDrained();
      next.take();
    }
  }

  #read(frames: readonly Uint8Array[], isEnd: boolean): void {
    for (const frame of frames) {
      if (this.#isOver) return;
      if (this.#handler.frame(frame)) {
        this.#finish(undefined);
        return;
      }
    }
    if (isEnd) this.#finish(coded('closed', 'ECONNRESET'));
  }

  // The answering side.

  #arrive(target: VirtualHost, frames: readonly Uint8Array[]): void {
    this.#target = target;
    const { handlers } = target;
    if (!handlers || handlers.origin?.(this.#from.endpoint.address) === 'outside') {
      this.#answer(0, () => this.#finish(coded('connection refused', 'ECONNREFUSED')));
      return;
    }
    target.streams.add(this);
    const inbound = handlers.accept(this.#from.endpoint, this);
    this.#inbound = inbound;
    for (const frame of frames) {
      if (this.#isEnded) return;
      inbound.frame(frame);
    }
    if (!this.#isEnded && this.#isOver) this.#tellGone();
  }

  proven(): boolean {
    return true;
  }

  write(frames: readonly Uint8Array[]): boolean {
    if (this.#isEnded) return false;
    if (this.#isFull) {
      this.#reset();
      return false;
    }
    const bytes = this.#count(frames);
    this.#queuedBytes += bytes;
    this.#isFull = this.#queuedBytes >= QUEUE_BYTES;
    this.#keptDeadline?.hold(!this.#isFull);
    this.#answer(bytes, () => this.#read(frames, false));
    return !this.#isFull;
  }

  end(frames: readonly Uint8Array[]): void {
    if (this.#isEnded) return;
    this.#endAnswer();
    this.#count(frames);
    this.#answer(0, () => this.#read(frames, true));
  }

  abort(): void {
    if (this.#isEnded) return;
    this.#endAnswer();
    this.#answer(0, () => this.#finish(coded('closed', 'ECONNRESET')));
  }

  keep(deadlines: Deadlines): void {
    if (this.#isEnded || !this.#target) return;
    this.#keptDeadline = new Deadline(this.#target.clock, deadlines, () => this.#reset());
    this.#keptDeadline.hold(true);
  }

  /** The answering agent ends, or its time is up. */
  reset(): void {
    this.#reset();
  }

  #reset(): void {
    if (this.#isEnded) return;
    if (this.#target?.isDown) this.#endAnswer();
    else this.abort();
    this.#inbound?.closed();
  }

  #endAnswer(): void {
    this.#isEnded = true;
    this.#keptDeadline?.cancel();
    this.#target?.streams.delete(this);
  }

  #count(frames: readonly Uint8Array[]): number {
    let bytes = 0;
    for (const frame of frames) bytes += frame.length;
    if (this.#target) this.#target.sentStreamBytes += bytes;
    return bytes;
  }

  #tellDrained(): void {
    const { network } = this.#from;
    network.clock.after(network.delayMs(), () => {
      this.#target?.run(() => {
        if (this.#isEnded) return;
        this.#isFull = false;
        this.#keptDeadline?.hold(true);
        this.#inbound?.drained();
      });
    });
  }

  #tellGone(): void {
    const { network } = this.#from;
    network.clock.after(network.delayMs(), () => {
      const target = this.#target;
      if (!target || this.#from.isDown || !network.reaches(this.#from, target, 'stream')) return;
      target.run(() => {
        if (this.#isEnded) return;
        this.#endAnswer();
        this.#inbound?.closed();
      });
    });
  }

  /** To the asking side, in order. */
  #answer(bytes: number, take: () => void): void {
    if (this.#target?.isDown) return;
    const { network } = this.#from;
    const nowMs = network.clock.now();
    this.#answerAtMs = Math.max(this.#answerAtMs, nowMs + this.#delayMs());
    network.clock.after(this.#answerAtMs - nowMs, () => {
      const target = this.#target;
      if (this.#isCut || (target && !network.reaches(target, this.#from, 'stream'))) {
        this.#isCut = true;
        return;
      }
      this.#arrived.push({ bytes, take });
      this.#from.run(() => this.#take());
    });
  }

  /** Connecting and sending, with a retransmission for every loss. */
  #delayMs(): number {
    const { network } = this.#from;
    let delayMs = network.delayMs() * 2;
    for (let retries = 0; retries < 8 && network.isLost(); retries++) delayMs += RETRANSMIT_MS;
    return delayMs;
  }
}

function coded(message: string, code: string): Error {
  return Object.assign(new Error(message), { code });
}
