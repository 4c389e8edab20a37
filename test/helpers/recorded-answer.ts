/** A responder that keeps what a stream is answered with. */
import type { Deadlines } from '../../src/link/deadline.ts';
import type { InboundStream, Responder } from '../../src/link/transport.ts';

/** One that nobody answers. */
export const deafStream: InboundStream = { frame: () => {}, drained: () => {}, closed: () => {} };

export class RecordedAnswer implements Responder {
  readonly frames: Uint8Array[] = [];
  isEnded = false;
  isAborted = false;
  kept: Deadlines | undefined;
  /** What `write` returns. */
  hasRoom = true;

  proven(): boolean {
    return true;
  }

  write(frames: readonly Uint8Array[]): boolean {
    this.frames.push(...frames);
    return this.hasRoom;
  }

  end(frames: readonly Uint8Array[]): void {
    this.frames.push(...frames);
    this.isEnded = true;
  }

  abort(): void {
    this.isEnded = true;
    this.isAborted = true;
  }

  keep(deadlines: Deadlines): void {
    this.kept = deadlines;
  }
}
