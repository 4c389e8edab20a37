/** What the control thread and the thread that makes sessions say to each other. */
import type { KeyObject } from 'node:crypto';
import type { KeyedPeer, PairKeys } from '../encapsulation/wireguard/key-exchange.ts';

export interface KeyExchangeSettings {
  /** X25519. */
  readonly privateKey: KeyObject;
  /** No timestamp below it is sent, in microseconds since 1970; and where it is kept. */
  readonly ceilingUs: number;
  readonly ceilingFile: string;
  /** See SharedSessions. */
  readonly shared: SharedArrayBuffer;
  /** Packet path threads. */
  readonly workers: number;
  readonly counters: SharedArrayBuffer;
  /** Here packet path threads' notices come. */
  readonly noticesFd: number;
  /** Written to by the control thread after each message. */
  readonly wakeFd: number;
  /** One int32 that the thread raises at each turn (heartbeat.ts). */
  readonly turns: SharedArrayBuffer;
}

export type ToKeyExchange =
  | { readonly kind: 'peers'; readonly peers: readonly KeyedPeer[]; readonly mtu: number }
  | { readonly kind: 'pair-keys'; readonly vtep: number; readonly keys: PairKeys | undefined }
  /** Handshakes come and go here from now on. */
  | { readonly kind: 'socket'; readonly fd: number; readonly family: 4 | 6 }
  | { readonly kind: 'stop' };

export type FromKeyExchange =
  | { readonly kind: 'ready'; readonly cipher: string; readonly fallback: string | undefined }
  /** What was sent last is in force. */
  | { readonly kind: 'done' }
  | { readonly kind: 'pair-key-wanted'; readonly vtep: number }
  | { readonly kind: 'failed'; readonly message: string };
