/** Bounds of calls. What is over them is refused; nothing is allocated for it. */

/** Nodes that are asked the same at the same time. */
export const ASKED_AT_ONCE = 16;
export const MAX_METHOD_CHARACTERS = 64;
export const MAX_BODY_BYTES = 1024 * 1024;
/** One part of an answer. */
export const MAX_PART_BYTES = 1024 * 1024;
/** Parts and pieces of one answer: fewer than a stream has frames (link/frame-order.ts). */
export const MAX_PIECES = 60_000;
export const DEFAULT_ANSWER_BYTES = 4 * 1024 * 1024;
export const DEFAULT_TIMEOUT_MS = 10_000;
export const MAX_TIMEOUT_MS = 3_600_000;
/** Bodies and parts travel in pieces of this. */
export const PIECE_BYTES = 32 * 1024;
/** Calls of this node that are under way. */
export const MAX_OUTBOUND_CALLS = 256;
/** Calls of others that are read or served here, in all and of one member. */
export const MAX_INBOUND_CALLS = 128;
export const MAX_INBOUND_CALLS_PER_CALLER = 16;
/** Parts of an answer that nobody has taken yet; then the other side is made to wait. */
export const MAX_UNTAKEN_BYTES = 256 * 1024;
/** For a call to arrive in full. */
export const ARRIVAL_MS = 10_000;
/** Texts of errors; longer ones are cut. */
export const MAX_MESSAGE_CHARACTERS = 1000;
