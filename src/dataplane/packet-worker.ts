/**
 * A packet path thread. It blocks in poll on its TUN queue, its UDP socket and an eventfd, then drains both in
 * bursts, turn by turn. It never returns to Node's event loop until it is told to stop: messages are taken
 * from the port by hand when the eventfd says that there are some. That keeps the path free of promises,
 * events and timers, and a garbage-collection pause of the control thread never delays a packet.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { WorkerCounters } from '../datapath/counters.ts';
import { DropTap } from '../datapath/drop-tap.ts';
import type { Encapsulation } from '../datapath/encapsulation.ts';
import { IcmpReplies } from '../datapath/icmp-replies.ts';
import { Inbound } from '../datapath/inbound.ts';
import { Outbound } from '../datapath/outbound.ts';
import { PollSet } from '../datapath/poll-set.ts';
import { Turn } from '../datapath/turn.ts';
import { VtepTable } from '../datapath/vtep-table.ts';
import { chooseEncapsulation, type SessionAccess } from '../encapsulation/choose.ts';
import { Fdb } from '../fdb/fdb.ts';
import { Arena } from '../sys/arena.ts';
import { EAGAIN, MSG_DONTWAIT, MSG_NOSIGNAL, POLLIN, POLLOUT } from '../sys/constants.ts';
import * as libc from '../sys/libc.ts';
import { monotonicMs } from '../sys/monotonic.ts';
import { LinuxTunQueue } from '../tun/tun-queue.ts';
import { LinuxUnderlaySocket } from '../underlay/underlay-socket.ts';
import type { FromWorker, SharedSessionSettings, ToWorker, WorkerSettings } from './worker-messages.ts';

/** What a worker blocks on. */
const TUN = 0;
const SOCKET = 1;
const WAKE = 2;
/** What it blocks on while the socket is full; the last one, in both cases, only if it is asked for. */
const SEND_ROOM = { socket: 1, wake: 2 } as const;
/** And while the TUN is full. */
const WRITE_ROOM = { wake: 1 } as const;

class PacketPath {
  readonly #settings: WorkerSettings;
  readonly #packets: PollSet;
  readonly #sendRoom: PollSet;
  readonly #writeRoom: PollSet;
  /** What the eventfd's value is read into. */
  readonly #wakeValue = new Arena(8);
  readonly #fdb = new Fdb();
  readonly #drops = new DropTap();
  readonly #vteps: VtepTable;
  readonly #encapsulation: Encapsulation;
  readonly #replies: IcmpReplies;
  readonly #outbound: Outbound;
  readonly #inbound: Inbound;
  /** Raised at each turn: the sign of life that the control thread looks at. */
  readonly #turns: Int32Array;
  #stopping = false;

  constructor(settings: WorkerSettings, vteps: VtepTable, encapsulation: Encapsulation) {
    this.#settings = settings;
    this.#vteps = vteps;
    this.#encapsulation = encapsulation;
    this.#turns = new Int32Array(settings.turns);
    const tun = new LinuxTunQueue(settings.tunReadFd, settings.tunWriteFd);
    const socket = new LinuxUnderlaySocket(settings.socketFd, settings.underlayFamily);
    const sender = new LinuxUnderlaySocket(settings.sendFd, settings.underlayFamily);
    const counters = new WorkerCounters(settings.counters);
    this.#replies = new IcmpReplies(tun, nowMs);
    const parts = { encapsulation, tun, counters, fdb: this.#fdb, vteps: this.#vteps, drops: this.#drops };
    const shared = { ...settings, ...parts };
    const { offloads } = settings;
    this.#outbound = new Outbound({
      ...shared,
      socket: sender,
      replies: this.#replies,
      turn: new Turn({ blockForRoom: this.#blockForSendRoom, nowMs }),
      segmentation: offloads.udpSegment,
      onSegmentationOff: () => post({ kind: 'offload-off', offload: 'udpSegment' }),
    });
    this.#inbound = new Inbound({
      ...shared,
      socket,
      turn: new Turn({ blockForRoom: this.#blockForWriteRoom, nowMs }),
      tcp: offloads.coalesceTcp,
      udp: offloads.coalesceUdp,
      onOff: (protocol) =>
        post({ kind: 'offload-off', offload: protocol === 'tcp' ? 'coalesceTcp' : 'coalesceUdp' }),
    });
    const tunInput = { fd: settings.tunReadFd, events: POLLIN };
    const socketInput = { fd: settings.socketFd, events: POLLIN };
    const wake = { fd: settings.wakeFd, events: POLLIN };
    this.#packets = new PollSet([tunInput, socketInput, wake]);
    this.#sendRoom = new PollSet([{ fd: settings.sendFd, events: POLLOUT }, socketInput, wake]);
    this.#writeRoom = new PollSet([{ fd: settings.tunWriteFd, events: POLLOUT }, wake]);
  }

  run(): void {
    post({ kind: 'ready' });
    while (!this.#stopping) {
      if (!this.#packets.wait(-1)) continue;
      this.#turns[0]!++;
      if (this.#packets.isReady(WAKE)) this.#takeMessages();
      if (this.#packets.isReady(TUN)) this.#drainTun();
      if (this.#packets.isReady(SOCKET)) this.#inbound.drain();
    }
  }

  #drainTun(): void {
    const errno = this.#outbound.drain();
    if (errno === 0 || errno === EAGAIN) return;
    // The device was deleted under us. Stop watching it, or poll would spin on its error.
    this.#packets.forget(TUN);
    post({ kind: 'tun-lost', errno });
  }

  #takeMessages(): void {
    libc.read(this.#settings.wakeFd, this.#wakeValue.address(0), 8);
    this.#encapsulation.refresh();
    for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
      const message = next.message as ToWorker;
      if (message.kind === 'stop') {
        this.#stopping = true;
        return;
      }
      if (message.kind === 'taps') {
        this.#drops.load(message.rings);
        continue;
      }
      this.#fdb.load(message.state.fdb);
      this.#vteps.load(message.state);
      this.#replies.load(message.state);
      this.#encapsulation.refresh();
      post({ kind: 'loaded' });
    }
  }

  /** A full socket holds up its own direction alone: what came from the underlay is dealt with meanwhile. */
  readonly #blockForSendRoom = (timeoutMs: number, watchesWake: boolean): boolean => {
    if (!this.#sendRoom.wait(timeoutMs, SEND_ROOM.wake + (watchesWake ? 1 : 0))) return false;
    if (this.#sendRoom.isReady(SEND_ROOM.socket)) this.#inbound.drain();
    return watchesWake && this.#sendRoom.isReady(SEND_ROOM.wake);
  };

  readonly #blockForWriteRoom = (timeoutMs: number, watchesWake: boolean): boolean => {
    if (!this.#writeRoom.wait(timeoutMs, WRITE_ROOM.wake + (watchesWake ? 1 : 0))) return false;
    return watchesWake && this.#writeRoom.isReady(WRITE_ROOM.wake);
  };
}

if (!parentPort) throw new Error('dataplane/packet-worker runs as a worker thread');
const port = parentPort;
const nowMs = (): number => performance.now();

function post(message: FromWorker): void {
  port.postMessage(message);
}

/** Hands notices to the thread that makes sessions. */
function sessionAccess({ shared, noticesFd }: SharedSessionSettings): SessionAccess {
  return {
    shared,
    nowMs: monotonicMs,
    sendNotice: (memory, bytes) =>
      libc.send(noticesFd, memory.address(0), bytes, MSG_DONTWAIT | MSG_NOSIGNAL) === bytes,
  };
}

const settings = workerData as WorkerSettings;
const vteps = new VtepTable(settings.underlayFamily);
const sessions = settings.sessions && sessionAccess(settings.sessions);
const encapsulation = await chooseEncapsulation(
  settings.encapsulation,
  vteps,
  settings.underlayFamily,
  sessions,
);
new PacketPath(settings, vteps, encapsulation).run();
port.close();
