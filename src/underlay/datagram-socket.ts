/** A socket of the underlay that carries a datagram now and then, such as a handshake: one by one, each a Buffer of its own. */
import { Arena } from '../sys/arena.ts';
import { MSG_DONTWAIT, MSG_NOSIGNAL } from '../sys/constants.ts';
import * as libc from '../sys/libc.ts';
import { writeSockaddr } from '../sys/sockaddr.ts';
import { SOCKADDR_IN, SOCKADDR_IN6 } from '../sys/structs.ts';

const MAX_DATAGRAM_BYTES = 65_536;
const PORT_BYTES = 2;
const SOCKADDR = 0;
const SOCKADDR_BYTES = 32;
const PAYLOAD = 64;

export interface ReceivedDatagram {
  readonly datagram: Buffer;
  /** Address (4 or 16 bytes) and port, in network order. */
  readonly from: Uint8Array;
}

export class DatagramSocket {
  readonly fd: number;
  readonly #addressAt: number;
  readonly #addressBytes: number;
  readonly #memory = new Arena(PAYLOAD + MAX_DATAGRAM_BYTES);

  constructor(fd: number, family: 4 | 6) {
    this.fd = fd;
    this.#addressAt = family === 4 ? SOCKADDR_IN.address : SOCKADDR_IN6.address;
    this.#addressBytes = family === 4 ? 4 : 16;
  }

  /** The next one that waits, or undefined. */
  receive(): ReceivedDatagram | undefined {
    const { view, bytes } = this.#memory;
    view.setUint32(SOCKADDR_BYTES, SOCKADDR_BYTES, true);
    const length = libc.recvfrom(
      this.fd,
      this.#memory.address(PAYLOAD),
      MAX_DATAGRAM_BYTES,
      MSG_DONTWAIT,
      this.#memory.address(SOCKADDR),
      this.#memory.address(SOCKADDR_BYTES),
    );
    if (length < 0) return undefined;
    const from = new Uint8Array(this.#addressBytes + PORT_BYTES);
    from.set(bytes.subarray(this.#addressAt, this.#addressAt + this.#addressBytes));
    from.set(bytes.subarray(SOCKADDR_IN.port, SOCKADDR_IN.port + PORT_BYTES), this.#addressBytes);
    return { datagram: Buffer.from(bytes.slice(PAYLOAD, PAYLOAD + length).buffer), from };
  }

  /** `to` is as `from` above. What the kernel does not take is lost, as on the way. */
  send(datagram: Uint8Array, to: Uint8Array): boolean {
    const { view, bytes } = this.#memory;
    const source = new DataView(to.buffer, to.byteOffset, to.byteLength);
    const words = Int32Array.from({ length: this.#addressBytes / 4 }, (_, i) => source.getInt32(4 * i));
    const sockaddrBytes = writeSockaddr(view, SOCKADDR, words, source.getUint16(this.#addressBytes));
    bytes.set(datagram, PAYLOAD);
    const sent = libc.sendto(
      this.fd,
      this.#memory.address(PAYLOAD),
      datagram.length,
      MSG_DONTWAIT | MSG_NOSIGNAL,
      this.#memory.address(SOCKADDR),
      sockaddrBytes,
    );
    return sent >= 0;
  }
}
