/** One queue of the TUN device, as the packet path sees it. */
import type { TunQueue } from '../datapath/ports.ts';
import * as libc from '../sys/libc.ts';

export class LinuxTunQueue implements TunQueue {
  readonly fd: number;

  constructor(fd: number) {
    this.fd = fd;
  }

  read(address: number, capacityBytes: number): number {
    const bytes = libc.read(this.fd, address, capacityBytes);
    return bytes < 0 ? -libc.errno() : bytes;
  }

  write(address: number, bytes: number): number {
    const written = libc.write(this.fd, address, bytes);
    return written < 0 ? -libc.errno() : written;
  }

  writev(iovecs: number, count: number): number {
    const written = libc.writev(this.fd, iovecs, count);
    return written < 0 ? -libc.errno() : written;
  }
}
