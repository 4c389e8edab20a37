/** What the control thread of a device and the thread that does its work say to each other. */
import type { FdbSnapshot } from '../fdb/snapshot.ts';
import type { Source } from './sources.ts';

export interface PeerSettings {
  readonly slot: number;
  /** Another one after the peer was removed and added again. */
  readonly id: number;
  readonly publicKey: Uint8Array;
  readonly presharedKey: Uint8Array | undefined;
  /** 0: none. */
  readonly persistentKeepaliveMs: number;
  /** It has some since now, and the peer is to hear of it at once. */
  readonly keepaliveNow: boolean;
}

export interface TunnelSettings {
  readonly privateKey: Uint8Array | undefined;
  readonly peers: readonly PeerSettings[];
  /** Where peers are from now on; all others stay where they are. */
  readonly moved: readonly { readonly slot: number; readonly endpoint: Uint8Array }[];
  /** Values are slots; undefined: as before. */
  readonly allowedIps: FdbSnapshot | undefined;
}

/** What a peer does. */
export interface PeerState {
  readonly slot: number;
  readonly id: number;
  readonly endpoint: Uint8Array | undefined;
  readonly source: Source | undefined;
  /** Milliseconds since 1970; 0: there was none. */
  readonly lastHandshakeMs: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

export interface TunnelThreadSettings {
  readonly tunFd: number;
  readonly family: 4 | 6;
  /** Written to by the control thread after each message. */
  readonly wakeFd: number;
}

/** Each is answered, in order. */
export type ToTunnel =
  | ({ readonly kind: 'configure' } & TunnelSettings)
  | { readonly kind: 'socket'; readonly fd: number }
  | { readonly kind: 'interface'; readonly isUp: boolean; readonly mtu: number }
  | { readonly kind: 'forget-sources'; readonly slots: readonly number[] }
  | { readonly kind: 'peers' }
  | { readonly kind: 'stop' };

export type FromTunnel =
  | { readonly kind: 'ready'; readonly cipher: string }
  /** What was asked is done. */
  | { readonly kind: 'done' }
  | { readonly kind: 'peers'; readonly peers: readonly PeerState[] }
  /** Links, addresses or routes of this network namespace are others. */
  | { readonly kind: 'network-changed' }
  /** The device was deleted. */
  | { readonly kind: 'tun-lost'; readonly errno: number }
  | { readonly kind: 'failed'; readonly message: string };
