/**
 * Coalescing: one message of consecutive segments becomes one superpacket for the TUN, which takes it at once. Per
 * iteration the first segment's headers are put back, since coalescing rewrites them in place.
 */
import { Coalescer } from '../../datapath/coalesce.ts';
import { WorkerCounters } from '../../datapath/counters.ts';
import type { TunQueue } from '../../datapath/ports.ts';
import { Turn } from '../../datapath/turn.ts';
import { Arena } from '../../sys/arena.ts';
import { VXLAN_GPE_BYTES } from '../../wire/vxlan-gpe.ts';
import type { MicroBenchmark } from './harness.ts';
import { headerBytes, SHAPES, type Shape, transportOffset, writePacket } from './packets.ts';

const MTU_BYTES = 1464;
const SEGMENTS = 44;
const STRIDE = VXLAN_GPE_BYTES + MTU_BYTES;
const FIRST = 64;
const VTEP = 0;

/** A TUN that takes whatever it is given. */
class Sink implements TunQueue {
  readonly fd = -1;
  packets = 0;

  read(): number {
    return 0;
  }

  write(): number {
    this.packets++;
    return 0;
  }

  writev(): number {
    this.packets++;
    return 0;
  }
}

export function benchmarks(): MicroBenchmark[] {
  return SHAPES.flatMap((shape) => [
    coalesce(`coalesce, ${shape.name}, partial checksums`, shape, true),
    coalesce(`coalesce, ${shape.name}, full checksums`, shape, false),
  ]);
}

function coalesce(name: string, shape: Shape, partial: boolean): MicroBenchmark {
  const packets = new Arena(FIRST + SEGMENTS * STRIDE, 'wasm');
  const tun = new Sink();
  const coalescer = new Coalescer({
    packets,
    tun,
    counters: new WorkerCounters(),
    tcp: true,
    udp: true,
    turn: new Turn({ blockForRoom: () => false, nowMs: () => 0 }),
    onOff: () => {},
  });
  const payloadBytes = MTU_BYTES - headerBytes(shape);
  for (let i = 0; i < SEGMENTS; i++) {
    writePacket(packets.view, FIRST + i * STRIDE, shape, i, payloadBytes, !partial);
  }
  const words = new Int32Array(packets.buffer, FIRST, headerBytes(shape) >> 2);
  const headers = words.slice();
  const partialStart = partial ? transportOffset(shape) : 0;
  return {
    name,
    unit: 'segment',
    operations: SEGMENTS,
    run(iterations) {
      for (let n = 0; n < iterations; n++) {
        for (let i = 0; i < headers.length; i++) words[i] = headers[i]!;
        for (let i = 0; i < SEGMENTS; i++) {
          coalescer.take(FIRST + i * STRIDE, MTU_BYTES, shape.isIpv4, partialStart, shape.isUdp, VTEP);
        }
        coalescer.flush();
      }
      // Anything but one superpacket an iteration would be another benchmark.
      if (tun.packets !== iterations)
        throw new Error(`${name}: ${tun.packets} writes in ${iterations} iterations`);
      tun.packets = 0;
      return iterations;
    },
  };
}
