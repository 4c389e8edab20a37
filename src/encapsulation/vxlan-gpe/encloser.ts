/** Outbound: eight bytes before the packet, which leaves from where it was read. */
import { PASSED, type Verdict } from '../../datapath/drops.ts';
import type { EncapsulationForm, Encloser } from '../../datapath/encapsulation.ts';
import type { OutboundArena } from '../../datapath/outbound-arena.ts';
import {
  CHECKSUM_OFFLOAD_FLAG,
  CHECKSUM_OFFLOAD_MAX_START,
  checksumOffloadByte,
  FIRST_WORD_IPV4,
  FIRST_WORD_IPV6,
  vniWord,
  writeVxlanGpe,
} from '../../wire/vxlan-gpe.ts';

export class VxlanGpeEncloser implements Encloser {
  readonly form: EncapsulationForm;
  readonly maxPartialStart = CHECKSUM_OFFLOAD_MAX_START;
  readonly #arena: OutboundArena;
  readonly #view: DataView;
  readonly #vniWord: number;

  constructor(arena: OutboundArena, vni: number, form: EncapsulationForm) {
    this.form = form;
    this.#arena = arena;
    this.#view = arena.view;
    this.#vniWord = vniWord(vni);
  }

  writeHeader(at: number, _vtep: number, isIpv4: boolean, partialStart: number, isUdp: boolean): void {
    let firstWord = isIpv4 ? FIRST_WORD_IPV4 : FIRST_WORD_IPV6;
    let secondWord = this.#vniWord;
    if (partialStart !== 0) {
      firstWord |= CHECKSUM_OFFLOAD_FLAG;
      secondWord |= checksumOffloadByte(partialStart, isUdp);
    }
    writeVxlanGpe(this.#view, at, firstWord, secondWord);
  }

  add(datagram: number, _vtep: number, headBytes: number, tail: number, tailBytes: number): number {
    this.#arena.setPieces(datagram, headBytes, tail, tailBytes);
    return headBytes + tailBytes;
  }

  /** It is clear text. */
  seal(_count: number): void {}

  sealed(): Verdict {
    return PASSED;
  }

  gather(message: number, first: number, size: number): void {
    this.#arena.gatherPieces(message, first, size);
  }
}
