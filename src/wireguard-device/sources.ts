/**
 * From which of this host's addresses each peer is answered: the one that the peer sent to last, so that an answer comes from
 * where it is expected on a host with several. It is asked for with each message (IPV6_PKTINFO in ipv6(7); IPv4 as mapped),
 * and forgotten where the kernel refuses it, as after an address was taken away, and where the way to the peer is another.
 */
import {
  type ControlWriter,
  PACKET_INFO_BYTES,
  writeSegmentSize,
  writeSourceAddress,
  writeTrafficClass,
} from '../datapath/control-messages.ts';
import { MAPPED_WORD } from '../datapath/forwarding.ts';
import { EAGAIN, EIO, EMSGSIZE, IP_TOS, IPPROTO_IP, IPPROTO_IPV6, IPV6_TCLASS } from '../sys/constants.ts';

/** An in6_pktinfo, aligned. */
const STRIDE = 32;
const INTERFACE = 16;
/** Nothing that another address would mend. */
const UNRELATED = new Set<number>([EAGAIN, EIO, EMSGSIZE]);

export interface Source {
  /** 16 bytes. */
  readonly address: Uint8Array;
  /** What it came in by. */
  readonly interface: number;
}

export class Sources {
  #view = new DataView(new ArrayBuffer(0));
  #isKnown = new Uint8Array(0);
  #isIpv4 = new Uint8Array(0);

  /** There are slots below `count`; what is known stays. */
  reserve(count: number): void {
    if (count <= this.#isKnown.length) return;
    const bytes = new Uint8Array(count * STRIDE);
    bytes.set(new Uint8Array(this.#view.buffer));
    this.#view = new DataView(bytes.buffer);
    this.#isKnown = grown(this.#isKnown, count);
    this.#isIpv4 = grown(this.#isIpv4, count);
  }

  /** A peer's own address is of that family, IPv4 as mapped. */
  setFamily(slot: number, isIpv4: boolean): void {
    this.#isIpv4[slot] = isIpv4 ? 1 : 0;
  }

  /** Something that is surely a peer's came to the address of the in6_pktinfo at `at`. */
  learn(slot: number, view: DataView, at: number): void {
    const own = slot * STRIDE;
    let isSame = this.#isKnown[slot] === 1;
    for (let i = 0; isSame && i < PACKET_INFO_BYTES; i += 4)
      isSame = this.#view.getInt32(own + i) === view.getInt32(at + i);
    if (isSame) return;
    for (let i = 0; i < PACKET_INFO_BYTES; i += 4) this.#view.setInt32(own + i, view.getInt32(at + i));
    this.#isKnown[slot] = 1;
  }

  forget(slot: number): void {
    this.#isKnown[slot] = 0;
  }

  of(slot: number): Source | undefined {
    if (this.#isKnown[slot] !== 1) return undefined;
    const address = new Uint8Array(this.#view.buffer.slice(slot * STRIDE, slot * STRIDE + INTERFACE));
    return { address, interface: this.#view.getInt32(slot * STRIDE + INTERFACE, true) };
  }

  /** A message from it was refused with `errno`: true if it is forgotten, and another try may pass. */
  refused(slot: number, errno: number): boolean {
    if (this.#isKnown[slot] !== 1 || UNRELATED.has(errno)) return false;
    this.forget(slot);
    return true;
  }

  /** Writes at `at` of `view` where a message to a peer is to come from, if that is known; returns where that ends. */
  write(view: DataView, at: number, slot: number): number {
    if (this.#isKnown[slot] !== 1) return at;
    const own = slot * STRIDE;
    // One of the other family: the peer has moved to another since.
    const isIpv4 = this.#view.getInt32(own + 8) === MAPPED_WORD && this.#view.getInt32(own) === 0;
    if (isIpv4 !== (this.#isIpv4[slot] === 1)) return at;
    return writeSourceAddress(view, at, this.#view, own);
  }

  /** For the packet path, whose messages lie in `view`. */
  controls(view: DataView): ControlWriter {
    return {
      write: (at, slot, segmentBytes, trafficClass) => {
        let end = at;
        if (segmentBytes !== 0) end = writeSegmentSize(view, end, segmentBytes);
        if (trafficClass !== 0) {
          const isIpv4 = this.#isIpv4[slot] === 1;
          const [level, type] = isIpv4 ? [IPPROTO_IP, IP_TOS] : [IPPROTO_IPV6, IPV6_TCLASS];
          end = writeTrafficClass(view, end, level, type, trafficClass);
        }
        return this.write(view, end, slot) - at;
      },
      refused: (slot, errno) => this.refused(slot, errno),
    };
  }
}

function grown(bytes: Uint8Array, count: number): Uint8Array<ArrayBuffer> {
  const more = new Uint8Array(count);
  more.set(bytes);
  return more;
}
