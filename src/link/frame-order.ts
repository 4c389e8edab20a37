/** Frames of one direction of a stream: all of one session and kind, numbered one after the other. */
import type { FrameHeader } from './seal.ts';

/** Numbers of a stream's frames are this far from those of the next stream: a direction has no more frames. */
export const FRAMES_PER_STREAM = 0x1_0000;

/** Whether a stream may begin with this frame. */
export function isFirstFrame({ number }: FrameHeader): boolean {
  return number % FRAMES_PER_STREAM === 0;
}

export class FrameOrder {
  readonly #kind: FrameHeader['kind'];
  #session: string | undefined;
  #number = 0;

  constructor(kind: FrameHeader['kind']) {
    this.#kind = kind;
  }

  isNext(header: FrameHeader): boolean {
    const { kind, session, number } = header;
    if (kind !== this.#kind) return false;
    if (this.#session === undefined) {
      this.#session = session;
      this.#number = number;
      return isFirstFrame(header);
    }
    return session === this.#session && number === ++this.#number && !isFirstFrame(header);
  }
}
