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
import { VtepTable } from './vtep-table.ts';
import type { FromWorker, ToWorker, WorkerSettings } from './worker-messages.ts';

/** How long a full socket or TUN may hold up the burst that waits for it. The kernel drains it in microseconds. */
const WRITABLE_TIMEOUT_MS = 1000;

const TUN = 0;
const SOCKET = 1;
const WAKE = 2;
const POLLED = 3;
/** A pollfd of its own for waiting until one of them is writable, and eight bytes to read the eventfd into. */
const WRITABLE = POLLED * POLLFD.bytes;
const WAKE_VALUE = WRITABLE + POLLFD.bytes;

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
      waitWritable: () => this.#waitWritable(settings.sendFd),
      nowMs: Date.now,
      segmentation: offloads.udpSegment,
      onSegmentationOff: () => post({ kind: 'offload-off', offload: 'udpSegment' }),
    });
    this.#inbound = new Inbound({
      ...shared,
      socket,
      waitWritable: () => this.#waitWritable(settings.tunFd),
      tcp: offloads.coalesceTcp,
      udp: offloads.coalesceUdp,
      onOff: (protocol) =>
        post({ kind: 'offload-off', offload: protocol === 'tcp' ? 'coalesceTcp' : 'coalesceUdp' }),
    });
    this.#watch(TUN, settings.tunFd);
    this.#watch(SOCKET, settings.socketFd);
    this.#watch(WAKE, settings.wakeFd);
  }

  run(): void {
    post({ kind: 'ready' });
    const { view } = this.#scratch;
    while (!this.#stopping) {
      if (libc.poll(this.#scratch.address(0), POLLED, -1) < 0) {
        const errno = libc.errno();
        if (errno === EINTR) continue;
        throw new SysError('poll', errno, 'waiting for packets');
      }
      if (view.getInt16(WAKE * POLLFD.bytes + POLLFD.revents, true) !== 0) this.#takeMessages();
      if (view.getInt16(TUN * POLLFD.bytes + POLLFD.revents, true) !== 0) this.#drainTun();
      if (view.getInt16(SOCKET * POLLFD.bytes + POLLFD.revents, true) !== 0) this.#inbound.drain();
    }
  }

  #drainTun(): void {
    const errno = this.#outbound.drain();
    if (errno === 0 || errno === EAGAIN) return;
    // The device was deleted under us. Stop watching it, or poll would spin on its error.
    this.#watch(TUN, -1);
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

  #waitWritable(fd: number): boolean {
    this.#scratch.view.setInt32(WRITABLE + POLLFD.fd, fd, true);
    this.#scratch.view.setInt16(WRITABLE + POLLFD.events, POLLOUT, true);
    return libc.poll(this.#scratch.address(WRITABLE), 1, WRITABLE_TIMEOUT_MS) > 0;
  }

  /** poll(2) passes over a negative descriptor. */
  #watch(index: number, fd: number): void {
    const at = index * POLLFD.bytes;
    this.#scratch.view.setInt32(at + POLLFD.fd, fd, true);
    this.#scratch.view.setInt16(at + POLLFD.events, POLLIN, true);
    this.#scratch.view.setInt16(at + POLLFD.revents, 0, true);
  }
}

if (!parentPort) throw new Error('datapath/worker runs as a worker thread');
const port = parentPort;

function post(message: FromWorker): void {
  port.postMessage(message);
}

new PacketPath(workerData as WorkerSettings).run();
port.close();
