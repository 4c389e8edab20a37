/**
 * An encapsulation for tests that is in all respects what vxlan-gpe is not, and seals nothing really: padded and with a
 * trailer, one piece of memory for each send, numbered per flush, unable to describe a partial checksum, and with the sender
 * named in the datagram instead of known by its address.
 *
 *     | 4 (1) | zero (3) | VTEP (4) | counter (8) | packet, padded to 16 and XORed | sum of the sealed bytes (16) |
 */
import { CONSUMED, DROP, PASSED, type Verdict } from '../../src/datapath/drops.ts';
import type { Encapsulation, Encloser, Opener } from '../../src/datapath/encapsulation.ts';
import { MAX_DATAGRAMS, MAX_MESSAGES, type OutboundArena } from '../../src/datapath/outbound-arena.ts';
import { Arena } from '../../src/sys/arena.ts';
import { IOVEC, MSGHDR } from '../../src/sys/structs.ts';

const HEADER_BYTES = 16;
const TRAILER_BYTES = 16;
const TYPE = 4;
const PADDING = 16;

const form = {
  headerBytes: HEADER_BYTES,
  addedBytes: HEADER_BYTES + TRAILER_BYTES,
  sendsFromOnePort: true,
  hasHandshakes: false,
};

export class SealedEncapsulation implements Encapsulation {
  readonly form = form;
  /** How many datagrams each flush has sealed. */
  readonly flushes: number[] = [];
  /** VTEPs that there are no keys for. */
  readonly keyless = new Set<number>();
  /** The VTEPs whose signs of life, datagrams without a packet, have come. */
  readonly signs: number[] = [];

  encloser(arena: OutboundArena): Encloser {
    return new SealedEncloser(arena, this);
  }

  opener(memory: Arena): Opener {
    return new SealedOpener(memory.view, this.signs);
  }

  refresh(): void {}
}

/** The datagram of `packet` to or from `vtep`. */
export function seal(packet: Uint8Array, vtep: number, counter = 0n): Buffer {
  const datagram = Buffer.alloc(HEADER_BYTES + paddedBytes(packet.length) + TRAILER_BYTES);
  datagram.writeUInt8(TYPE, 0);
  datagram.writeUInt32LE(vtep, 4);
  datagram.writeBigUInt64LE(counter, 8);
  datagram.set(packet, HEADER_BYTES);
  const end = datagram.length - TRAILER_BYTES;
  exchange(datagram, HEADER_BYTES, end);
  datagram.writeUInt32LE(sum(datagram, HEADER_BYTES, end), end);
  return datagram;
}

/** The VTEP, the counter and the packet of a datagram. */
export function unseal(datagram: Uint8Array): { vtep: number; counter: bigint; packet: Buffer } {
  const copy = Buffer.from(datagram);
  exchange(copy, HEADER_BYTES, copy.length - TRAILER_BYTES);
  const padded = copy.subarray(HEADER_BYTES, copy.length - TRAILER_BYTES);
  const bytes = padded[0]! >> 4 === 4 ? padded.readUInt16BE(2) : 40 + padded.readUInt16BE(4);
  return {
    vtep: copy.readUInt32LE(4),
    counter: copy.readBigUInt64LE(8),
    packet: padded.subarray(0, bytes),
  };
}

function paddedBytes(bytes: number): number {
  return Math.ceil(bytes / PADDING) * PADDING;
}

function exchange(bytes: Uint8Array, start: number, end: number): void {
  for (let i = start; i < end; i++) bytes[i]! ^= 0xa5;
}

function sum(bytes: Uint8Array, start: number, end: number): number {
  let total = 1;
  for (let i = start; i < end; i++) total = (Math.imul(total, 31) + bytes[i]!) >>> 0;
  return total;
}

class SealedEncloser implements Encloser {
  readonly form = form;
  readonly maxPartialStart = 0;
  readonly #arena: OutboundArena;
  readonly #encapsulation: SealedEncapsulation;
  readonly #output = new Arena(1 << 20);
  readonly #iovecs = new Arena(MAX_MESSAGES * IOVEC.bytes);
  readonly #datagrams: { vtep: number; headBytes: number; tail: number; tailBytes: number; at: number }[] =
    [];
  #end = 0;
  #counter = 0n;

  constructor(arena: OutboundArena, encapsulation: SealedEncapsulation) {
    this.#arena = arena;
    this.#encapsulation = encapsulation;
  }

  writeHeader(at: number, vtep: number): void {
    this.#arena.view.setUint32(at, TYPE, true);
    this.#arena.view.setUint32(at + 4, vtep, true);
  }

  add(datagram: number, vtep: number, headBytes: number, tail: number, tailBytes: number): number {
    if (datagram === 0) this.#end = 0;
    if (datagram >= MAX_DATAGRAMS) throw new Error(`there is no datagram ${datagram}`);
    const bytes = HEADER_BYTES + paddedBytes(headBytes + tailBytes - HEADER_BYTES) + TRAILER_BYTES;
    this.#datagrams[datagram] = { vtep, headBytes, tail, tailBytes, at: this.#end };
    this.#end += bytes;
    return bytes;
  }

  seal(count: number): void {
    const packets = this.#arena.arena.bytes;
    let sealed = 0;
    for (const [i, { vtep, headBytes, tail, tailBytes, at }] of this.#datagrams.slice(0, count).entries()) {
      if (this.sealed(i) !== PASSED) continue;
      sealed++;
      const head = this.#arena.header(i);
      const inner = [
        packets.subarray(head + HEADER_BYTES, head + headBytes),
        packets.subarray(tail, tail + tailBytes),
      ];
      this.#output.bytes.set(seal(Buffer.concat(inner), vtep, this.#counter++), at);
    }
    this.#encapsulation.flushes.push(sealed);
  }

  sealed(datagram: number): Verdict {
    const isKeyless = this.#encapsulation.keyless.has(this.#datagrams[datagram]!.vtep);
    return isKeyless ? DROP.outboundSendFailed : PASSED;
  }

  gather(message: number, first: number, size: number): void {
    const { at } = this.#datagrams[first]!;
    const end = this.#datagrams[first + size - 1]!;
    const endAt = end.at + form.addedBytes + paddedBytes(end.headBytes + end.tailBytes - HEADER_BYTES);
    const iovec = message * IOVEC.bytes;
    this.#iovecs.setWord(iovec + IOVEC.base, this.#output.address(at));
    this.#iovecs.setWord(iovec + IOVEC.length, endAt - at);
    const header = this.#arena.message(message);
    this.#arena.arena.setWord(header + MSGHDR.iov, this.#iovecs.address(iovec));
    this.#arena.view.setUint32(header + MSGHDR.iovCount, 1, true);
  }
}

class SealedOpener implements Opener {
  packet = 0;
  bytes = 0;
  isIpv4 = true;
  readonly partialStart = 0;
  readonly partialIsUdp = false;
  sender = 0;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #signs: number[];

  constructor(view: DataView, signs: number[]) {
    this.#signs = signs;
    this.#view = view;
    this.#bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  }

  /** Whoever: the datagram says who. */
  source(): number {
    return 0;
  }

  open(datagram: number, datagramBytes: number): Verdict {
    if (datagramBytes < HEADER_BYTES + TRAILER_BYTES) return DROP.inboundTruncated;
    if (this.#view.getUint32(datagram, true) !== TYPE) return DROP.inboundBadHeader;
    this.packet = datagram + HEADER_BYTES;
    this.bytes = datagramBytes - HEADER_BYTES - TRAILER_BYTES;
    const end = this.packet + this.bytes;
    if (this.#view.getUint32(end, true) !== sum(this.#bytes, this.packet, end)) return DROP.inboundBadHeader;
    exchange(this.#bytes, this.packet, end);
    if (this.bytes === 0) {
      this.#signs.push(this.#view.getUint32(datagram + 4, true));
      return CONSUMED;
    }
    this.isIpv4 = this.#bytes[this.packet]! >> 4 === 4;
    this.sender = this.#view.getUint32(datagram + 4, true);
    return PASSED;
  }

  isFrom(vtep: number, sender: number): boolean {
    return vtep === sender;
  }
}
