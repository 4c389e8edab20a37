/**
 * What moves the pods' packets between nodes, as control sees it. One object owns the underlay address, the MTU, the
 * offloads and the traffic counters; control never asks which kind it has.
 */
import type { OffloadSwitches } from '../config/config.ts';
import type { TrafficTotals } from '../datapath/counters.ts';
import type { PairKeys } from '../encapsulation/wireguard/key-exchange.ts';
import type { HistogramReport } from '../histogram.ts';
import type { Underlay } from '../host/underlay-route.ts';
import type { Endpoint } from '../ip/endpoint.ts';
import type { Prefix } from '../ip/prefix.ts';

export type { PairKeys, TrafficTotals };

export interface DataPlane {
  /** This node's tunnel endpoint. */
  readonly vtep: Endpoint;
  readonly underlay: Underlay;
  /** Bytes of an inner packet: the underlay's MTU less the encapsulation, or less by configuration. */
  readonly mtu: number;
  /** Segments in a superpacket that just fills one send: what the TCP of pods and node is told to make. */
  readonly gsoMaxSegments: number;
  /** Whether it is changing the host just now: what it does then need not be looked at. */
  readonly isBusy: boolean;
  /**
   * Gives the node the addresses of `subnets` (one of each family at most) and lets packets flow. Once active it
   * may be called again with other subnets, or with none: then nothing is this node's own, and no packet of its own
   * flows, until it has some again.
   */
  activate(subnets: readonly Prefix[]): Promise<void>;
  /** Takes over who the peers are and what they own, in the host's routes too. Resolves once packets go by it. */
  update(peers: readonly ForwardingPeer[]): Promise<void>;
  /** Puts back what others removed or changed of its devices, addresses and routes; says what that was. */
  repair(): Promise<DataPlaneRepair[]>;
  /**
   * Sends and receives at another address of this host, or with another MTU, from now on. If it throws, everything
   * is as it was.
   */
  moveTo(underlay: Underlay): Promise<void>;
  /** Uses what `switches` allow, and the kernel has, from now on; counters go on. If it throws, everything is as it was. */
  switchOffloads(switches: OffloadSwitches): Promise<void>;
  /** Stops; devices stay, with their addresses and routes. */
  close(): Promise<void>;
  report(): DataPlaneReport;
  /** Absent: every datagram is sent by itself. */
  readonly groups?: GroupSending;
  /** Copies of what the packet path drops, while somebody wants them; absent: there are none. */
  readonly dropTaps?: DropTaps;
  /** Packets to and from one peer, by `ForwardingPeer.key`, since the peer was first known; zeros if it is not. */
  traffic(key: string): TrafficTotals;
  /** For how long the keys in use with a peer have been, milliseconds; undefined: there are none. Absent: never any. */
  readonly sessionAgeMs?: (key: string) => number | undefined;
  /** Since both had new keys the last time, milliseconds, in use or not; undefined: never since the start. */
  readonly handshakeAgeMs?: (key: string) => number | undefined;
  /** Where a peer was heard from last, if that is not where `ForwardingPeer.endpoint` says. Absent: peers do not move. */
  readonly movedTo?: (key: string) => Endpoint | undefined;
  /**
   * Sessions with one peer, by `ForwardingPeer.key`, are made with these from now on; undefined: with none, so that there
   * will be none. For peers that need them. Absent: there are no sessions.
   */
  readonly setPairKeys?: (key: string, keys: PairKeys | undefined) => void;
  /** Bytes of an inner packet that the path to one peer carries, as far as is known; undefined if the peer is not. */
  pathMtu(key: string): number | undefined;
}

/** Datagrams that leave in groups: one send for many. */
export interface GroupSending {
  /** Whether it is done just now. */
  isUsed(): boolean;
  /** Datagrams that left so to one peer, by `ForwardingPeer.key`. */
  count(key: string): number;
  /** What this node itself sends from UDP port `port` leaves in groups also to a peer that is sent single datagrams. */
  exempt(port: number): Promise<void>;
}

export interface DropTaps {
  /** Throws CAPTURE_LIMIT. */
  open(): DropTapHandle;
}

export interface DropTapHandle {
  /** A DropRing of each thread. */
  readonly rings: readonly SharedArrayBuffer[];
  close(): void;
}

export type DataPlaneRepair = 'device' | 'link' | 'address' | 'route';

export interface ForwardingPeer {
  /** Unique and stable: a member's id, or `static/NAME`. */
  readonly key: string;
  readonly name: string;
  /** Undefined: nobody knows, it has to be heard from first. */
  readonly endpoint: Endpoint | undefined;
  readonly partialChecksums: boolean;
  /** In order of growing precedence among all peers where subnets are the same. */
  readonly subnets: readonly Prefix[];
  /** Bytes of an inner packet that the peer's end of the path takes; undefined: it does not say. */
  readonly mtu?: number | undefined;
  /** Groups of datagrams do not arrive there whole. */
  readonly sentSingly?: boolean | undefined;
  /** Marks of congestion end there. */
  readonly losesMarks?: boolean | undefined;
  /** X25519, 32 bytes: what packets to it are sealed for; undefined: they are not. */
  readonly publicKey?: Uint8Array | undefined;
  /** 32 bytes that both have. */
  readonly presharedKey?: Uint8Array | undefined;
  /** There is no session with it but by keys that `setPairKeys` has given. */
  readonly needsPairKey?: boolean | undefined;
  /** Between signs of life; undefined: none. */
  readonly persistentKeepaliveMs?: number | undefined;
  /** It is no node of the cluster: subnets of its own may lie within this node's, and only this node knows of it. */
  readonly isGuest?: boolean | undefined;
  /** Another one after the peer has forgotten all sessions. */
  readonly run?: string | undefined;
  /** It is asked for keys as soon as it is known. */
  readonly isGreeted?: boolean | undefined;
}

export interface DataPlaneReport {
  readonly type: 'userspace' | 'kernel';
  /** The device that pods' packets take. */
  readonly device: string;
  /** Whether packets flow: it was activated, and nothing it needs is missing. */
  readonly isActive: boolean;
  /** Of outer headers, on each packet. */
  readonly overheadBytes: number;
  readonly workers: number;
  /** What seals packets; absent: they are clear text, or none has flown yet. */
  readonly cipher?: { readonly name: string; readonly fallback: string | undefined } | undefined;
  /** Of those, the ones that do not answer any more. */
  readonly stuckWorkers: number;
  /** What is in use of the kernel's offloads, by name. */
  readonly offloads: Readonly<Record<string, boolean>>;
  readonly totals: TrafficTotals;
  /** How long handshakes took that this node began; absent: there are none. */
  readonly handshakes?: HistogramReport | undefined;
  /** Every drop reason by name, also those at 0. */
  readonly drops: Readonly<Record<string, number>>;
}
