/**
 * The pre-shared keys of handshakes with one peer. WireGuard has one, which somebody writes down on both sides. Two agents
 * agree on theirs, and anew now and then; while one side has the new key and the other is not known to, a handshake
 * must end all the same. So each side answers with a key that the other surely has, and takes whatever the other may
 * have answered with.
 */
import { KEY_BYTES } from './constants.ts';

export interface PresharedKeys {
  /** What initiations are answered with, 32 bytes. Undefined: none is answered. */
  readonly respondWith: Uint8Array | undefined;
  /** What a response may be made with, the likeliest first. None: no handshake is begun. */
  readonly accept: readonly Uint8Array[];
}

/** No pre-shared key: WireGuard mixes zeros. */
export const NO_PRESHARED_KEY: Uint8Array = Buffer.alloc(KEY_BYTES);

/** Of a peer with which a key is still to be agreed on: no handshake ends. */
export const NO_KEYS_YET: PresharedKeys = { respondWith: undefined, accept: [] };

/** One key for all times; undefined: there is none, which is a key too. */
export function onePresharedKey(key: Uint8Array = NO_PRESHARED_KEY): PresharedKeys {
  return { respondWith: key, accept: [key] };
}
