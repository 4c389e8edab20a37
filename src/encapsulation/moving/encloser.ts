/**
 * Outbound. A datagram to a peer without keys is copied into one piece of memory; the other ones are the sealing encloser's,
 * which numbers those that it gets by itself.
 */
import { PASSED, type Verdict } from '../../datapath/drops.ts';
import type { EncapsulationForm, Encloser } from '../../datapath/encapsulation.ts';
import { MAX_DATAGRAMS, type OutboundArena } from '../../datapath/outbound-arena.ts';
import type { VtepTable } from '../../datapath/vtep-table.ts';
import {
  FIRST_WORD_IPV4,
  FIRST_WORD_IPV6,
  VXLAN_GPE_BYTES,
  vniWord,
  writeVxlanGpe,
} from '../../wire/vxlan-gpe.ts';
import { ContiguousOutput } from '../contiguous-output.ts';
import type { MovingParts } from './moving.ts';

export class MovingEncloser implements Encloser {
  readonly form: EncapsulationForm;
  readonly maxPartialStart = 0;
  readonly #arena: OutboundArena;
  readonly #sealed: Encloser;
  readonly #vteps: VtepTable;
  readonly #vniWord: number;
  readonly #clear: ContiguousOutput;
  /** By datagram: its number with the sealing encloser, or `~` its number among those in clear text. */
  readonly #number = new Int32Array(MAX_DATAGRAMS);
  #sealedCount = 0;
  #clearCount = 0;

  constructor(arena: OutboundArena, sealed: Encloser, { vni, vteps }: MovingParts) {
    this.form = sealed.form;
    this.#arena = arena;
    this.#sealed = sealed;
    this.#clear = new ContiguousOutput(arena);
    this.#vteps = vteps;
    this.#vniWord = vniWord(vni);
  }

  /** All that is in it is known when it is added. */
  writeHeader(): void {}

  add(datagram: number, vtep: number, headBytes: number, tail: number, tailBytes: number): number {
    if (datagram === 0) {
      this.#sealedCount = 0;
      this.#clearCount = 0;
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
    const number = this.#clearCount++;
    const datagramBytes = VXLAN_GPE_BYTES + innerHead + tailBytes;
    const at = this.#clear.place(number, datagramBytes);
    const output = this.#clear.memory;
    output.bytes.set(bytes.subarray(head, head + innerHead), at + VXLAN_GPE_BYTES);
    output.bytes.set(bytes.subarray(tail, tail + tailBytes), at + VXLAN_GPE_BYTES + innerHead);
    const isIpv4 = view.getUint8(innerHead > 0 ? head : tail) >> 4 === 4;
    writeVxlanGpe(output.view, at, isIpv4 ? FIRST_WORD_IPV4 : FIRST_WORD_IPV6, this.#vniWord);
    this.#number[datagram] = ~number;
    return datagramBytes;
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
    if (number >= 0) this.#sealed.gather(message, number, size);
    else this.#clear.gather(message, ~number, size);
  }

  /** The sealing encloser finds the headers of a segment in the slot of the number that it knows. */
  #moveHead(datagram: number, number: number, headBytes: number): void {
    if (number === datagram || headBytes === this.form.headerBytes) return;
    const from = this.#arena.header(datagram);
    this.#arena.arena.bytes.copyWithin(this.#arena.header(number), from, from + headBytes);
  }
}
