/** One queue of the TUN device, as the packet path sees it: read from one descriptor, written to another or the same. */
import type { TunQueue } from '../datapath/ports.ts';
import * as libc from '../sys/libc.ts';

export class LinuxTunQueue implements TunQueue {
  readonly #readFd: number;
  readonly #writeFd: number;

  constructor(readFd: number, writeFd: number) {
    this.#readFd = readFd;
    this.#writeFd = writeFd;
  }

  read(address: number, capacityBytes: number): number {
    const bytes = libc.read(this.#readFd, address, capacityBytes);
    return bytes < 0 ? -libc.errno() : bytes;
  }

  write(address: number, bytes: number): number {
    const written = libc.write(this.#writeFd, address, bytes);
    return written < 0 ? -libc.errno() : written;
  }

  writev(iovecs: number, count: number): number {
    const written = libc.writev(this.#writeFd, iovecs, count);
    return written < 0 ? -libc.errno() : written;
  }
}
