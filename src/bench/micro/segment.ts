/**
 * Segmentation: a superpacket that fills one send becomes its segments, queued and grouped into a message. The
 * socket takes everything at once, so that what is left is JavaScript.
 */
import { WorkerCounters } from '../../datapath/counters.ts';
import { MAPPED_WORD, VTEP_PARTIAL_CHECKSUMS } from '../../datapath/forwarding.ts';
import { IcmpReplies } from '../../datapath/icmp-replies.ts';
import { OutboundArena } from '../../datapath/outbound-arena.ts';
import { PathMtu } from '../../datapath/path-mtu.ts';
import type { TunQueue, UnderlaySocket } from '../../datapath/ports.ts';
import { Segmenter, type Superpacket } from '../../datapath/segment.ts';
import { SendQueue } from '../../datapath/send-queue.ts';
import { Turn } from '../../datapath/turn.ts';
import { VtepTable } from '../../datapath/vtep-table.ts';
import { VxlanGpe } from '../../encapsulation/vxlan-gpe/vxlan-gpe.ts';
import { buildFdbSnapshot } from '../../fdb/snapshot.ts';
import { VIRTIO_NET_HEADER_BYTES } from '../../wire/virtio-net.ts';
import type { MicroBenchmark } from './harness.ts';
import { headerBytes, SHAPES, type Shape, transportOffset, writePacket } from './packets.ts';

const MTU_BYTES = 1464;
const SEGMENTS = 44;
const VTEP = 0;

/** A socket that takes whatever it is given. */
class Sink implements UnderlaySocket {
  readonly fd = -1;
  messages = 0;

  send(_vector: number, count: number): number {
    this.messages += count;
    return count;
  }

  receive(): number {
    return 0;
  }

  allowFragmentation(): boolean {
    return true;
  }

  linkMtu(): number {
    return 0;
  }
}

const noTun: TunQueue = { read: () => 0, write: () => 0, writev: () => 0 };

export function benchmarks(): MicroBenchmark[] {
  return SHAPES.flatMap((shape) => [
    segment(`segment, ${shape.name}, partial checksums`, shape, true),
    segment(`segment, ${shape.name}, full checksums`, shape, false),
  ]);
}

function segment(name: string, shape: Shape, partial: boolean): MicroBenchmark {
  const arena = new OutboundArena();
  const socket = new Sink();
  const vteps = new VtepTable(4);
  vteps.load({
    vteps: Int32Array.of(VTEP_PARTIAL_CHECKSUMS, 4790, MTU_BYTES, 0, 0, MAPPED_WORD, 0x0a000002),
    fdb: buildFdbSnapshot([]),
    ownIpv4: undefined,
    ownIpv6: undefined,
    probeIdentifier: 0,
  });
  const nowMs = () => 0;
  const replies = new IcmpReplies(noTun, nowMs);
  const encloser = new VxlanGpe({ vni: 42, vteps, underlayFamily: 4 }).encloser(arena);
  const queue = new SendQueue({
    arena,
    encloser,
    socket,
    vteps,
    counters: new WorkerCounters(),
    pathMtu: new PathMtu({ arena, socket, vteps, replies, overheadBytes: 36 }),
    turn: new Turn({ blockForRoom: () => false, nowMs }),
    underlayFamily: 4,
    dscp: 0,
    segmentation: true,
    onSegmentationOff: () => {},
  });
  const segmenter = new Segmenter(arena, queue, encloser);
  const segmentBytes = MTU_BYTES - headerBytes(shape);
  const superpacket: Superpacket = {
    packet: arena.packet,
    bytes: headerBytes(shape) + SEGMENTS * segmentBytes,
    ...shape,
    transportOffset: transportOffset(shape),
    headerBytes: headerBytes(shape),
    segmentBytes,
  };
  writePacket(arena.view, superpacket.packet, shape, 0, SEGMENTS * segmentBytes, false);
  arena.keep(VIRTIO_NET_HEADER_BYTES + superpacket.bytes);
  return {
    name,
    unit: 'segment',
    operations: SEGMENTS,
    run(iterations) {
      for (let n = 0; n < iterations; n++) {
        segmenter.segment(superpacket, VTEP, partial, false);
        queue.flush();
      }
      return socket.messages;
    },
  };
}
