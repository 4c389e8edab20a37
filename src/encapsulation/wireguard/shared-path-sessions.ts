/**
 * The sessions as one packet path thread uses them: out of memory that it shares with the thread that makes them. Nothing is
 * said when there is another session: it is looked up by its index when a packet needs it, and remembered.
 */
import type { VtepTable } from '../../datapath/vtep-table.ts';
import type { Arena } from '../../sys/arena.ts';
import { SOCKADDR_IN, SOCKADDR_IN6 } from '../../sys/structs.ts';
import { NoticeWriter, type SendNotice } from './notices.ts';
import type { PathSessions, ReceivingSession } from './path-sessions.ts';
import type { Session } from './session.ts';
import type { SharedSessions } from './shared-sessions.ts';

interface KnownSession extends ReceivingSession {
  /** Whoever makes sessions knows that something opened with it. */
  isConfirmed: boolean;
  /** The port and the last word of the address that it was told the peer has moved to. */
  toldPort: number;
  toldAddress: number;
}

export interface SharedPathSessionsParts {
  readonly shared: SharedSessions;
  readonly vteps: VtepTable;
  readonly underlayFamily: 4 | 6;
  /** Milliseconds of the clock that sessions are made by. */
  readonly nowMs: () => number;
  readonly sendNotice: SendNotice;
}

export class SharedPathSessions implements PathSessions {
  readonly #shared: SharedSessions;
  readonly #vteps: VtepTable;
  readonly #family: 4 | 6;
  readonly #nowMs: () => number;
  readonly #notices: NoticeWriter;
  /** By local index; bounded by the slots there are. */
  readonly #known = new Map<number, KnownSession>();
  #received: Arena | undefined;
  #now = 0;
  #moves = 0;
  /** A session is over, and whoever has its keys lets go of them. */
  onEnd: (session: Session) => void = () => {};

  constructor({ shared, vteps, underlayFamily, nowMs, sendNotice }: SharedPathSessionsParts) {
    this.#shared = shared;
    this.#vteps = vteps;
    this.#family = underlayFamily;
    this.#nowMs = nowMs;
    this.#notices = new NoticeWriter(sendNotice);
  }

  receivesInto(memory: Arena): void {
    this.#received = memory;
  }

  begin(): void {
    this.#now = this.#nowMs();
    if (this.#shared.moves !== this.#moves) this.#takeMoves();
  }

  /** The forwarding state is another, or it is time to look: forgets sessions that are over. */
  refresh(): void {
    this.#takeMoves();
    this.#sweep();
  }

  sendingTo(vtep: number): Session | undefined {
    const index = this.#shared.sendingTo(vtep);
    const session = index === 0 ? undefined : this.#find(index)?.session;
    return session?.maySend(this.#now) === true ? session : undefined;
  }

  sent(vtep: number): void {
    this.#shared.sentData(vtep, this.#now);
  }

  wait(vtep: number, memory: Arena, at: number, bytes: number): boolean {
    return this.#notices.waiting(vtep, this.#shared.serial(vtep), memory, at, bytes);
  }

  receivingAt(index: number): ReceivingSession | undefined {
    const found = this.#find(index);
    return found === undefined || found.session.isExpired(this.#now) ? undefined : found;
  }

  opened(by: ReceivingSession, isData: boolean, sockaddr: number): void {
    const known = by as KnownSession;
    this.#shared.received(by.vtep, isData, this.#now);
    if (!known.isConfirmed) this.#confirm(known);
    if (!this.#vteps.isAt(by.vtep, this.#received!.view, sockaddr)) this.#moved(known, sockaddr);
  }

  handshake(datagram: number, datagramBytes: number, sockaddr: number): void {
    this.#notices.handshake(this.#endpoint(sockaddr), this.#received!, datagram, datagramBytes);
  }

  #confirm(known: KnownSession): void {
    this.#shared.confirm(known.vtep, known.session.localIndex);
    known.isConfirmed = this.#notices.confirmed(known.session.localIndex);
  }

  /** Once for each new address, unless that got lost. */
  #moved(known: KnownSession, sockaddr: number): void {
    const { view } = this.#received!;
    const port = view.getUint16(sockaddr + SOCKADDR_IN.port);
    const address =
      this.#family === 4
        ? view.getInt32(sockaddr + SOCKADDR_IN.address)
        : view.getInt32(sockaddr + SOCKADDR_IN6.address + 12);
    if (port === known.toldPort && address === known.toldAddress) return;
    if (!this.#notices.roamed(known.session.localIndex, this.#endpoint(sockaddr))) return;
    known.toldPort = port;
    known.toldAddress = address;
  }

  /** Address and port, as bytes. */
  #endpoint(sockaddr: number): Uint8Array {
    const { bytes } = this.#received!;
    const [at, length] = this.#family === 4 ? [SOCKADDR_IN.address, 4] : [SOCKADDR_IN6.address, 16];
    const endpoint = new Uint8Array(length + 2);
    endpoint.set(bytes.subarray(sockaddr + at, sockaddr + at + length));
    endpoint.set(bytes.subarray(sockaddr + SOCKADDR_IN.port, sockaddr + SOCKADDR_IN.port + 2), length);
    return endpoint;
  }

  #find(index: number): KnownSession | undefined {
    const known = this.#known.get(index);
    if (known !== undefined && this.#shared.has(index)) return known;
    return this.#read(index);
  }

  #read(index: number): KnownSession | undefined {
    const found = this.#shared.read(index);
    if (found === undefined) return undefined;
    this.#sweep();
    const known = { ...found, isConfirmed: false, toldPort: 0, toldAddress: 0 };
    this.#known.set(index, known);
    return known;
  }

  #sweep(): void {
    for (const [index, { session }] of this.#known) {
      if (this.#shared.has(index)) continue;
      this.#known.delete(index);
      this.onEnd(session);
      session.destroy();
    }
  }

  #takeMoves(): void {
    this.#moves = this.#shared.moves;
    for (let vtep = 0; vtep < this.#vteps.count; vtep++) {
      const to = this.#shared.movedTo(vtep, this.#family);
      if (to !== undefined) this.#vteps.move(vtep, to.words, to.port);
    }
  }
}
