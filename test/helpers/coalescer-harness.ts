/** A coalescer on its own, between an arena that a test fills and a TUN that remembers what was written. */
import koffi from 'koffi';
import { Coalescer } from '../../src/datapath/coalesce.ts';
import { WorkerCounters } from '../../src/datapath/counters.ts';
import type { TunQueue } from '../../src/datapath/ports.ts';
import { Turn } from '../../src/datapath/turn.ts';
import { Arena } from '../../src/sys/arena.ts';
import { IOVEC } from '../../src/sys/structs.ts';
import type { BurstPacket, Frame } from './gro-oracle.ts';
import { readFrame } from './tun-frame.ts';

/** The arena's packets begin like those that Inbound receives: each behind its encapsulation, aligned or not. */
const STRIDE = 1608;
const FIRST = 64;
const MAX_PACKETS = 400;
const VTEP = 0;

class RecordingTun implements TunQueue {
  readonly fd = -1;
  readonly frames: Frame[] = [];

  read(): number {
    throw new Error('nothing reads from the TUN here');
  }

  write(): number {
    throw new Error('the coalescer writes iovecs');
  }

  writev(iovecs: number, count: number): number {
    const pieces: Buffer[] = [];
    for (let i = 0; i < count; i++) {
      const iovec = new DataView(koffi.view(iovecs + i * IOVEC.bytes, IOVEC.bytes));
      const base = Number(iovec.getBigUint64(IOVEC.base, true));
      const bytes = Number(iovec.getBigUint64(IOVEC.length, true));
      pieces.push(Buffer.from(koffi.view(base, bytes)));
    }
    // Now, for the memory may be written over as soon as this returns.
    const frame = Buffer.concat(pieces);
    this.frames.push(readFrame(frame));
    return frame.length;
  }
}

export class CoalescerHarness {
  readonly counters = new WorkerCounters();
  readonly #packets = new Arena(FIRST + MAX_PACKETS * STRIDE);
  readonly #tun = new RecordingTun();
  readonly #coalescer = new Coalescer({
    packets: this.#packets,
    tun: this.#tun,
    counters: this.counters,
    tcp: true,
    udp: true,
    turn: new Turn({ blockForRoom: () => false, nowMs: () => 0 }),
    onOff: () => {},
  });

  /** Hands over one burst, as `Inbound.drain` does; what was written to the TUN, in order. */
  burst(packets: readonly BurstPacket[]): Frame[] {
    if (packets.length > MAX_PACKETS) throw new Error(`${packets.length} packets do not fit the arena`);
    for (const [i, { packet, partial }] of packets.entries()) {
      const at = FIRST + i * STRIDE;
      this.#packets.bytes.set(packet, at);
      const isIpv4 = packet[0]! >> 4 === 4;
      const isUdp = (isIpv4 ? packet[9] : packet[6]) === 17;
      const partialStart = partial ? (isIpv4 ? 20 : 40) : 0;
      this.#coalescer.take(at, packet.length, isIpv4, partialStart, partial && isUdp, VTEP);
    }
    this.#coalescer.flush();
    return this.#tun.frames.splice(0);
  }
}
