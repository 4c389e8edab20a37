/**
 * Frames in a TCP stream, each preceded by its length (32 bits, network byte order). A frame longer than
 * `MAX_FRAME_BYTES` ends the stream before any of it is kept.
 */
import { MAX_FRAME_BYTES } from './seal.ts';

const LENGTH_BYTES = 4;

/** `frames` as they are written to the stream. */
export function writeFrames(frames: readonly Uint8Array[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const frame of frames) {
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt32BE(frame.length);
    parts.push(length, frame);
  }
  return Buffer.concat(parts);
}

export class FrameReader {
  /** At most one incomplete frame and the chunk that was read last. */
  #pending: Buffer = Buffer.alloc(0);

  /** Calls `receive` for each complete frame until it returns false; false if a frame is too long. */
  read(chunk: Uint8Array, receive: (frame: Uint8Array) => boolean): boolean {
    this.#pending = this.#pending.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#pending, chunk]);
    while (this.#pending.length >= LENGTH_BYTES) {
      const length = this.#pending.readUInt32BE(0);
      if (length > MAX_FRAME_BYTES) return false;
      if (this.#pending.length < LENGTH_BYTES + length) break;
      const frame = this.#pending.subarray(LENGTH_BYTES, LENGTH_BYTES + length);
      this.#pending = this.#pending.subarray(LENGTH_BYTES + length);
      if (!receive(frame)) return true;
    }
    return true;
  }
}
