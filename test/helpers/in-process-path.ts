/**
 * The packet path of one agent in the test's own thread: the same outbound and inbound code as in a worker
 * (src/dataplane/packet-worker.ts), run whenever a packet comes in.
 */

import { DropTap } from '../../src/datapath/drop-tap.ts';
import type { Encapsulation } from '../../src/datapath/encapsulation.ts';
import type { ForwardingState } from '../../src/datapath/forwarding.ts';
import { IcmpReplies } from '../../src/datapath/icmp-replies.ts';
import { Inbound } from '../../src/datapath/inbound.ts';
import { Outbound } from '../../src/datapath/outbound.ts';
import { Turn } from '../../src/datapath/turn.ts';
import { VtepTable } from '../../src/datapath/vtep-table.ts';
import type { DatapathOptions } from '../../src/dataplane/packet-threads.ts';
import type { PacketPath } from '../../src/dataplane/userspace-parts.ts';
import type { WorkerOffloads } from '../../src/dataplane/worker-messages.ts';
import { Moving } from '../../src/encapsulation/moving/moving.ts';
import { VxlanGpe } from '../../src/encapsulation/vxlan-gpe/vxlan-gpe.ts';
import { wireguardPath } from '../../src/encapsulation/wireguard/wireguard-path.ts';
import { WarrenError } from '../../src/errors.ts';
import { Fdb } from '../../src/fdb/fdb.ts';
import { EAGAIN } from '../../src/sys/constants.ts';
import { sendNoticeTo } from './memory-key-exchange.ts';
import type { MemorySocket, MemoryTun } from './memory-sockets.ts';
import { MemoryThread } from './memory-thread.ts';

export class InProcessPath implements PacketPath {
  readonly offloads: WorkerOffloads;
  readonly thread = new MemoryThread();
  readonly threads = [this.thread];
  readonly #tun: MemoryTun;
  readonly #socket: MemorySocket;
  readonly #options: DatapathOptions;
  readonly #fdb = new Fdb();
  readonly #drops = new DropTap();
  readonly #vteps: VtepTable;
  readonly #encapsulation: Encapsulation;
  readonly #replies: IcmpReplies;
  readonly #outbound: Outbound;
  readonly #inbound: Inbound;

  constructor(options: DatapathOptions, tun: MemoryTun, socket: MemorySocket, nowMs: () => number) {
    this.#options = options;
    this.#tun = tun;
    this.#socket = socket;
    this.offloads = options.offloads;
    this.#vteps = new VtepTable(options.underlayFamily);
    this.#replies = new IcmpReplies(tun, nowMs);
    const { encapsulation, sessions, underlayFamily } = options;
    const clear = new VxlanGpe({ vni: encapsulation.vni, vteps: this.#vteps, underlayFamily });
    this.#encapsulation = clear;
    if (sessions) {
      const sendNotice = sendNoticeTo(sessions.noticesFd);
      const sealed = wireguardPath({ ...sessions, nowMs, sendNotice }, this.#vteps, underlayFamily);
      const parts = { vni: encapsulation.vni, vteps: this.#vteps };
      this.#encapsulation = encapsulation.accept ? new Moving(sealed, clear, parts) : sealed;
    }
    const shared = {
      tun,
      socket,
      fdb: this.#fdb,
      drops: this.#drops,
      vteps: this.#vteps,
      counters: options.counters[0]!,
      encapsulation: this.#encapsulation,
      underlayFamily: options.underlayFamily,
      dscp: options.dscp,
      overheadBytes: options.overheadBytes,
    };
    // Nothing in memory is ever full.
    const turn = () => new Turn({ blockForRoom: () => false, nowMs });
    this.#outbound = new Outbound({
      ...shared,
      replies: this.#replies,
      turn: turn(),
      segmentation: options.offloads.udpSegment,
      onSegmentationOff: () => options.onOffloadOff('udpSegment'),
    });
    this.#inbound = new Inbound({
      ...shared,
      turn: turn(),
      tcp: options.offloads.coalesceTcp,
      udp: options.offloads.coalesceUdp,
      onOff: (protocol) => options.onOffloadOff(protocol === 'tcp' ? 'coalesceTcp' : 'coalesceUdp'),
    });
    tun.onReadable = () => void this.thread.run(() => this.#drainTun());
    socket.onReadable = () => void this.thread.run(() => this.#inbound.drain());
  }

  update(state: ForwardingState): Promise<void> {
    return this.thread.run(() => {
      this.#fdb.load(state.fdb);
      this.#vteps.load(state);
      this.#replies.load(state);
      this.#encapsulation.refresh();
    });
  }

  tapDrops(rings: readonly (readonly SharedArrayBuffer[])[]): void {
    this.#drops.load(rings[0] ?? []);
  }

  stop(): Promise<void> {
    return this.thread.run(() => {
      this.#tun.onReadable = () => {};
      this.#socket.onReadable = () => {};
    });
  }

  kill(): void {
    this.thread.kill();
  }

  #drainTun(): void {
    const errno = this.#outbound.drain();
    if (errno === 0 || errno === EAGAIN) return;
    this.#tun.onReadable = () => {};
    this.#options.onFailure(new WarrenError('TUN_LOST', `the TUN device is gone (errno ${errno})`));
  }
}
