/**
 * The thread that makes the sessions of the tunnel: handshakes from and to its own socket, what packet path threads ask for,
 * timers. It blocks in poll like a packet path thread, so that a flood of handshakes holds up neither packets nor gossip.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { WorkerCounters } from '../datapath/counters.ts';
import { PollSet } from '../datapath/poll-set.ts';
import { chooseAead } from '../encapsulation/wireguard/choose-aead.ts';
import { KeyExchange } from '../encapsulation/wireguard/key-exchange.ts';
import { MAX_NOTICE_BYTES, NOTICE_HEADER_BYTES, readNotice } from '../encapsulation/wireguard/notices.ts';
import { SharedSessions } from '../encapsulation/wireguard/shared-sessions.ts';
import { Timestamps } from '../encapsulation/wireguard/tai64n.ts';
import { withPublicKey } from '../encapsulation/wireguard/x25519.ts';
import { errorMessage } from '../errors.ts';
import { Arena } from '../sys/arena.ts';
import { MSG_DONTWAIT, POLLIN } from '../sys/constants.ts';
import * as libc from '../sys/libc.ts';
import { DatagramSocket } from '../underlay/datagram-socket.ts';
import { writeCeiling } from './handshake-ceiling.ts';
import type { FromKeyExchange, KeyExchangeSettings, ToKeyExchange } from './key-exchange-messages.ts';
import { PollClock } from './poll-clock.ts';

const WAKE = 0;
const NOTICES = 1;
const SOCKET = 2;
/** Of each kind before the others have their turn. */
const BURST = 64;

class KeyExchangeThread {
  readonly #settings: KeyExchangeSettings;
  readonly #clock = new PollClock();
  readonly #memory = new Arena(MAX_NOTICE_BYTES);
  readonly #turns: Int32Array;
  readonly #exchange: KeyExchange;
  #socket: DatagramSocket | undefined;
  #poll: PollSet;
  #isStopping = false;

  constructor(settings: KeyExchangeSettings) {
    this.#settings = settings;
    this.#turns = new Int32Array(settings.turns);
    const { engine, fallback } = chooseAead();
    const { ceilingUs, ceilingFile } = settings;
    const timestamps = new Timestamps(Date.now, {
      load: () => ceilingUs,
      save: (us) => writeCeiling(ceilingFile, us),
    });
    this.#exchange = new KeyExchange({
      own: withPublicKey(settings.privateKey),
      clock: this.#clock,
      timestamps,
      engine,
      shared: new SharedSessions(settings.shared),
      workers: settings.workers,
      counters: new WorkerCounters(settings.counters),
      send: (datagram, to) => void this.#socket?.send(datagram, to),
      failed: (error) => post({ kind: 'failed', message: errorMessage(error) }),
      pairKeyWanted: (vtep) => post({ kind: 'pair-key-wanted', vtep }),
    });
    this.#poll = this.#watched();
    post({ kind: 'ready', cipher: engine.name, fallback });
  }

  run(): void {
    while (!this.#isStopping) {
      const poll = this.#poll;
      if (poll.wait(this.#clock.timeoutMs())) {
        if (poll.isReady(NOTICES)) this.#takeNotices();
        if (this.#socket !== undefined && poll.isReady(SOCKET)) this.#receive(this.#socket);
        if (poll.isReady(WAKE)) this.#takeMessages();
      }
      this.#turns[0]!++;
      this.#clock.runDue();
    }
    this.#exchange.close();
  }

  #watched(): PollSet {
    const { wakeFd, noticesFd } = this.#settings;
    const fds = [wakeFd, noticesFd, ...(this.#socket === undefined ? [] : [this.#socket.fd])];
    return new PollSet(fds.map((fd) => ({ fd, events: POLLIN })));
  }

  #takeNotices(): void {
    for (let i = 0; i < BURST; i++) {
      const address = this.#memory.address(0);
      const bytes = libc.recv(this.#settings.noticesFd, address, MAX_NOTICE_BYTES, MSG_DONTWAIT);
      if (bytes < NOTICE_HEADER_BYTES) return;
      const notice = readNotice(Buffer.from(this.#memory.buffer, 0, bytes));
      if (notice !== undefined) this.#exchange.take(notice);
    }
  }

  #receive(socket: DatagramSocket): void {
    for (let i = 0; i < BURST; i++) {
      const received = socket.receive();
      if (received === undefined) return;
      this.#exchange.receive(received.datagram, received.from);
    }
  }

  #takeMessages(): void {
    libc.read(this.#settings.wakeFd, this.#memory.address(0), 8);
    for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
      const message = next.message as ToKeyExchange;
      if (message.kind === 'stop') this.#isStopping = true;
      else if (message.kind === 'peers') this.#exchange.update(message.peers, message.mtu);
      else if (message.kind === 'pair-keys') this.#exchange.setPairKeys(message.vtep, message.keys);
      else {
        this.#socket = new DatagramSocket(message.fd, message.family);
        this.#poll = this.#watched();
      }
      post({ kind: 'done' });
    }
  }
}

if (!parentPort) throw new Error('dataplane/key-exchange-worker runs as a worker thread');
const port = parentPort;

function post(message: FromKeyExchange): void {
  port.postMessage(message);
}

new KeyExchangeThread(workerData as KeyExchangeSettings).run();
port.close();
