/**
 * The datagrams of a burst on their way to the underlay. Consecutive datagrams of one size to one peer leave
 * as a single `UDP_SEGMENT` send (udp(7)), which costs the kernel one walk through its stack for all of them: they have one
 * outer header, and so one ECN codepoint and one DSCP; the rest shares one sendmmsg.
 *
 * Nothing that waits here is lost without a count: a socket that is full is waited for (turn.ts), a kernel, device
 * or path that cannot segment makes segmentation stop for good, and a datagram over the path MTU is answered or
 * fragmented (path-mtu.ts).
 */
import { EAGAIN, EINTR, EINVAL, EIO, EMSGSIZE } from '../sys/constants.ts';
import { MSGHDR } from '../sys/structs.ts';
import { DSCP_SHIFT, ECN_MASK, trafficClassOf } from '../wire/ecn.ts';
import { type ControlWriter, SentControls } from './control-messages.ts';
import type { WorkerCounters } from './counters.ts';
import { DROPPED } from './drop-ring.ts';
import type { DropTap } from './drop-tap.ts';
import { DROP, type DropReason, PASSED } from './drops.ts';
import type { Encloser } from './encapsulation.ts';
import { MAX_DATAGRAMS, MAX_MESSAGES, type OutboundArena } from './outbound-arena.ts';
import type { PathMtu } from './path-mtu.ts';
import type { UnderlaySocket } from './ports.ts';
import type { Turn } from './turn.ts';
import type { VtepTable } from './vtep-table.ts';

/** UDP_MAX_SEGMENTS of kernels before 6.9 (linux/udp.h); later ones take 128. */
export const MAX_SEGMENTS_PER_SEND = 64;
/** The longest UDP payload in IPv4 (65,535 less two headers); one bound for both families. */
export const MAX_SEND_BYTES = 65_507;
/**
 * Groups in a row that the kernel refused while it took their datagrams one by one. A segment over the path MTU,
 * the refusal that is expected, shows again in the single datagram; nothing else is known to pass.
 */
const MAX_UNEXPLAINED_REFUSALS = 8;

export interface SendQueueParts {
  readonly arena: OutboundArena;
  readonly encloser: Encloser;
  readonly socket: UnderlaySocket;
  readonly vteps: VtepTable;
  readonly counters: WorkerCounters;
  /** Absent: nobody ever looks at what is dropped. */
  readonly drops?: DropTap;
  readonly pathMtu: PathMtu;
  readonly turn: Turn;
  readonly underlayFamily: 4 | 6;
  /** Of the outer header: always the same, or the inner packet's. */
  readonly dscp: number | 'copy';
  /** What goes beside datagrams, other than SentControls; `view` is of the arena. */
  readonly controls?: ((view: DataView) => ControlWriter) | undefined;
  /** Whether to use UDP_SEGMENT. */
  readonly segmentation: boolean;
  /** UDP_SEGMENT turned out not to work here and is off from now on. */
  readonly onSegmentationOff: () => void;
}

export class SendQueue {
  readonly #parts: SendQueueParts;
  readonly #arena: OutboundArena;
  readonly #view: DataView;
  readonly #encloser: Encloser;
  readonly #headerBytes: number;
  readonly #socket: UnderlaySocket;
  readonly #vteps: VtepTable;
  readonly #counters: WorkerCounters;
  readonly #pathMtu: PathMtu;
  readonly #turn: Turn;
  readonly #controls: ControlWriter;
  /** What every outer traffic class has, and which bits of the inner one it has besides. */
  readonly #ownClass: number;
  readonly #copiedBits: number;
  #segmentation: boolean;
  /** Groups in a row that were refused with no reason that showed. */
  #unexplainedRefusals = 0;
  /** What the socket was told last. */
  #allowsFragments = false;

  // By datagram: bytes on the wire behind UDP, those of its inner packet, the VTEP, the inner packet it was made from.
  readonly #bytes = new Int32Array(MAX_DATAGRAMS);
  readonly #innerBytes = new Int32Array(MAX_DATAGRAMS);
  readonly #vtep = new Int32Array(MAX_DATAGRAMS);
  readonly #origin = new Int32Array(MAX_DATAGRAMS);
  /** 1: over the path MTU, and the inner packet allows outer fragments. */
  readonly #fragment = new Uint8Array(MAX_DATAGRAMS);
  /** The outer one. Its codepoint is the inner packet's, unless the peer would lose a mark (RFC 6040, section 4.1). */
  readonly #class = new Uint8Array(MAX_DATAGRAMS);
  #count = 0;
  #queuedBytes = 0;
  /** Datagrams before this one go out one by one: the kernel refused them as a group. */
  #singlesUntil = 0;
  /** The packet that was answered with "too big" last: its other segments need no answer of their own. */
  #answeredOrigin = -1;

  // By message of the vector: its first datagram and how many it has.
  readonly #first = new Int32Array(MAX_MESSAGES);
  readonly #size = new Int32Array(MAX_MESSAGES);

  constructor(parts: SendQueueParts) {
    this.#parts = parts;
    this.#arena = parts.arena;
    this.#view = parts.arena.view;
    this.#encloser = parts.encloser;
    this.#headerBytes = parts.encloser.form.headerBytes;
    this.#socket = parts.socket;
    this.#vteps = parts.vteps;
    this.#counters = parts.counters;
    this.#pathMtu = parts.pathMtu;
    this.#turn = parts.turn;
    this.#controls =
      parts.controls?.(parts.arena.view) ?? new SentControls(parts.arena.view, parts.underlayFamily);
    this.#ownClass = parts.dscp === 'copy' ? 0 : parts.dscp << DSCP_SHIFT;
    this.#copiedBits = parts.dscp === 'copy' ? ~ECN_MASK & 0xff : 0;
    this.#segmentation = parts.segmentation;
    // A packet path before this one may have left it otherwise.
    this.#socket.allowFragmentation(false);
  }

  get isFull(): boolean {
    return this.#count === MAX_DATAGRAMS;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** Offset of the header slot of the datagram that will be added next. */
  get headerSlot(): number {
    return this.#arena.header(this.#count);
  }

  /**
   * Adds a datagram to `vtep`: `headBytes` of `headerSlot`, which the caller has written, then `tailBytes` at
   * `tail`. It stands for the inner packet (or a segment of the superpacket) at `origin`. There must be room
   * (`isFull`).
   */
  add(
    vtep: number,
    origin: number,
    headBytes: number,
    tail: number,
    tailBytes: number,
    fragment: boolean,
  ): void {
    const datagram = this.#count++;
    this.#bytes[datagram] = this.#encloser.add(datagram, vtep, headBytes, tail, tailBytes);
    this.#innerBytes[datagram] = headBytes + tailBytes - this.#headerBytes;
    this.#vtep[datagram] = vtep;
    this.#origin[datagram] = origin;
    this.#fragment[datagram] = fragment ? 1 : 0;
    const copied = this.#vteps.losesMarks(vtep) ? this.#copiedBits : this.#copiedBits | ECN_MASK;
    this.#class[datagram] = this.#ownClass | (trafficClassOf(this.#view, origin) & copied);
    this.#queuedBytes += headBytes + tailBytes;
  }

  /** Sends all that waits; the arena's packets are free after that. */
  flush(): void {
    this.#singlesUntil = 0;
    this.#answeredOrigin = -1;
    this.#encloser.seal(this.#count);
    let next = 0;
    while (next < this.#count) next = this.#sendFrom(next);
    this.#count = 0;
    this.#queuedBytes = 0;
  }

  /** Groups datagrams from `start` on into messages and sends them; returns the first that is not dealt with. */
  #sendFrom(start: number): number {
    const verdict = this.#encloser.sealed(start);
    if (verdict !== PASSED) {
      if (verdict >= 0) this.#drop(start, verdict as DropReason);
      return start + 1;
    }
    if (start < this.#singlesUntil && this.#isKnownTooBig(start)) return this.#tooBig(start);
    this.#allowFragments(this.#fragment[start] === 1);
    const messages = this.#group(start);
    let message = 0;
    while (message < messages) {
      const vector = this.#arena.arena.address(this.#arena.message(message));
      const sent = this.#socket.send(vector, messages - message);
      if (sent > 0) {
        for (const end = message + sent; message < end; message++) this.#sentMessage(message);
      } else if (sent !== -EINTR && !(sent === -EAGAIN && this.#turn.waitForRoom())) {
        return this.#refused(message, -sent);
      }
    }
    return this.#first[messages - 1]! + this.#size[messages - 1]!;
  }

  /** Its group was refused, and it is over what the path is known to carry: no need to have it refused again. */
  #isKnownTooBig(datagram: number): boolean {
    return (
      this.#fragment[datagram] === 0 && this.#innerBytes[datagram]! > this.#vteps.mtu(this.#vtep[datagram]!)
    );
  }

  /**
   * Outer fragments cost speed, but not the packet its life. The socket is told only where it changes. Should it
   * refuse to listen, the kernel refuses the datagrams, or divides more than it has to.
   */
  #allowFragments(allowed: boolean): void {
    if (allowed !== this.#allowsFragments && this.#socket.allowFragmentation(allowed))
      this.#allowsFragments = allowed;
  }

  /** Messages that may leave in one call: all of them may be fragmented, or none. */
  #group(start: number): number {
    const fragment = this.#fragment[start]!;
    let messages = 0;
    let datagram = start;
    while (
      messages < MAX_MESSAGES &&
      datagram < this.#count &&
      this.#fragment[datagram] === fragment &&
      this.#encloser.sealed(datagram) === PASSED
    ) {
      const size = this.#groupSize(datagram);
      this.#writeMessage(messages, datagram, size);
      datagram += size;
      messages++;
    }
    return messages;
  }

  /** How many datagrams from `start` on can leave in one send: one size, but for a shorter last one. */
  #groupSize(start: number): number {
    if (!this.#segmentation || start < this.#singlesUntil || this.#fragment[start] === 1) return 1;
    const segmentBytes = this.#bytes[start]!;
    const vtep = this.#vtep[start]!;
    const trafficClass = this.#class[start]!;
    const isSingle = this.#vteps.isSentSingly(vtep);
    if ((isSingle && !this.#isExempt(start)) || this.#isOwnProbe(start)) return 1;
    const limit = Math.min(this.#count, start + MAX_SEGMENTS_PER_SEND);
    let total = segmentBytes;
    let end = start + 1;
    while (
      end < limit &&
      this.#vtep[end] === vtep &&
      this.#class[end] === trafficClass &&
      this.#fragment[end] === 0
    ) {
      const bytes = this.#bytes[end]!;
      total += bytes;
      if (bytes > segmentBytes || total > MAX_SEND_BYTES) break;
      if (isSingle && !this.#isExempt(end)) break;
      if (this.#origin[end] !== this.#origin[end - 1] && this.#isOwnProbe(end)) break;
      end++;
      if (bytes < segmentBytes) break;
    }
    return end - start;
  }

  /** Whether it leaves in groups also where single datagrams are sent. */
  #isExempt(datagram: number): boolean {
    return this.#vteps.groupExemption.has(this.#view, this.#origin[datagram]!);
  }

  /**
   * Probes of the path leave alone: a link between virtual machines or containers drops a group as a whole if one of its
   * datagrams is too long.
   */
  #isOwnProbe(datagram: number): boolean {
    return this.#vteps.ownProbes.has(this.#view, this.#origin[datagram]!, this.#innerBytes[datagram]!);
  }

  #writeMessage(message: number, datagram: number, size: number): void {
    const view = this.#view;
    const at = this.#arena.message(message);
    this.#first[message] = datagram;
    this.#size[message] = size;
    this.#arena.arena.setWord(at + MSGHDR.name, this.#vteps.sockaddr(this.#vtep[datagram]!));
    view.setUint32(at + MSGHDR.nameLength, this.#vteps.sockaddrBytes, true);
    this.#encloser.gather(message, datagram, size);
    const segmentBytes = size > 1 ? this.#bytes[datagram]! : 0;
    const controls = this.#controls.write(
      this.#arena.control(message),
      this.#vtep[datagram]!,
      segmentBytes,
      this.#class[datagram]!,
    );
    view.setUint32(at + MSGHDR.controlLength, controls, true);
  }

  #sentMessage(message: number): void {
    const first = this.#first[message]!;
    const size = this.#size[message]!;
    if (size > 1) {
      this.#unexplainedRefusals = 0;
      this.#counters.group(this.#vtep[first]!, size);
    }
    let innerBytes = 0;
    for (let i = first; i < first + size; i++) innerBytes += this.#innerBytes[i]!;
    this.#counters.outbound(this.#vtep[first]!, size, innerBytes);
  }

  /** The kernel did not take `message`; returns the datagram to go on with. */
  #refused(message: number, errno: number): number {
    const first = this.#first[message]!;
    const size = this.#size[message]!;
    if (this.#controls.refused?.(this.#vtep[first]!, errno) === true) return first;
    if (size > 1) {
      // EIO: the route's device cannot do checksums, and so no segmentation (udp_send_skb). EINVAL, EMSGSIZE: a
      // segment is over the path MTU; sent one by one, each will show.
      if (errno === EIO) return this.#endSegmentation(first);
      if (errno === EINVAL || errno === EMSGSIZE) {
        if (++this.#unexplainedRefusals > MAX_UNEXPLAINED_REFUSALS) return this.#endSegmentation(first);
        this.#singlesUntil = first + size;
        return first;
      }
    } else {
      this.#unexplainedRefusals = 0;
      if (errno === EMSGSIZE && this.#fragment[first] === 0) return this.#tooBig(first);
    }
    for (let i = first; i < first + size; i++) this.#drop(i, DROP.outboundSendFailed);
    return first + size;
  }

  #endSegmentation(next: number): number {
    this.#segmentation = false;
    this.#parts.onSegmentationOff();
    return next;
  }

  #tooBig(datagram: number): number {
    const vtep = this.#vtep[datagram]!;
    const origin = this.#origin[datagram]!;
    const innerBytes = this.#innerBytes[datagram]!;
    if (innerBytes <= this.#vteps.mtu(vtep)) this.#pathMtu.learn(vtep, innerBytes);
    if (this.#pathMtu.mayFragment(origin, innerBytes)) {
      this.#fragment[datagram] = 1;
      return datagram;
    }
    // Counted first: who sees the answer sees the count.
    this.#drop(datagram, DROP.outboundTooBig);
    if (origin !== this.#answeredOrigin) this.#pathMtu.answer(origin, vtep);
    this.#answeredOrigin = origin;
    return datagram + 1;
  }

  /** Of a segment the superpacket's headers are kept. */
  #drop(datagram: number, reason: DropReason): void {
    this.#counters.drop(reason);
    const memory = this.#arena.arena.bytes;
    const innerBytes = this.#innerBytes[datagram]!;
    this.#parts.drops?.packet(DROPPED.outbound, reason, memory, this.#origin[datagram]!, innerBytes);
  }
}
