/** A stream that another node has opened, on a TCP socket: frames in, an answer out, at once or over time. */
import type { Socket } from 'node:net';
import { realClock } from '../clock.ts';
import { Deadline, type Deadlines } from './deadline.ts';
import { FrameReader, writeFrames } from './frame-stream.ts';
import { type Place, PROOF_MS } from './stream-admission.ts';
import { type InboundStream, QUEUE_BYTES, type Responder } from './transport.ts';

/** A peer whose host has died is noticed after this and a few retries of the kernel. */
const KEEP_ALIVE_MS = 15_000;

export class TcpStream implements Responder {
  readonly #socket: Socket;
  readonly #deadlines: Deadlines;
  readonly #place: Place;
  #deadline: Deadline;
  #inbound: InboundStream | undefined;
  #isEnded = false;
  #isKept = false;
  #isProven = false;

  /** Owns the socket and its place from now on. `deadlines` run from when the other side has proven itself. */
  constructor(socket: Socket, deadlines: Deadlines, place: Place) {
    this.#socket = socket;
    this.#deadlines = deadlines;
    this.#place = place;
    this.#deadline = new Deadline(realClock, { idleMs: PROOF_MS, totalMs: PROOF_MS }, () => socket.destroy());
    socket.on('close', () => {
      this.#deadline.cancel();
      this.#place.release();
      const inbound = this.#isEnded ? undefined : this.#inbound;
      this.#isEnded = true;
      inbound?.closed();
    });
    // Always comes after a write that returned false here: Node's own mark is lower than `QUEUE_BYTES`.
    socket.on('drain', () => {
      if (!this.#isEnded) this.#inbound?.drained();
    });
    // The other side has nothing to say after its question, and closes when it no longer wants the answer.
    socket.on('end', () => {
      if (!this.#isEnded) socket.destroy();
    });
  }

  /** Begins to read. */
  serve(inbound: InboundStream): void {
    this.#inbound = inbound;
    const reader = new FrameReader();
    this.#socket.on('data', (chunk) => {
      if (this.#isEnded) return;
      if (!this.#isKept) this.#deadline.touch();
      const fits = reader.read(chunk, (frame) => {
        inbound.frame(frame);
        return !this.#isEnded;
      });
      if (!fits) this.#socket.destroy();
    });
  }

  proven(): boolean {
    if (this.#isEnded || this.#isProven) return true;
    if (!this.#place.proven()) return false;
    this.#isProven = true;
    this.#setDeadline(this.#deadlines);
    return true;
  }

  write(frames: readonly Uint8Array[]): boolean {
    const socket = this.#socket;
    if (this.#isEnded || socket.destroyed) return false;
    if (socket.writableLength >= QUEUE_BYTES) {
      socket.destroy();
      return false;
    }
    // A stream is idle if its peer reads nothing of what waits to be sent. Waiting for an answer does not count.
    if (socket.writableLength === 0) this.#deadline.hold(false);
    socket.write(writeFrames(frames), () => this.#deadline.hold(socket.writableLength === 0));
    return socket.writableLength < QUEUE_BYTES;
  }

  end(frames: readonly Uint8Array[]): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#deadline.hold(false);
    this.#socket.end(writeFrames(frames));
  }

  abort(): void {
    this.#isEnded = true;
    this.#socket.destroy();
  }

  keep(deadlines: Deadlines): void {
    if (this.#isEnded) return;
    this.#isKept = true;
    this.#setDeadline(deadlines);
    this.#deadline.hold(true);
    this.#socket.setKeepAlive(true, KEEP_ALIVE_MS);
    this.#place.release();
  }

  #setDeadline(deadlines: Deadlines): void {
    this.#deadline.cancel();
    this.#deadline = new Deadline(realClock, deadlines, () => this.#socket.destroy());
  }
}
