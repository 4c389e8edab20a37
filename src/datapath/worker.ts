/**
 * A packet path thread. It blocks in poll on its TUN queue, its UDP socket and an eventfd, then drains both in
 * bursts, turn by turn. It never returns to Node's event loop until it is told to stop: messages are taken
 * from the port by hand when the eventfd says that there are some. That keeps the path free of promises,
 * events and timers, and a garbage-collection pause of the control thread never delays a packet.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { Fdb } from '../fdb/fdb.ts';
import { Arena } from '../sys/arena.ts';
import { EAGAIN, EINTR, POLLIN, POLLOUT } from '../sys/constants.ts';
import { SysError } from '../sys/errors.ts';
import * as libc from '../sys/libc.ts';
import { POLLFD } from '../sys/structs.ts';
import { LinuxTunQueue } from '../tun/tun-queue.ts';
import { LinuxUnderlaySocket } from '../underlay/underlay-socket.ts';
import { WorkerCounters } from './counters.ts';
import { IcmpReplies } from './icmp-replies.ts';
import { Inbound } from './inbound.ts';
import { Outbound } from './outbound.ts';
import { Turn } from './turn.ts';
import { VtepTable } from './vtep-table.ts';
import type { FromWorker, ToWorker, WorkerSettings } from './worker-messages.ts';

/** What is polled for packets. */
const TUN = 0;
const SOCKET = 1;
const WAKE = 2;
const POLLED = 3;
/** What is polled while the socket is full. In both vectors the last one is left out if nobody asks for it. */
const SEND_ROOM = 3;
const SEND_SOCKET = 4;
const SEND_WAKE = 5;
/** What is polled while the TUN is full. */
const WRITE_ROOM = 6;
const WRITE_WAKE = 7;
/** Eight bytes to read the eventfd into. */
const WAKE_VALUE = 8 * POLLFD.bytes;

class PacketPath {
  readonly #settings: WorkerSettings;
  readonly #scratch = new Arena(WAKE_VALUE + 8);
  readonly #fdb = new Fdb();
  readonly #vteps: VtepTable;
  readonly #replies: IcmpReplies;
  readonly #outbound: Outbound;
  readonly #inbound: Inbound;
  #stopping = false;

  constructor(settings: WorkerSettings) {
    this.#settings = settings;
    const tun = new LinuxTunQueue(settings.tunFd);
    const socket = new LinuxUnderlaySocket(settings.socketFd, settings.underlayFamily);
    const sender = new LinuxUnderlaySocket(settings.sendFd, settings.underlayFamily);
    const counters = new WorkerCounters(settings.counters);
    this.#vteps = new VtepTable(settings.underlayFamily, settings.pathMtu);
    this.#replies = new IcmpReplies(tun, Date.now);
    const shared = { ...settings, tun, fdb: this.#fdb, vteps: this.#vteps, counters };
    const { offloads } = settings;
    this.#outbound = new Outbound({
      ...shared,
      socket: sender,
      replies: this.#replies,
      turn: new Turn({ blockForRoom: this.#blockForSendRoom, nowMs }),
      nowMs: Date.now,
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
    const { tunFd, socketFd, sendFd, wakeFd } = settings;
    this.#watch(TUN, tunFd, POLLIN);
    this.#watch(SOCKET, socketFd, POLLIN);
    this.#watch(WAKE, wakeFd, POLLIN);
    this.#watch(SEND_ROOM, sendFd, POLLOUT);
    this.#watch(SEND_SOCKET, socketFd, POLLIN);
    this.#watch(SEND_WAKE, wakeFd, POLLIN);
    this.#watch(WRITE_ROOM, tunFd, POLLOUT);
    this.#watch(WRITE_WAKE, wakeFd, POLLIN);
  }

  run(): void {
    post({ kind: 'ready' });
    while (!this.#stopping) {
      if (!this.#poll(TUN, POLLED, -1)) continue;
      if (this.#isReady(WAKE)) this.#takeMessages();
      if (this.#isReady(TUN)) this.#drainTun();
      if (this.#isReady(SOCKET)) this.#inbound.drain();
    }
  }

  #drainTun(): void {
    const errno = this.#outbound.drain();
    if (errno === 0 || errno === EAGAIN) return;
    // The device was deleted under us. Stop watching it, or poll would spin on its error.
    this.#watch(TUN, -1, POLLIN);
    post({ kind: 'tun-lost', errno });
  }

  #takeMessages(): void {
    libc.read(this.#settings.wakeFd, this.#scratch.address(WAKE_VALUE), 8);
    for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
      const message = next.message as ToWorker;
      if (message.kind === 'stop') {
        this.#stopping = true;
        return;
      }
      this.#fdb.load(message.state.fdb);
      this.#vteps.load(message.state);
      this.#replies.load(message.state);
      post({ kind: 'loaded' });
    }
  }

  /** A full socket holds up its own direction alone: what came from the underlay is dealt with meanwhile. */
  readonly #blockForSendRoom = (timeoutMs: number, watchesWake: boolean): boolean => {
    if (!this.#poll(SEND_ROOM, watchesWake ? 3 : 2, timeoutMs)) return false;
    if (this.#isReady(SEND_SOCKET)) this.#inbound.drain();
    return watchesWake && this.#isReady(SEND_WAKE);
  };

  readonly #blockForWriteRoom = (timeoutMs: number, watchesWake: boolean): boolean =>
    this.#poll(WRITE_ROOM, watchesWake ? 2 : 1, timeoutMs) && watchesWake && this.#isReady(WRITE_WAKE);

  /** poll(2) of `count` descriptors from `first` on; false if a signal came in between. */
  #poll(first: number, count: number, timeoutMs: number): boolean {
    if (libc.poll(this.#scratch.address(first * POLLFD.bytes), count, timeoutMs) >= 0) return true;
    const errno = libc.errno();
    if (errno === EINTR) return false;
    throw new SysError('poll', errno, 'waiting for packets');
  }

  #isReady(index: number): boolean {
    return this.#scratch.view.getInt16(index * POLLFD.bytes + POLLFD.revents, true) !== 0;
  }

  /** poll(2) passes over a negative descriptor. */
  #watch(index: number, fd: number, events: number): void {
    const at = index * POLLFD.bytes;
    this.#scratch.view.setInt32(at + POLLFD.fd, fd, true);
    this.#scratch.view.setInt16(at + POLLFD.events, events, true);
    this.#scratch.view.setInt16(at + POLLFD.revents, 0, true);
  }
}

if (!parentPort) throw new Error('datapath/worker runs as a worker thread');
const port = parentPort;
const nowMs = (): number => performance.now();

function post(message: FromWorker): void {
  port.postMessage(message);
}

new PacketPath(workerData as WorkerSettings).run();
port.close();
