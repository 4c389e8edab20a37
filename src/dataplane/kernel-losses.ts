/**
 * What the kernel loses before the packet path has it: packets for which the TUN's queues had no room, and datagrams for
 * which a socket had none. The kernel counts them for each device and each socket. Here they are added up over all that
 * the data plane ever had, so that the sums go on over a lost TUN, a move to another address, and other threads.
 *
 * The kernel's counts are read when somebody asks, before a socket is closed, and every 10 s, because that of a socket
 * wraps at 2^32, and that of a TUN device is gone with it: what a device has lost since then is not known.
 */
import type { Clock, Timer } from '../clock.ts';
import type { KernelDropName } from '../datapath/drops.ts';

const LOOK_MS = 10_000;

/** The kernel's counts; undefined where there is none. */
export interface LossCounts {
  /** Datagrams that a socket has dropped since it was opened, modulo 2^32. */
  socketDrops(fd: number): number | undefined;
  /** Packets that a TUN device has dropped since it was made. */
  tunDrops(name: string): number | undefined;
}

export class KernelLosses {
  readonly #counts: LossCounts;
  readonly #clock: Clock;
  /** By descriptor; bounded by the sockets that are open, which during a move are those of two addresses. */
  readonly #sockets = new Map<number, GrowingCount>();
  #tun: GrowingCount | undefined;
  #queueOverflow = 0;
  #socketOverflow = 0;
  #timer: Timer | undefined;

  constructor(counts: LossCounts, clock: Clock) {
    this.#counts = counts;
    this.#clock = clock;
  }

  /** From now on it looks by itself; `close` ends that. */
  start(): void {
    this.#timer = this.#clock.after(LOOK_MS, () => {
      this.#look();
      this.start();
    });
  }

  close(): void {
    this.#timer?.cancel();
  }

  socketsOpened(descriptors: readonly number[]): void {
    for (const fd of descriptors) {
      this.#sockets.set(fd, new GrowingCount(() => this.#counts.socketDrops(fd), wrapped));
    }
  }

  /** To be called before they are closed. */
  socketsClosing(descriptors: readonly number[]): void {
    this.#look();
    for (const fd of descriptors) this.#sockets.delete(fd);
  }

  /** The device called `name` is this data plane's. What it dropped before, while nobody held it, does not count. */
  tunOpened(name: string): void {
    this.#tun = new GrowingCount(() => this.#counts.tunDrops(name), unlessReset);
  }

  /** It is gone, or will be closed now. */
  tunClosing(): void {
    this.#look();
    this.#tun = undefined;
  }

  drops(): Readonly<Record<KernelDropName, number>> {
    this.#look();
    return {
      'outbound-queue-overflow': this.#queueOverflow,
      'inbound-socket-overflow': this.#socketOverflow,
    };
  }

  #look(): void {
    this.#queueOverflow += this.#tun?.growth() ?? 0;
    for (const count of this.#sockets.values()) this.#socketOverflow += count.growth();
  }
}

/** A count of the kernel's, and up to where it is known. */
class GrowingCount {
  readonly #read: () => number | undefined;
  readonly #between: (before: number, now: number) => number;
  #before: number | undefined;

  constructor(read: () => number | undefined, between: (before: number, now: number) => number) {
    this.#read = read;
    this.#between = between;
    this.#before = read();
  }

  /** Since the last call, or since it was made. */
  growth(): number {
    const now = this.#read();
    if (now === undefined) return 0;
    const growth = this.#between(this.#before ?? now, now);
    this.#before = now;
    return growth;
  }
}

function wrapped(before: number, now: number): number {
  return (now - before) >>> 0;
}

/** A smaller one is that of another device, of which it is not known how it began. */
function unlessReset(before: number, now: number): number {
  return Math.max(0, now - before);
}
