/**
 * Times and numbers of WireGuard's paper, section 6.1. They are part of the protocol: both ends count on them.
 *
 * Its numbers of messages are larger (2^60, and 2^64 - 2^13 - 1). Ours are what JavaScript's numbers count exactly. At 100
 * million datagrams a second it takes 520 days to get to the smaller one, and keys are replaced after two minutes.
 */
export const REKEY_AFTER_MESSAGES = 2 ** 52;
export const REJECT_AFTER_MESSAGES = 2 ** 53 - 2 ** 13;

export const REKEY_AFTER_TIME_MS = 120_000;
export const REJECT_AFTER_TIME_MS = 180_000;
export const REKEY_ATTEMPT_TIME_MS = 90_000;
export const REKEY_TIMEOUT_MS = 5_000;
/** Added to REKEY_TIMEOUT_MS at random, so that two sides do not begin at the same time again and again. */
export const REKEY_JITTER_MS = 334;
export const KEEPALIVE_TIMEOUT_MS = 10_000;

/** Of X25519 and ChaCha20-Poly1305. */
export const KEY_BYTES = 32;
/** Of Poly1305, behind what is sealed. */
export const TAG_BYTES = 16;
