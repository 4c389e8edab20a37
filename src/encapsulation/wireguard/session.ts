/**
 * A session: the keys of one handshake, with what was sent and received under them. Keys are copied into an AEAD engine
 * by whoever uses them; `destroy` overwrites those that are here, once no one needs the session any more.
 */
import {
  REJECT_AFTER_MESSAGES,
  REJECT_AFTER_TIME_MS,
  REKEY_AFTER_MESSAGES,
  REKEY_AFTER_TIME_MS,
} from './constants.ts';
import type { Agreement } from './handshake.ts';
import { Nonces } from './nonces.ts';
import { ReplayWindow } from './replay-window.ts';

/** How long before REJECT_AFTER_TIME an initiator that only receives begins anew: a keepalive's time and a retry. */
const RECEIVE_REKEY_MARGIN_MS = 15_000;

export class Session {
  readonly localIndex: number;
  readonly remoteIndex: number;
  /** This side sent the initiation: only it begins anew, so that both do not at the same time. */
  readonly isInitiator: boolean;
  readonly createdAtMs: number;
  readonly sendKey: Buffer;
  readonly receiveKey: Buffer;
  readonly nonces: Nonces;
  readonly replay: ReplayWindow;
  #destroyed = false;

  constructor(
    { keys, localIndex, remoteIndex }: Agreement,
    isInitiator: boolean,
    createdAtMs: number,
    nonces: Nonces = new Nonces(),
    replay: ReplayWindow = new ReplayWindow(),
  ) {
    this.localIndex = localIndex;
    this.remoteIndex = remoteIndex;
    this.isInitiator = isInitiator;
    this.createdAtMs = createdAtMs;
    this.sendKey = keys.send;
    this.receiveKey = keys.receive;
    this.nonces = nonces;
    this.replay = replay;
  }

  /** Nothing is sealed or opened with it any more. */
  isExpired(nowMs: number): boolean {
    return this.#destroyed || nowMs - this.createdAtMs >= REJECT_AFTER_TIME_MS;
  }

  maySend(nowMs: number): boolean {
    return !this.isExpired(nowMs) && this.nonces.taken < REJECT_AFTER_MESSAGES;
  }

  /** After something was sent: it is time for a new session. */
  wantsRekeyAfterSend(nowMs: number): boolean {
    return (
      this.nonces.taken > REKEY_AFTER_MESSAGES ||
      (this.isInitiator && nowMs - this.createdAtMs >= REKEY_AFTER_TIME_MS)
    );
  }

  /** After something was received: one that hardly sends must not run into the end of its keys either. */
  wantsRekeyAfterReceive(nowMs: number): boolean {
    return this.isInitiator && nowMs - this.createdAtMs >= REJECT_AFTER_TIME_MS - RECEIVE_REKEY_MARGIN_MS;
  }

  destroy(): void {
    this.#destroyed = true;
    this.sendKey.fill(0);
    this.receiveKey.fill(0);
  }
}
