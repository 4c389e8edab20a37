/** Inbound: what the first byte says it is. Clear text of a peer that has keys is refused. */
import { DROP, PASSED, type Verdict } from '../../datapath/drops.ts';
import type { Opener } from '../../datapath/encapsulation.ts';
import type { VtepTable } from '../../datapath/vtep-table.ts';
import type { Arena } from '../../sys/arena.ts';

/** Flag I of VXLAN (RFC 7348), which all of them have. */
const FIRST_CLEAR = 8;

export class MovingOpener implements Opener {
  packet = 0;
  bytes = 0;
  isIpv4 = true;
  readonly partialStart = 0;
  readonly partialIsUdp = false;
  /** A VTEP, or `~` the number of an address. */
  sender = 0;
  readonly #view: DataView;
  readonly #sealed: Opener;
  readonly #clear: Opener;
  readonly #vteps: VtepTable;

  constructor(memory: Arena, sealed: Opener, clear: Opener, vteps: VtepTable) {
    this.#view = memory.view;
    this.#sealed = sealed;
    this.#clear = clear;
    this.#vteps = vteps;
  }

  source(sockaddr: number, packetInfo: number): number {
    return this.#sealed.source(sockaddr, packetInfo);
  }

  open(datagram: number, datagramBytes: number, source: number): Verdict {
    const isClear = datagramBytes > 0 && this.#view.getUint8(datagram) >= FIRST_CLEAR;
    const opener = isClear ? this.#clear : this.#sealed;
    let from = source;
    if (isClear) {
      from = this.#clear.source(source, 0);
      if (from < 0) return ~from as Verdict;
    }
    const verdict = opener.open(datagram, datagramBytes, from);
    // This node has announced that it takes none.
    if (verdict === PASSED && opener.partialStart !== 0) return DROP.inboundBadHeader;
    this.packet = opener.packet;
    this.bytes = opener.bytes;
    this.isIpv4 = opener.isIpv4;
    this.sender = isClear ? ~from : opener.sender;
    return verdict;
  }

  isFrom(vtep: number, sender: number): boolean {
    if (sender >= 0) return vtep === sender;
    return !this.#vteps.isSealed(vtep) && this.#vteps.addressOf(vtep) === ~sender;
  }
}
