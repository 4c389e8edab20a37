/**
 * Outbound. A datagram to a peer without keys is copied into one piece of memory; the other ones are the sealing encloser's,
 * which numbers those that it gets by itself.
 */
import { PASSED, type Verdict } from '../../datapath/drops.ts';
import type { EncapsulationForm, Encloser } from '../../datapath/encapsulation.ts';
import {
  MAX_DATAGRAMS,
  MAX_HEADER_BYTES,
  MAX_MESSAGES,
  type OutboundArena,
} from '../../datapath/outbound-arena.ts';
import type { VtepTable } from '../../datapath/vtep-table.ts';
import { Arena } from '../../sys/arena.ts';
import { IOVEC, MSGHDR } from '../../sys/structs.ts';
import {
  FIRST_WORD_IPV4,
  FIRST_WORD_IPV6,
  VXLAN_GPE_BYTES,
  vniWord,
  writeVxlanGpe,
} from '../../wire/vxlan-gpe.ts';
import type { MovingParts } from './moving.ts';

/** All packets that were read, and for each datagram its own headers. */
const OUTPUT_BYTES = 4 * 65_536 + MAX_DATAGRAMS * (MAX_HEADER_BYTES + 64);

export class MovingEncloser implements Encloser {
  readonly form: EncapsulationForm;
  readonly maxPartialStart = 0;
  readonly #arena: OutboundArena;
  readonly #sealed: Encloser;
  readonly #vteps: VtepTable;
  readonly #vniWord: number;
  readonly #output = new Arena(OUTPUT_BYTES);
  readonly #iovecs = new Arena(MAX_MESSAGES * IOVEC.bytes);
  /** By datagram: its number with the sealing encloser, or -1. */
  readonly #number = new Int32Array(MAX_DATAGRAMS);
  /** Where one in clear text lies in the output, and how long it is. */
  readonly #at = new Int32Array(MAX_DATAGRAMS);
  readonly #bytes = new Int32Array(MAX_DATAGRAMS);
  #sealedCount = 0;
  #end = 0;

  constructor(arena: OutboundArena, sealed: Encloser, { vni, vteps }: MovingParts) {
    this.form = sealed.form;
    this.#arena = arena;
    this.#sealed = sealed;
    this.#vteps = vteps;
    this.#vniWord = vniWord(vni);
  }

  /** All that is in it is known when it is added. */
  writeHeader(): void {}

  add(datagram: number, vtep: number, headBytes: number, tail: number, tailBytes: number): number {
    if (datagram === 0) {
      this.#sealedCount = 0;
      this.#end = 0;
    }
    if (this.#vteps.isSealed(vtep)) {
      const number = this.#sealedCount++;
      this.#number[datagram] = number;
      this.#moveHead(datagram, number, headBytes);
      return this.#sealed.add(number, vtep, headBytes, tail, tailBytes);
    }
    const { bytes, view } = this.#arena.arena;
    const head = this.#arena.header(datagram) + this.form.headerBytes;
    const innerHead = headBytes - this.form.headerBytes;
    const at = this.#end;
    const packet = at + VXLAN_GPE_BYTES;
    this.#output.bytes.set(bytes.subarray(head, head + innerHead), packet);
    this.#output.bytes.set(bytes.subarray(tail, tail + tailBytes), packet + innerHead);
    const isIpv4 = view.getUint8(innerHead > 0 ? head : tail) >> 4 === 4;
    writeVxlanGpe(this.#output.view, at, isIpv4 ? FIRST_WORD_IPV4 : FIRST_WORD_IPV6, this.#vniWord);
    this.#number[datagram] = -1;
    this.#at[datagram] = at;
    this.#bytes[datagram] = VXLAN_GPE_BYTES + innerHead + tailBytes;
    this.#end += this.#bytes[datagram]!;
    return this.#bytes[datagram]!;
  }

  seal(_count: number): void {
    if (this.#sealedCount > 0) this.#sealed.seal(this.#sealedCount);
  }

  sealed(datagram: number): Verdict {
    const number = this.#number[datagram]!;
    return number < 0 ? PASSED : this.#sealed.sealed(number);
  }

  /** All of a message go to one VTEP, so they are of one kind, and behind each other there too. */
  gather(message: number, first: number, size: number): void {
    const number = this.#number[first]!;
    if (number >= 0) {
      this.#sealed.gather(message, number, size);
      return;
    }
    const last = first + size - 1;
    const iovec = message * IOVEC.bytes;
    this.#iovecs.setWord(iovec + IOVEC.base, this.#output.address(this.#at[first]!));
    this.#iovecs.setWord(iovec + IOVEC.length, this.#at[last]! + this.#bytes[last]! - this.#at[first]!);
    const header = this.#arena.message(message);
    this.#arena.arena.setWord(header + MSGHDR.iov, this.#iovecs.address(iovec));
    this.#arena.view.setUint32(header + MSGHDR.iovCount, 1, true);
  }

  /** The sealing encloser finds the headers of a segment in the slot of the number that it knows. */
  #moveHead(datagram: number, number: number, headBytes: number): void {
    if (number === datagram || headBytes === this.form.headerBytes) return;
    const from = this.#arena.header(datagram);
    this.#arena.arena.bytes.copyWithin(this.#arena.header(number), from, from + headBytes);
  }
}
