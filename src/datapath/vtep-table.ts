/**
 * The peers' tunnel endpoints as the packet path needs them: by index the socket address to send to and the
 * path MTU; by outer source address the check that a datagram comes from a peer at all.
 */
import { Arena } from '../sys/arena.ts';
import { SOCKADDR_STRIDE, writeSockaddr } from '../sys/sockaddr.ts';
import { SOCKADDR_IN, SOCKADDR_IN6 } from '../sys/structs.ts';
import {
  type ForwardingState,
  MAPPED_WORD,
  VTEP,
  VTEP_GUEST,
  VTEP_LOSES_MARKS,
  VTEP_PARTIAL_CHECKSUMS,
  VTEP_SEALED,
  VTEP_SENT_SINGLY,
  VTEP_WORDS,
} from './forwarding.ts';
import { GroupExemption } from './group-exemption.ts';
import { hashAddress } from './hash-address.ts';
import { OwnProbes } from './own-probes.ts';

/** No known VTEP has that address. */
export const UNKNOWN_ADDRESS = -1;

export class VtepTable {
  readonly sockaddrBytes: number;
  readonly ownProbes = new OwnProbes();
  readonly groupExemption = new GroupExemption();
  readonly #family: 4 | 6;
  #vteps: Int32Array = new Int32Array(0);
  #sockaddrs = new Arena(SOCKADDR_STRIDE);
  /** Inner bytes that fit the path to each VTEP. */
  #mtu = new Int32Array(0);
  /** Number of each VTEP's address: VTEPs on one address (ports differ) share it. */
  #addressOf = new Int32Array(0);
  /** Open addressing, at most half full: the number of an address plus one, or 0 for an empty slot. */
  #slots = new Int32Array(2);
  /** Four words per address number. */
  #addresses = new Int32Array(0);

  /** `family` of the underlay. */
  constructor(family: 4 | 6) {
    this.#family = family;
    this.sockaddrBytes = family === 4 ? SOCKADDR_IN.bytes : SOCKADDR_IN6.bytes;
  }

  /** Between bursts only: socket addresses move. */
  load(state: ForwardingState): void {
    this.ownProbes.load(state);
    const count = state.vteps.length / VTEP_WORDS;
    this.#vteps = state.vteps;
    this.groupExemption.load(state);
    this.#sockaddrs = new Arena(Math.max(1, count) * SOCKADDR_STRIDE);
    this.#mtu = new Int32Array(count);
    this.#addressOf = new Int32Array(count).fill(UNKNOWN_ADDRESS);
    let slotCount = 2;
    while (slotCount < 2 * count) slotCount *= 2;
    this.#slots = new Int32Array(slotCount);
    this.#addresses = new Int32Array(4 * count);
    let addressCount = 0;
    for (let index = 0; index < count; index++) {
      const vtep = state.vteps.subarray(index * VTEP_WORDS, (index + 1) * VTEP_WORDS);
      this.#mtu[index] = vtep[VTEP.mtu]!;
      const port = vtep[VTEP.port]!;
      if (port === 0) continue;
      const address = vtep.subarray(VTEP.address);
      const words = this.#family === 4 ? address.subarray(3) : address;
      writeSockaddr(this.#sockaddrs.view, index * SOCKADDR_STRIDE, words, port);
      addressCount = this.#number(index, address, addressCount);
    }
  }

  /** VTEPs, and numbers that none has. */
  get count(): number {
    return this.#mtu.length;
  }

  /** Datagrams to a VTEP go to that address from now on, until the next `load`. */
  move(index: number, words: Int32Array, port: number, scope = 0): void {
    writeSockaddr(this.#sockaddrs.view, index * SOCKADDR_STRIDE, words, port, scope);
  }

  /**
   * Whether a VTEP is at the socket address at `sockaddr` of `view`. One that comes with the next `load`, and may send before, is
   * wherever it says.
   */
  isAt(index: number, view: DataView, sockaddr: number): boolean {
    if (index >= this.#mtu.length) return true;
    const own = this.#sockaddrs.view;
    const at = index * SOCKADDR_STRIDE;
    const isSame = (field: number) => view.getInt32(sockaddr + field) === own.getInt32(at + field);
    if (this.#family === 4) {
      // Family and port are one word.
      return isSame(SOCKADDR_IN.address) && isSame(SOCKADDR_IN.family);
    }
    const { address } = SOCKADDR_IN6;
    return (
      isSame(address + 12) &&
      isSame(SOCKADDR_IN6.family) &&
      isSame(address + 8) &&
      isSame(address + 4) &&
      isSame(address)
    );
  }

  sockaddr(index: number): number {
    return this.#sockaddrs.address(index * SOCKADDR_STRIDE);
  }

  takesPartialChecksums(index: number): boolean {
    return (this.#vteps[index * VTEP_WORDS + VTEP.flags]! & VTEP_PARTIAL_CHECKSUMS) !== 0;
  }

  isSentSingly(index: number): boolean {
    return (this.#vteps[index * VTEP_WORDS + VTEP.flags]! & VTEP_SENT_SINGLY) !== 0;
  }

  losesMarks(index: number): boolean {
    return (this.#vteps[index * VTEP_WORDS + VTEP.flags]! & VTEP_LOSES_MARKS) !== 0;
  }

  isSealed(index: number): boolean {
    return (this.#vteps[index * VTEP_WORDS + VTEP.flags]! & VTEP_SEALED) !== 0;
  }

  /** Whether a value of the FDB is a guest's VTEP. */
  isGuest(value: number): boolean {
    return value >= 0 && (this.#vteps[value * VTEP_WORDS + VTEP.flags]! & VTEP_GUEST) !== 0;
  }

  /** Inner bytes that fit the path to a VTEP. */
  mtu(index: number): number {
    return this.#mtu[index]!;
  }

  /** The link towards a VTEP carries less than control knew; what control says next counts again. */
  lowerMtu(index: number, mtu: number): void {
    this.#mtu[index] = Math.min(mtu, this.#mtu[index]!);
  }

  /** The number of a VTEP's address, to compare with `findAddress`. */
  addressOf(index: number): number {
    return this.#addressOf[index]!;
  }

  /** The number of an outer source address (IPv4 as mapped words), or UNKNOWN_ADDRESS. */
  findAddress(word0: number, word1: number, word2: number, word3: number): number {
    const mask = this.#slots.length - 1;
    let slot = hashAddress(word0, word1, word2, word3) & mask;
    for (;;) {
      const entry = this.#slots[slot]!;
      if (entry === 0) return UNKNOWN_ADDRESS;
      const at = (entry - 1) << 2;
      if (
        this.#addresses[at + 3] === word3 &&
        this.#addresses[at + 2] === word2 &&
        this.#addresses[at + 1] === word1 &&
        this.#addresses[at] === word0
      ) {
        return entry - 1;
      }
      slot = (slot + 1) & mask;
    }
  }

  findIpv4(address: number): number {
    return this.findAddress(0, 0, MAPPED_WORD, address);
  }

  /** Numbers a VTEP's address, which may have a number already; returns how many addresses there are now. */
  #number(index: number, words: Int32Array, addressCount: number): number {
    const known = this.findAddress(words[0]!, words[1]!, words[2]!, words[3]!);
    if (known !== UNKNOWN_ADDRESS) {
      this.#addressOf[index] = known;
      return addressCount;
    }
    this.#addresses.set(words, 4 * addressCount);
    const mask = this.#slots.length - 1;
    let slot = hashAddress(words[0]!, words[1]!, words[2]!, words[3]!) & mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    this.#slots[slot] = addressCount + 1;
    this.#addressOf[index] = addressCount;
    return addressCount + 1;
  }
}
