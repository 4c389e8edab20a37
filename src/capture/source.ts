/** Where packets come from: this node, or another one. */

/** Some blocks of pcapng, in the order of their times, and up to when that is all there is. */
export interface CapturePart {
  /** Since the epoch. */
  readonly untilUs: number;
  readonly blocks: Uint8Array;
}

/** It ends by itself some time after its signal is aborted, with the last of what there is. */
export type CaptureStream = AsyncIterable<CapturePart>;

/** Each part as a whole answer to a request: 8 bytes of a float64 with `untilUs`, little-endian, then the blocks. */
const HEAD_BYTES = 8;

export function encodePart({ untilUs, blocks }: CapturePart): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES + blocks.length);
  new DataView(bytes.buffer).setFloat64(0, untilUs, true);
  bytes.set(blocks, HEAD_BYTES);
  return bytes;
}

/** What another node sent; one that is too short says nothing. */
export function decodePart(bytes: Uint8Array): CapturePart {
  if (bytes.length < HEAD_BYTES) return { untilUs: 0, blocks: new Uint8Array() };
  const untilUs = new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0, true);
  return { untilUs: Number.isFinite(untilUs) ? untilUs : 0, blocks: bytes.subarray(HEAD_BYTES) };
}
