/**
 * The one of WireGuard's messages that there are many of, and what tells the four apart (messages.ts has the others, and the
 * picture). Packet path threads load this and nothing of the handshake.
 */
import { TAG_BYTES } from './constants.ts';
import { DATA_HEADER_BYTES } from './form.ts';

export const MESSAGE = { initiation: 1, response: 2, cookieReply: 3, data: 4 } as const;
export type MessageType = (typeof MESSAGE)[keyof typeof MESSAGE];

export const DATA_COUNTER = 8;
/** Of a sign of life, whose packet is empty. */
export const MIN_DATA_BYTES = DATA_HEADER_BYTES + TAG_BYTES;
/** A packet is padded with zeros to a multiple of this before it is sealed. */
export const PADDING_BYTES = 16;

const TYPE = 0;
const RECEIVER = 4;
const WORD_SPAN = 0x1_0000_0000;

/** `counter` below 2^53. */
export function writeDataHeader(view: DataView, at: number, receiver: number, counter: number): void {
  view.setUint32(at + TYPE, MESSAGE.data, true);
  view.setUint32(at + RECEIVER, receiver, true);
  view.setUint32(at + DATA_COUNTER, counter >>> 0, true);
  view.setUint32(at + DATA_COUNTER + 4, Math.floor(counter / WORD_SPAN), true);
}

/** May be 2^53 or more, rounded, which no session ever reaches. */
export function dataCounter(view: DataView, at: number): number {
  return view.getUint32(at + DATA_COUNTER + 4, true) * WORD_SPAN + view.getUint32(at + DATA_COUNTER, true);
}
