/**
 * Where the inbound path receives: a recvmmsg vector, each message with room for as much as `UDP_GRO` delivers at
 * once (64 KB), so that the first inner packet of a message is aligned to 64 bytes.
 */

import { Arena } from '../sys/arena.ts';
import { SOCKADDR_STRIDE } from '../sys/sockaddr.ts';
import { IOVEC, MMSGHDR, MSGHDR, SOCKADDR_IN, SOCKADDR_IN6 } from '../sys/structs.ts';
import { CONTROL_BYTES, CONTROL_STRIDE } from './control-messages.ts';

export const RECEIVE_MESSAGES = 16;

const HEADROOM_BYTES = 64;
export const RECEIVE_BYTES = 65_535;
/** Not a power of two, so that the messages' first lines do not all fall into one cache set. */
const BUFFER_STRIDE = 65_536 + 4 * 64;

const MESSAGES = RECEIVE_MESSAGES * BUFFER_STRIDE;
const IOVECS = MESSAGES + RECEIVE_MESSAGES * MMSGHDR.bytes;
const SOCKADDRS = IOVECS + RECEIVE_MESSAGES * IOVEC.bytes;
const CONTROLS = SOCKADDRS + RECEIVE_MESSAGES * SOCKADDR_STRIDE;
const TOTAL_BYTES = CONTROLS + RECEIVE_MESSAGES * CONTROL_STRIDE;

export class InboundArena {
  readonly arena = new Arena(TOTAL_BYTES, 'wasm');
  readonly view: DataView = this.arena.view;

  readonly #headerBytes: number;

  /** `headerBytes`: before the inner packet in each datagram, at most 64. */
  constructor(underlayFamily: 4 | 6, headerBytes: number) {
    this.#headerBytes = headerBytes;
    const sockaddrBytes = underlayFamily === 4 ? SOCKADDR_IN.bytes : SOCKADDR_IN6.bytes;
    for (let i = 0; i < RECEIVE_MESSAGES; i++) {
      const iovec = IOVECS + i * IOVEC.bytes;
      this.arena.setPointer(iovec + IOVEC.base, this.datagram(i));
      this.arena.setWord(iovec + IOVEC.length, RECEIVE_BYTES);
      const message = this.message(i);
      this.arena.setPointer(message + MSGHDR.name, this.sockaddr(i));
      // The kernel writes the length back, which is the same every time on a socket of one family.
      this.view.setUint32(message + MSGHDR.nameLength, sockaddrBytes, true);
      this.arena.setPointer(message + MSGHDR.iov, iovec);
      this.arena.setWord(message + MSGHDR.iovCount, 1);
      this.arena.setPointer(message + MSGHDR.control, this.control(i));
    }
  }

  /** Before a receive: the kernel has overwritten the length of the control data. */
  prepare(messages: number): void {
    for (let i = 0; i < messages; i++) {
      this.view.setUint32(this.message(i) + MSGHDR.controlLength, CONTROL_BYTES, true);
    }
  }

  /** Where message `i`'s payload begins. */
  datagram(i: number): number {
    return i * BUFFER_STRIDE + HEADROOM_BYTES - this.#headerBytes;
  }

  message(i: number): number {
    return MESSAGES + i * MMSGHDR.bytes;
  }

  sockaddr(i: number): number {
    return SOCKADDRS + i * SOCKADDR_STRIDE;
  }

  control(i: number): number {
    return CONTROLS + i * CONTROL_STRIDE;
  }
}
