/** What the control thread and a packet path thread say to each other. */
import type { ForwardingState } from '../datapath/forwarding.ts';
import type { EncapsulationSettings } from '../encapsulation/choose.ts';

export interface WorkerSettings {
  /** A queue of the TUN device; from here the kernel's packets come. */
  readonly tunReadFd: number;
  /** The same one, or with several workers one that the kernel puts no packets into (tun/tun-device.ts). */
  readonly tunWriteFd: number;
  /** Receives; sends too, unless there are several workers. */
  readonly socketFd: number;
  /** Sends. A port of its own for each worker lets the peer's kernel spread flows over the peer's workers. */
  readonly sendFd: number;
  /** Written to by the control thread after each message, so that the worker's poll returns. */
  readonly wakeFd: number;
  readonly underlayFamily: 4 | 6;
  readonly dscp: number | 'copy';
  readonly encapsulation: EncapsulationSettings;
  /** Of an encapsulation that has sessions. */
  readonly sessions: SharedSessionSettings | undefined;
  /** Outer IP and UDP headers and what the encapsulation adds, in bytes. */
  readonly overheadBytes: number;
  readonly counters: SharedArrayBuffer;
  /** One int32 that the worker raises at each turn (heartbeat.ts). */
  readonly turns: SharedArrayBuffer;
  /** What may be used; what then turns out not to work is reported back. */
  readonly offloads: WorkerOffloads;
}

/** How packet path threads come to sessions, which another thread makes. */
export interface SharedSessionSettings {
  /** See SharedSessions. */
  readonly shared: SharedArrayBuffer;
  /** What they have to tell that thread is sent there, by all of them. */
  readonly noticesFd: number;
}

/** Offloads that the packet path itself can turn off at run time. */
export interface WorkerOffloads {
  /** Datagrams of one size to one peer leave as one UDP_SEGMENT send. */
  readonly udpSegment: boolean;
  /** Inbound segments of a TCP flow reach the TUN as one superpacket. */
  readonly coalesceTcp: boolean;
  /** The same for UDP (Linux 6.2). */
  readonly coalesceUdp: boolean;
}

export type ToWorker =
  | { readonly kind: 'forwarding'; readonly state: ForwardingState }
  /** Rings that copies of what is dropped go into (DropRing): all there are. */
  | { readonly kind: 'taps'; readonly rings: readonly SharedArrayBuffer[] }
  | { readonly kind: 'stop' };

export type FromWorker =
  | { readonly kind: 'ready' }
  /** The forwarding state that was sent last is in force. */
  | { readonly kind: 'loaded' }
  /** An offload failed, and is off from now on. */
  | { readonly kind: 'offload-off'; readonly offload: keyof WorkerOffloads }
  /** The TUN device is gone; `errno` says how it showed. */
  | { readonly kind: 'tun-lost'; readonly errno: number };
