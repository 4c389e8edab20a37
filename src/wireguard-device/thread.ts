/**
 * The thread that does a device's work (tunnel.ts). It blocks in poll on the TUN, the socket and what the control thread says,
 * as packet path threads of an agent do, and runs the protocol's timers in between.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { WorkerCounters } from '../datapath/counters.ts';
import { PollSet } from '../datapath/poll-set.ts';
import { PollClock } from '../dataplane/poll-clock.ts';
import { chooseAead } from '../encapsulation/wireguard/choose-aead.ts';
import { Timestamps } from '../encapsulation/wireguard/tai64n.ts';
import { errorMessage } from '../errors.ts';
import { Arena } from '../sys/arena.ts';
import { EAGAIN, POLLIN, POLLOUT } from '../sys/constants.ts';
import * as libc from '../sys/libc.ts';
import { RouteEvents } from '../sys/route-events.ts';
import { LinuxTunQueue } from '../tun/tun-queue.ts';
import type { FromTunnel, ToTunnel, TunnelThreadSettings } from './thread-messages.ts';
import { Tunnel } from './tunnel.ts';
import { TunnelSocket } from './tunnel-socket.ts';

const TUN = 0;
const WAKE = 1;
const EVENTS = 2;
const SOCKET = 3;

class TunnelThread {
  readonly #settings: TunnelThreadSettings;
  readonly #clock = new PollClock();
  readonly #wakeValue = new Arena(8);
  readonly #socket: TunnelSocket;
  readonly #tunnel: Tunnel;
  readonly #events = RouteEvents.open();
  readonly #writeRoom: PollSet;
  #packets: PollSet;
  #sendRoom: PollSet;
  #isTunLost = false;
  #isStopping = false;

  constructor(settings: TunnelThreadSettings) {
    this.#settings = settings;
    this.#socket = new TunnelSocket(settings.family);
    const { engine } = chooseAead();
    this.#tunnel = new Tunnel({
      clock: this.#clock,
      // A device's key is nobody's who keeps a state: as with other implementations, the clock is all there is.
      timestamps: new Timestamps(Date.now, { load: () => undefined, save: () => {} }),
      engine,
      tun: new LinuxTunQueue(settings.tunFd, settings.tunFd),
      socket: this.#socket,
      counters: new WorkerCounters(),
      sendRoom: this.#blockForSendRoom,
      writeRoom: this.#blockForWriteRoom,
      failed: (error) => post({ kind: 'failed', message: errorMessage(error) }),
    });
    this.#packets = this.#watched();
    this.#sendRoom = this.#sendRoomOf();
    this.#writeRoom = new PollSet([
      { fd: settings.tunFd, events: POLLOUT },
      { fd: settings.wakeFd, events: POLLIN },
    ]);
    post({ kind: 'ready', cipher: engine.name });
  }

  run(): void {
    while (!this.#isStopping) {
      const poll = this.#packets;
      if (poll.wait(this.#clock.timeoutMs())) {
        if (poll.isReady(TUN)) this.#drainTun(poll);
        if (this.#socket.fd >= 0 && poll.isReady(SOCKET)) this.#tunnel.drainSocket();
        this.#tunnel.settle();
        if (poll.isReady(EVENTS) && this.#events.drain()) post({ kind: 'network-changed' });
        if (poll.isReady(WAKE)) this.#takeMessages();
      }
      this.#clock.runDue();
    }
    this.#tunnel.close();
    this.#events.close();
  }

  #watched(): PollSet {
    const { tunFd, wakeFd } = this.#settings;
    const set = new PollSet(
      [tunFd, wakeFd, this.#events.fd, this.#socket.fd].map((fd) => ({ fd, events: POLLIN })),
    );
    if (this.#isTunLost) set.forget(TUN);
    return set;
  }

  #sendRoomOf(): PollSet {
    const { fd } = this.#socket;
    return new PollSet([
      { fd, events: POLLOUT },
      { fd, events: POLLIN },
      { fd: this.#settings.wakeFd, events: POLLIN },
    ]);
  }

  #drainTun(poll: PollSet): void {
    // What is there was routed to it: it is up, whatever was heard last.
    this.#tunnel.setUp(true);
    const errno = this.#tunnel.drainTun();
    if (errno === 0 || errno === EAGAIN) return;
    // The device was deleted. Stop watching it, or poll would spin on its error.
    this.#isTunLost = true;
    poll.forget(TUN);
    post({ kind: 'tun-lost', errno });
  }

  #takeMessages(): void {
    libc.read(this.#settings.wakeFd, this.#wakeValue.address(0), 8);
    for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
      const answer = this.#take(next.message as ToTunnel);
      post(answer);
    }
  }

  #take(message: ToTunnel): FromTunnel {
    switch (message.kind) {
      case 'configure':
        this.#tunnel.configure(message);
        break;
      case 'socket':
        this.#socket.fd = message.fd;
        this.#packets = this.#watched();
        this.#sendRoom = this.#sendRoomOf();
        break;
      case 'interface':
        this.#tunnel.setMtu(message.mtu);
        this.#tunnel.setUp(message.isUp);
        break;
      case 'forget-sources':
        this.#tunnel.forgetSources(message.slots);
        break;
      case 'peers':
        return { kind: 'peers', peers: this.#tunnel.peers() };
      case 'stop':
        this.#isStopping = true;
    }
    return { kind: 'done' };
  }

  /** A full socket holds up its own direction alone. */
  readonly #blockForSendRoom = (timeoutMs: number, watchesWake: boolean): boolean => {
    if (!this.#sendRoom.wait(timeoutMs, watchesWake ? 3 : 2)) return false;
    if (this.#sendRoom.isReady(1)) this.#tunnel.drainSocket();
    return watchesWake && this.#sendRoom.isReady(2);
  };

  readonly #blockForWriteRoom = (timeoutMs: number, watchesWake: boolean): boolean => {
    if (!this.#writeRoom.wait(timeoutMs, watchesWake ? 2 : 1)) return false;
    return watchesWake && this.#writeRoom.isReady(1);
  };
}

if (!parentPort) throw new Error('wireguard-device/thread runs as a worker thread');
const port = parentPort;

function post(message: FromTunnel): void {
  port.postMessage(message);
}

new TunnelThread(workerData as TunnelThreadSettings).run();
port.close();
