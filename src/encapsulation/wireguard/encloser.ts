/**
 * Outbound: all datagrams of a flush are sealed one behind the other into one piece of memory, with counters that are taken
 * for exactly as many as follow each other to one peer. Header and counter are written when they are sealed.
 */
import { CONSUMED, DROP, PASSED, type Verdict } from '../../datapath/drops.ts';
import type { EncapsulationForm, Encloser } from '../../datapath/encapsulation.ts';
import { MAX_DATAGRAMS, type OutboundArena } from '../../datapath/outbound-arena.ts';
import type { VtepTable } from '../../datapath/vtep-table.ts';
import { ContiguousOutput } from '../contiguous-output.ts';
import type { AeadEngine, Sealer } from './aead.ts';
import { TAG_BYTES } from './constants.ts';
import { writeDataHeader } from './data-message.ts';
import { DATA_HEADER_BYTES } from './form.ts';
import { paddingOf } from './padding.ts';
import type { PathSessions } from './path-sessions.ts';
import type { Session } from './session.ts';

export interface EncloserParts {
  readonly form: EncapsulationForm;
  readonly engine: AeadEngine;
  readonly sessions: PathSessions;
  readonly vteps: VtepTable;
  /** Packets up to that long are not padded beyond it; by default the MTU of the path to a VTEP. */
  readonly mtu?: (() => number) | undefined;
}

export class WireguardEncloser implements Encloser {
  readonly form: EncapsulationForm;
  readonly maxPartialStart = 0;
  readonly #arena: OutboundArena;
  readonly #engine: AeadEngine;
  readonly #sessions: PathSessions;
  readonly #vteps: VtepTable;
  readonly #mtu: (() => number) | undefined;
  readonly #output: ContiguousOutput;
  /** Until they are told to end; so bounded by the sessions. */
  readonly #sealers = new Map<Session, Sealer>();
  readonly #vtep = new Int32Array(MAX_DATAGRAMS);
  readonly #headBytes = new Int32Array(MAX_DATAGRAMS);
  readonly #tail = new Int32Array(MAX_DATAGRAMS);
  readonly #tailBytes = new Int32Array(MAX_DATAGRAMS);
  readonly #padding = new Int32Array(MAX_DATAGRAMS);
  readonly #verdicts = new Int8Array(MAX_DATAGRAMS);

  constructor(arena: OutboundArena, { form, engine, sessions, vteps, mtu }: EncloserParts) {
    this.form = form;
    this.#arena = arena;
    this.#output = new ContiguousOutput(arena);
    this.#engine = engine;
    this.#sessions = sessions;
    this.#vteps = vteps;
    this.#mtu = mtu;
  }

  /** All that is in it is known when it is sealed. */
  writeHeader(): void {}

  add(datagram: number, vtep: number, headBytes: number, tail: number, tailBytes: number): number {
    const packetBytes = headBytes - DATA_HEADER_BYTES + tailBytes;
    const padding = this.#isProbe(headBytes, tail, tailBytes)
      ? 0
      : paddingOf(packetBytes, this.#mtu?.() ?? this.#vteps.mtu(vtep));
    const bytes = DATA_HEADER_BYTES + packetBytes + padding + TAG_BYTES;
    this.#vtep[datagram] = vtep;
    this.#headBytes[datagram] = headBytes - DATA_HEADER_BYTES;
    this.#tail[datagram] = tail;
    this.#tailBytes[datagram] = tailBytes;
    this.#padding[datagram] = padding;
    this.#output.place(datagram, bytes);
    return bytes;
  }

  seal(count: number): void {
    let from = 0;
    this.#sessions.begin();
    while (from < count) {
      const vtep = this.#vtep[from]!;
      let end = from + 1;
      while (end < count && this.#vtep[end] === vtep) end++;
      this.#sealRun(from, end, this.#sessions.sendingTo(vtep));
      from = end;
    }
  }

  sealed(datagram: number): Verdict {
    return this.#verdicts[datagram] as Verdict;
  }

  gather(message: number, first: number, size: number): void {
    this.#output.gather(message, first, size);
  }

  /** Lets go of a session's key. */
  end(session: Session): void {
    this.#sealers.get(session)?.destroy();
    this.#sealers.delete(session);
  }

  /** Datagrams to one VTEP. */
  #sealRun(from: number, end: number, session: Session | undefined): void {
    const first = session === undefined ? -1 : session.nonces.take(end - from);
    if (session === undefined || first < 0) {
      for (let datagram = from; datagram < end; datagram++) this.#verdicts[datagram] = this.#wait(datagram);
      return;
    }
    const sealer = this.#sealer(session);
    let sealedBytes = 0;
    for (let datagram = from; datagram < end; datagram++) {
      const counter = first + datagram - from;
      const at = this.#output.at(datagram);
      writeDataHeader(this.#output.memory.view, at, session.remoteIndex, counter);
      const head = this.#headBytes[datagram]!;
      const packet = this.#tail[datagram]! - head;
      // Sealing one piece is a third faster than two. What is overwritten is sealed already: the segment before, or the headers
      // that this one's were made of, whose addresses and ports stay what they are.
      if (head > 0) this.#placeHead(datagram, packet, head);
      const bytes = head + this.#tailBytes[datagram]!;
      const padding = this.#padding[datagram]!;
      const done = sealer.seal(counter, packet, bytes, 0, 0, padding, at + DATA_HEADER_BYTES);
      this.#verdicts[datagram] = done ? PASSED : DROP.outboundNoSession;
      sealedBytes += DATA_HEADER_BYTES + bytes + padding + TAG_BYTES;
    }
    this.#sessions.sent(this.#vtep[from]!, sealedBytes);
  }

  /** A probe of the path is to be as long as it says: longer by its padding it would show less than the path carries. */
  #isProbe(headBytes: number, packet: number, bytes: number): boolean {
    return headBytes === DATA_HEADER_BYTES && this.#vteps.ownProbes.has(this.#arena.view, packet, bytes);
  }

  /** The packet of a datagram that cannot be sealed yet goes to where it is sent from once it can. */
  #wait(datagram: number): Verdict {
    const at = this.#output.at(datagram);
    const head = this.#arena.header(datagram) + DATA_HEADER_BYTES;
    const headBytes = this.#headBytes[datagram]!;
    const tail = this.#tail[datagram]!;
    const tailBytes = this.#tailBytes[datagram]!;
    const { bytes } = this.#output.memory;
    bytes.set(this.#arena.arena.bytes.subarray(head, head + headBytes), at);
    bytes.set(this.#arena.arena.bytes.subarray(tail, tail + tailBytes), at + headBytes);
    const waits = this.#sessions.wait(this.#vtep[datagram]!, this.#output.memory, at, headBytes + tailBytes);
    return waits ? CONSUMED : DROP.outboundNoSession;
  }

  /** Puts the headers of a segment in front of its payload. */
  #placeHead(datagram: number, to: number, bytes: number): void {
    const from = this.#arena.header(datagram) + DATA_HEADER_BYTES;
    this.#arena.arena.bytes.copyWithin(to, from, from + bytes);
  }

  #sealer(session: Session): Sealer {
    const known = this.#sealers.get(session);
    if (known !== undefined) return known;
    const sealer = this.#engine.sealer(session.sendKey, this.#arena.arena, this.#output.memory);
    this.#sealers.set(session, sealer);
    return sealer;
  }
}
