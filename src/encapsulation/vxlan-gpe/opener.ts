/** Inbound: the outer source is the address of a known VTEP; then the header's flags, VNI and next protocol. */

import { DROP, PASSED, type Verdict } from '../../datapath/drops.ts';
import type { Opener } from '../../datapath/encapsulation.ts';
import { UNKNOWN_ADDRESS, type VtepTable } from '../../datapath/vtep-table.ts';
import { SOCKADDR_IN, SOCKADDR_IN6 } from '../../sys/structs.ts';
import {
  CHECKSUM_OFFLOAD_FLAG,
  checksumOffloadIsUdp,
  checksumOffloadStart,
  FIRST_WORD_IPV4,
  FIRST_WORD_IPV6,
  VXLAN_GPE_BYTES,
  vniWord,
  vxlanGpeFirstWord,
  vxlanGpeFlagsAreValid,
  vxlanGpeSecondWord,
} from '../../wire/vxlan-gpe.ts';
import type { VxlanGpeParts } from './vxlan-gpe.ts';

export class VxlanGpeOpener implements Opener {
  packet = 0;
  bytes = 0;
  isIpv4 = true;
  partialStart = 0;
  partialIsUdp = false;
  /** The number of an address, see VtepTable.findAddress. */
  sender = 0;
  readonly #view: DataView;
  readonly #vteps: VtepTable;
  readonly #vniWord: number;
  readonly #isIpv4Underlay: boolean;

  constructor(view: DataView, { vni, vteps, underlayFamily }: VxlanGpeParts) {
    this.#view = view;
    this.#vteps = vteps;
    this.#vniWord = vniWord(vni);
    this.#isIpv4Underlay = underlayFamily === 4;
  }

  source(sockaddr: number): number {
    const address = this.#address(sockaddr);
    return address === UNKNOWN_ADDRESS ? ~DROP.inboundUnknownSource : address;
  }

  open(datagram: number, datagramBytes: number, source: number): Verdict {
    if (datagramBytes < VXLAN_GPE_BYTES) return DROP.inboundTruncated;
    const firstWord = vxlanGpeFirstWord(this.#view, datagram);
    const secondWord = vxlanGpeSecondWord(this.#view, datagram);
    const isPartial = (firstWord & CHECKSUM_OFFLOAD_FLAG) !== 0;
    const plainFirstWord = firstWord & ~CHECKSUM_OFFLOAD_FLAG;
    // The last byte describes a partial checksum; without one it is reserved.
    const plainSecondWord = isPartial ? secondWord & ~0xff : secondWord;
    if (!vxlanGpeFlagsAreValid(plainFirstWord)) return DROP.inboundBadHeader;
    if (plainSecondWord !== this.#vniWord) {
      return (plainSecondWord & 0xff) !== 0 ? DROP.inboundBadHeader : DROP.inboundWrongVni;
    }
    this.partialStart = isPartial ? checksumOffloadStart(secondWord) : 0;
    this.partialIsUdp = isPartial && checksumOffloadIsUdp(secondWord);
    if (isPartial && this.partialStart === 0) return DROP.inboundBadHeader;
    this.isIpv4 = plainFirstWord === FIRST_WORD_IPV4;
    if (!this.isIpv4 && plainFirstWord !== FIRST_WORD_IPV6) return DROP.inboundUnknownProtocol;
    this.packet = datagram + VXLAN_GPE_BYTES;
    this.bytes = datagramBytes - VXLAN_GPE_BYTES;
    this.sender = source;
    return PASSED;
  }

  isFrom(vtep: number, sender: number): boolean {
    return this.#vteps.addressOf(vtep) === sender;
  }

  #address(sockaddr: number): number {
    const view = this.#view;
    if (this.#isIpv4Underlay) return this.#vteps.findIpv4(view.getInt32(sockaddr + SOCKADDR_IN.address));
    const at = sockaddr + SOCKADDR_IN6.address;
    return this.#vteps.findAddress(
      view.getInt32(at),
      view.getInt32(at + 4),
      view.getInt32(at + 8),
      view.getInt32(at + 12),
    );
  }
}
