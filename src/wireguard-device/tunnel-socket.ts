/**
 * The UDP socket of a device: one for both families (IPv4 addresses as mapped ones), or where the kernel has no IPv6 one for
 * IPv4. Another one may take its place while the device runs.
 *
 * Unlike between agents, nobody measures the paths to peers: the kernel may divide what is too long for one, as with other
 * implementations.
 */
import { MAPPED_WORD } from '../datapath/forwarding.ts';
import type { UnderlaySocket } from '../datapath/ports.ts';
import { Arena } from '../sys/arena.ts';
import { EAGAIN, MSG_DONTWAIT, MSG_NOSIGNAL } from '../sys/constants.ts';
import * as libc from '../sys/libc.ts';
import { writeSockaddr } from '../sys/sockaddr.ts';
import { IOVEC, MSGHDR, SOCKADDR_IN, SOCKADDR_IN6 } from '../sys/structs.ts';
import { endpointBytes, endpointParts } from './uapi-endpoint.ts';

const ENETDOWN = 100;
const MESSAGE = 0;
const SOCKADDR = 64;
const IOVECS = 96;
const CONTROL = 128;
const DATAGRAM = 256;
const MAX_DATAGRAM_BYTES = 65_536;

export class TunnelSocket implements UnderlaySocket {
  readonly family: 4 | 6;
  readonly #memory = new Arena(DATAGRAM + MAX_DATAGRAM_BYTES);
  /** -1: there is none yet. */
  fd = -1;

  constructor(family: 4 | 6) {
    this.family = family;
  }

  send(vector: number, count: number): number {
    if (this.fd < 0) return -ENETDOWN;
    const sent = libc.sendmmsg(this.fd, vector, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? -libc.errno() : sent;
  }

  receive(vector: number, count: number): number {
    if (this.fd < 0) return -EAGAIN;
    const received = libc.recvmmsg(this.fd, vector, count, MSG_DONTWAIT, 0);
    return received < 0 ? -libc.errno() : received;
  }

  /** It always is. */
  allowFragmentation(): boolean {
    return true;
  }

  /** Nothing is refused for its length. */
  linkMtu(): number {
    return 0;
  }

  /** `writeControls` writes at its offset, and returns where they end. 0 or errno. */
  sendOne(
    datagram: Uint8Array,
    to: Uint8Array,
    writeControls: (view: DataView, at: number) => number,
  ): number {
    if (this.fd < 0) return ENETDOWN;
    const { view, bytes } = this.#memory;
    const { words, port, scope } = endpointParts(to);
    const address = this.family === 6 ? mappedWords(words) : words;
    // No IPv6 here.
    if (this.family === 4 && words.length !== 1) return ENETDOWN;
    const sockaddrBytes = writeSockaddr(view, SOCKADDR, address, port, scope);
    bytes.set(datagram, DATAGRAM);
    this.#memory.setWord(MESSAGE + MSGHDR.name, this.#memory.address(SOCKADDR));
    view.setUint32(MESSAGE + MSGHDR.nameLength, sockaddrBytes, true);
    this.#memory.setWord(MESSAGE + MSGHDR.iov, this.#memory.address(IOVECS));
    this.#memory.setWord(MESSAGE + MSGHDR.iovCount, 1);
    this.#memory.setWord(IOVECS + IOVEC.base, this.#memory.address(DATAGRAM));
    this.#memory.setWord(IOVECS + IOVEC.length, datagram.length);
    this.#memory.setWord(MESSAGE + MSGHDR.control, this.#memory.address(CONTROL));
    this.#memory.setWord(MESSAGE + MSGHDR.controlLength, writeControls(view, CONTROL) - CONTROL);
    const sent = libc.sendmsg(this.fd, this.#memory.address(MESSAGE), MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? libc.errno() : 0;
  }
}

/** The sender of a message, as uapi-endpoint.ts has it, from the socket address at `sockaddr`. */
export function senderOf(view: DataView, sockaddr: number, family: 4 | 6): Uint8Array {
  const port = view.getUint16(sockaddr + SOCKADDR_IN.port);
  if (family === 4) return endpointBytes(copied(view, sockaddr + SOCKADDR_IN.address, 4), port, 0);
  const at = sockaddr + SOCKADDR_IN6.address;
  const isMapped =
    view.getInt32(at) === 0 && view.getInt32(at + 4) === 0 && view.getInt32(at + 8) === MAPPED_WORD;
  if (isMapped) return endpointBytes(copied(view, at + 12, 4), port, 0);
  return endpointBytes(copied(view, at, 16), port, view.getUint32(sockaddr + SOCKADDR_IN6.scopeId, true));
}

export function mappedWords(words: Int32Array): Int32Array {
  return words.length === 4 ? words : Int32Array.of(0, 0, MAPPED_WORD, words[0]!);
}

function copied(view: DataView, at: number, length: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, length).slice();
}
