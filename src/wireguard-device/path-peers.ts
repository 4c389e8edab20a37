/**
 * The peers as the packet path of the same thread uses them: sessions by VTEP (here: a peer's slot) and by index, and what it
 * has done with them. A peer's timers are told of that once a turn (`settle`), not for each datagram.
 */
import type { VtepTable } from '../datapath/vtep-table.ts';
import type { PathSessions, ReceivingSession } from '../encapsulation/wireguard/path-sessions.ts';
import type { Session } from '../encapsulation/wireguard/session.ts';
import type { Arena } from '../sys/arena.ts';
import type { Sources } from './sources.ts';

const SENT = 1;
const RECEIVED = 2;
const RECEIVED_DATA = 4;

interface KnownSession extends ReceivingSession {
  /** Something opened with it, and the peer's machine knows. */
  isConfirmed: boolean;
}

/** Whom the packet path has to do with; a peer of the protocol machine. */
export interface PathPeer {
  readonly endpoint: Uint8Array | undefined;
  send(packet: Uint8Array): void;
  confirmed(session: Session): void;
  sentElsewhere(): void;
  receivedElsewhere(isData: boolean): void;
}

export interface PathPeersParts {
  readonly vteps: VtepTable;
  readonly sources: Sources;
  readonly nowMs: () => number;
  /** A message of types 1 to 3; `datagram` is a copy. */
  readonly handshake: (datagram: Buffer, memory: Arena, sockaddr: number) => void;
  /** A datagram that opened came from elsewhere than the peer was. */
  readonly roamed: (slot: number, memory: Arena, sockaddr: number) => void;
}

export class PathPeers implements PathSessions {
  readonly #parts: PathPeersParts;
  readonly #vteps: VtepTable;
  readonly #sources: Sources;
  /** By slot. */
  readonly #peers: (PathPeer | undefined)[] = [];
  readonly #sending: (Session | undefined)[] = [];
  #sentBytes = new Float64Array(0);
  #receivedBytes = new Float64Array(0);
  #did = new Uint8Array(0);
  /** Slots with something in `#did`; each once. */
  readonly #active: number[] = [];
  readonly #toConfirm: KnownSession[] = [];
  /** By local index; bounded by the peers, which have three each at most. */
  readonly #known = new Map<number, KnownSession>();
  #received: Arena | undefined;
  #packetInfo = 0;
  #now = 0;

  constructor(parts: PathPeersParts) {
    this.#parts = parts;
    this.#vteps = parts.vteps;
    this.#sources = parts.sources;
  }

  /** There are slots below `count`. */
  reserve(count: number): void {
    if (count <= this.#did.length) return;
    this.#sentBytes = grown(this.#sentBytes, count);
    this.#receivedBytes = grown(this.#receivedBytes, count);
    const did = new Uint8Array(count);
    did.set(this.#did);
    this.#did = did;
  }

  /** The peer of a slot from now on; undefined: there is none. */
  set(slot: number, peer: PathPeer | undefined): void {
    this.#peers[slot] = peer;
    this.#sending[slot] = undefined;
  }

  /** Another peer has the slot: nothing was sent or received. */
  clearTraffic(slot: number): void {
    this.#sentBytes[slot] = 0;
    this.#receivedBytes[slot] = 0;
  }

  /** Datagrams, headers and seals included. */
  traffic(slot: number): { readonly sentBytes: number; readonly receivedBytes: number } {
    return { sentBytes: this.#sentBytes[slot] ?? 0, receivedBytes: this.#receivedBytes[slot] ?? 0 };
  }

  countSent(slot: number, bytes: number): void {
    this.#sentBytes[slot]! += bytes;
  }

  countReceived(slot: number, bytes: number): void {
    this.#receivedBytes[slot]! += bytes;
  }

  added(slot: number, session: Session): void {
    this.#known.set(session.localIndex, { session, vtep: slot, isConfirmed: session.isInitiator });
  }

  sendWith(slot: number, session: Session | undefined): void {
    this.#sending[slot] = session;
  }

  ended(session: Session): void {
    this.#known.delete(session.localIndex);
  }

  /** The address that the message in hand came to, if the kernel said so. */
  learnSource(slot: number): void {
    if (this.#packetInfo !== 0) this.#sources.learn(slot, this.#received!.view, this.#packetInfo);
  }

  /** Tells the machines what was done since: first what was sent, as a turn reads the TUN before the socket. */
  settle(): void {
    for (const known of this.#toConfirm.splice(0)) this.#peers[known.vtep]?.confirmed(known.session);
    for (const slot of this.#active.splice(0)) {
      const did = this.#did[slot]!;
      this.#did[slot] = 0;
      const peer = this.#peers[slot];
      if (peer === undefined) continue;
      if ((did & SENT) !== 0) peer.sentElsewhere();
      if ((did & RECEIVED) !== 0) peer.receivedElsewhere((did & RECEIVED_DATA) !== 0);
    }
  }

  receivesInto(memory: Arena): void {
    this.#received = memory;
  }

  begin(packetInfo = 0): void {
    this.#now = this.#parts.nowMs();
    this.#packetInfo = packetInfo;
  }

  sendingTo(slot: number): Session | undefined {
    const session = this.#sending[slot];
    return session?.maySend(this.#now) === true ? session : undefined;
  }

  sent(slot: number, bytes: number): void {
    this.#sentBytes[slot]! += bytes;
    this.#mark(slot, SENT);
  }

  wait(slot: number, memory: Arena, at: number, bytes: number): boolean {
    const peer = this.#peers[slot];
    // Nobody would ever fetch it.
    if (peer?.endpoint === undefined) return false;
    peer.send(memory.bytes.subarray(at, at + bytes));
    return true;
  }

  receivingAt(index: number): ReceivingSession | undefined {
    const found = this.#known.get(index);
    return found === undefined || found.session.isExpired(this.#now) ? undefined : found;
  }

  opened(by: ReceivingSession, isData: boolean, sockaddr: number, bytes: number): void {
    const known = by as KnownSession;
    const slot = known.vtep;
    this.#receivedBytes[slot]! += bytes;
    this.#mark(slot, isData ? RECEIVED | RECEIVED_DATA : RECEIVED);
    if (!known.isConfirmed) {
      known.isConfirmed = true;
      this.#toConfirm.push(known);
    }
    if (!this.#vteps.isAt(slot, this.#received!.view, sockaddr))
      this.#parts.roamed(slot, this.#received!, sockaddr);
    this.learnSource(slot);
  }

  handshake(datagram: number, datagramBytes: number, sockaddr: number): void {
    const memory = this.#received!;
    const copy = Buffer.from(memory.bytes.slice(datagram, datagram + datagramBytes).buffer);
    this.#parts.handshake(copy, memory, sockaddr);
  }

  #mark(slot: number, what: number): void {
    if (this.#did[slot] === 0) this.#active.push(slot);
    this.#did[slot]! |= what;
  }
}

function grown(numbers: Float64Array, count: number): Float64Array<ArrayBuffer> {
  const more = new Float64Array(count);
  more.set(numbers);
  return more;
}
