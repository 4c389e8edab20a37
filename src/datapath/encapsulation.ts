/**
 * An encapsulation, as the packet path knows one: how an inner packet becomes the payload of an outer UDP datagram and
 * back. src/encapsulation has them; one is chosen per agent, so that each call below goes to one class and V8 can inline it.
 * Queue, segmenter and path MTU count inner bytes and know no encapsulation by name.
 *
 * What differs, and so belongs to the encapsulation and to nothing else:
 *
 *   who sent a datagram   its outer source address says it (vxlan-gpe), or what the datagram holds once it is opened
 *   memory                clear text leaves as slices from where it lies; what is sealed is one piece of memory, with
 *                         the datagrams of a group one behind the other
 *   when it is sealed     in `seal`, for all that leaves at once: so nonces are taken once per flush, as many as are sent
 *   checksums             one that is still partial can be described in the header, or not
 *
 * Timers are no part of it. A thread of the packet path has none: an encapsulation that needs some keeps them on the control
 * thread, which reads in shared memory what the path has done.
 */

import type { Arena } from '../sys/arena.ts';
import type { Verdict } from './drops.ts';
import type { OutboundArena } from './outbound-arena.ts';

/** What holds for all datagrams. */
export interface EncapsulationForm {
  /** Before the inner packet; a multiple of four. */
  readonly headerBytes: number;
  /** Header and trailer of an inner packet as long as the MTU; a shorter one may be padded up to that. */
  readonly addedBytes: number;
  /**
   * All datagrams leave from the port that this node announces. Else each worker has a port of its own, which lets the
   * way and the peer tell flows apart (RFC 7348, section 4.1: source ports vary).
   */
  readonly sendsFromOnePort: boolean;
  /** Some datagrams are no packets but agree on keys: they come to a socket and a thread of their own. */
  readonly hasHandshakes: boolean;
}

export interface Encapsulation {
  readonly form: EncapsulationForm;
  encloser(arena: OutboundArena): Encloser;
  /** `memory` is what datagrams are received into. */
  opener(memory: Arena): Opener;
  /** The forwarding state is another, or the control thread has woken this one. */
  refresh(): void;
}

/** Outbound. Datagrams are numbered from 0 on, and again after each flush. */
export interface Encloser {
  readonly form: EncapsulationForm;
  /** The header can describe a partial checksum whose transport header begins at most here; 0: none. */
  readonly maxPartialStart: number;
  /**
   * Writes the header of a packet to `vtep` at `at`. `partialStart`: where the transport header with a partial checksum
   * begins, from the inner IP header on, even; 0 where the checksum is complete.
   */
  writeHeader(at: number, vtep: number, isIpv4: boolean, partialStart: number, isUdp: boolean): void;
  /**
   * Takes what the next datagram is made of: `headBytes` of its header slot (the header, and headers of the inner packet
   * that are not where it was read), then `tailBytes` at `tail`. Returns how many bytes it will have.
   */
  add(datagram: number, vtep: number, headBytes: number, tail: number, tailBytes: number): number;
  /** The `count` datagrams that were added are about to leave. */
  seal(count: number): void;
  /**
   * PASSED, or why a datagram cannot leave after all, which `seal` has found: there are no keys for its VTEP. The same for
   * all to one VTEP.
   */
  sealed(datagram: number): Verdict;
  /** Makes mmsghdr `message` carry `size` datagrams from `first` on. */
  gather(message: number, first: number, size: number): void;
}

/** Inbound. The fields say what `open` found; they hold until it is called again. */
export interface Opener {
  /**
   * Who sent a message, as far as its socket address at `sockaddr` tells; or `~reason` where nobody who may send has that
   * address. `packetInfo` is where the address that it came to stands, as in ReceivedControls.
   */
  source(sockaddr: number, packetInfo: number): number;
  /**
   * Opens a datagram in place. PASSED; or why it is dropped; or CONSUMED: it was no packet (a handshake, a sign of life), and
   * whoever it is for has it.
   */
  open(datagram: number, datagramBytes: number, source: number): Verdict;
  /** Offset of the inner packet, and the bytes from there on that may be its. Nothing of it has been looked at. */
  readonly packet: number;
  readonly bytes: number;
  readonly isIpv4: boolean;
  /** As in Encloser.writeHeader; 0: the checksum is complete. */
  readonly partialStart: number;
  readonly partialIsUdp: boolean;
  /** A number of whoever sent it, to be asked about with `isFrom`. */
  readonly sender: number;
  /** Whether `vtep` is that sender, as long as the forwarding state stays what it is. */
  isFrom(vtep: number, sender: number): boolean;
}
