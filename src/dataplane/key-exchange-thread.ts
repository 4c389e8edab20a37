/**
 * The thread that makes the tunnel's sessions, as the control thread sees it. It outlives packet paths: what replaces one
 * goes on with the sessions that there are.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Clock, Timer } from '../clock.ts';
import type { WorkerCounters } from '../datapath/counters.ts';
import type { KeyedPeer, PairKeys } from '../encapsulation/wireguard/key-exchange.ts';
import { SharedSessions } from '../encapsulation/wireguard/shared-sessions.ts';
import type { KeyPair } from '../encapsulation/wireguard/x25519.ts';
import { WarrenError } from '../errors.ts';
import { addressFromWords, type Family } from '../ip/address.ts';
import type { Endpoint } from '../ip/endpoint.ts';
import { builtFile } from '../package.ts';
import { Arena } from '../sys/arena.ts';
import { checked } from '../sys/calls.ts';
import {
  AF_UNIX,
  EFD_CLOEXEC,
  EFD_NONBLOCK,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_SEQPACKET,
} from '../sys/constants.ts';
import * as libc from '../sys/libc.ts';
import { SMALL_YOUNG_GENERATION } from '../sys/young-generation.ts';
import { readCeiling } from './handshake-ceiling.ts';
import { Heartbeats } from './heartbeat.ts';
import type { FromKeyExchange, KeyExchangeSettings, ToKeyExchange } from './key-exchange-messages.ts';
import type { SharedSessionSettings } from './worker-messages.ts';

/** For it to end by itself. */
const STOP_MS = 5_000;

export interface KeyExchangeThreadOptions {
  readonly clock: Clock;
  readonly own: KeyPair;
  readonly ceilingFile: string;
  /** Packet path threads. */
  readonly workers: number;
  /** Of what it sends itself, and refuses. */
  readonly counters: WorkerCounters;
  /** A handshake could not begin; the next one may. */
  readonly onFailed: (message: string) => void;
  /** It has ended, or does not answer, and no session is made any more. */
  readonly onEnded: (error: Error) => void;
  /** See KeyExchangeOptions. */
  readonly onPairKeyWanted: (vtep: number) => void;
}

/** Makes sessions for a packet path; on Linux a thread, in tests something in memory. */
export interface RunningKeyExchange {
  /** What a packet path needs to use the sessions. */
  readonly sessions: SharedSessionSettings;
  /** What seals, and why it is a slower one than there could be. */
  readonly cipher: { readonly name: string; readonly fallback: string | undefined };
  /** Resolves once sessions are made with these and no others. */
  update(peers: readonly KeyedPeer[], mtu: number): Promise<void>;
  /** See KeyExchange. */
  setPairKeys(vtep: number, keys: PairKeys | undefined): void;
  /** Resolves once the socket of before is not used any more. */
  useSocket(fd: number, family: 4 | 6): Promise<void>;
  /** For how long there have been the keys that are in use with a VTEP, milliseconds; undefined: there are none. */
  sessionAgeMs(vtep: number): number | undefined;
  /** Since the last handshake with a VTEP, milliseconds; undefined: there was none. */
  handshakeAgeMs(vtep: number): number | undefined;
  /** Where a VTEP was heard from last, if that is not where `update` says that it is. */
  movedTo(vtep: number, family: Family): Endpoint | undefined;
  stop(): Promise<void>;
}

export class KeyExchangeThread implements RunningKeyExchange {
  readonly #thread: Worker;
  readonly #shared: SharedSessions;
  readonly #wakeFd: number;
  readonly #noticeFds: readonly [number, number];
  readonly #exited: Promise<unknown>;
  readonly #one = new Arena(8);
  readonly #pending: (() => void)[] = [];
  readonly #nowMs: () => number;
  readonly #clock: Clock;
  readonly #turns = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  #heartbeats: Timer | undefined;
  #isStopping = false;
  cipher: RunningKeyExchange['cipher'] = { name: '', fallback: undefined };

  /** Throws STATE_UNREADABLE, STATE_CORRUPT, or why it cannot be started. `nowMs`: of sys/monotonic.ts. */
  static async start(options: KeyExchangeThreadOptions, nowMs: () => number): Promise<KeyExchangeThread> {
    const started = new KeyExchangeThread(options, nowMs);
    await started.#ready(options);
    return started;
  }

  private constructor(options: KeyExchangeThreadOptions, nowMs: () => number) {
    const { own, ceilingFile, workers, counters, clock } = options;
    this.#clock = clock;
    const ceilingUs = readCeiling(ceilingFile);
    this.#nowMs = nowMs;
    this.#shared = new SharedSessions();
    this.#one.setWord(0, 1);
    this.#noticeFds = noticePair();
    this.#wakeFd = checked(libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), {
      call: 'eventfd',
      doing: 'starting the thread that agrees on keys',
    });
    const settings: KeyExchangeSettings = {
      ...{ privateKey: own.privateKey, ceilingUs, ceilingFile, workers },
      shared: this.#shared.shared,
      counters: counters.shared,
      noticesFd: this.#noticeFds[0],
      wakeFd: this.#wakeFd,
      turns: this.#turns.buffer as SharedArrayBuffer,
    };
    this.#thread = new Worker(builtFile('dataplane/key-exchange-worker'), {
      workerData: settings,
      name: 'warren-keys',
      resourceLimits: SMALL_YOUNG_GENERATION,
    });
    this.#exited = once(this.#thread, 'exit').catch(() => {});
  }

  get sessions(): SharedSessionSettings {
    return { shared: this.#shared.shared, noticesFd: this.#noticeFds[1] };
  }

  update(peers: readonly KeyedPeer[], mtu: number): Promise<void> {
    return this.#ask({ kind: 'peers', peers, mtu });
  }

  setPairKeys(vtep: number, keys: PairKeys | undefined): void {
    void this.#ask({ kind: 'pair-keys', vtep, keys });
  }

  useSocket(fd: number, family: 4 | 6): Promise<void> {
    return this.#ask({ kind: 'socket', fd, family });
  }

  sessionAgeMs(vtep: number): number | undefined {
    return this.#shared.sendingTo(vtep) === 0 ? undefined : this.handshakeAgeMs(vtep);
  }

  handshakeAgeMs(vtep: number): number | undefined {
    const agreedAtMs = this.#shared.agreedAtMs(vtep);
    return agreedAtMs === 0 ? undefined : Math.max(0, this.#nowMs() - agreedAtMs);
  }

  movedTo(vtep: number, family: Family): Endpoint | undefined {
    return endpointOf(this.#shared.movedTo(vtep, family));
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#heartbeats?.cancel();
    this.#send({ kind: 'stop' });
    const giveUp = this.#clock.after(STOP_MS, () => void this.#thread.terminate());
    await this.#exited;
    giveUp.cancel();
    for (const fd of [this.#wakeFd, ...this.#noticeFds]) libc.close(fd);
  }

  async #ready({ onFailed, onEnded, onPairKeyWanted }: KeyExchangeThreadOptions): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#thread.on('message', (message: FromKeyExchange) => {
        if (message.kind === 'done') this.#pending.shift()?.();
        else if (message.kind === 'failed') onFailed(message.message);
        else if (message.kind === 'pair-key-wanted') onPairKeyWanted(message.vtep);
        else {
          this.cipher = { name: message.cipher, fallback: message.fallback };
          this.#watch(onEnded);
          resolve();
        }
      });
      const ended = (error: Error) => {
        reject(error);
        // Nobody is left to answer.
        for (const settle of this.#pending.splice(0)) settle();
        if (this.#isStopping) return;
        this.#heartbeats?.cancel();
        onEnded(error);
      };
      this.#thread.on('error', ended);
      this.#thread.on('exit', (code) => {
        ended(new WarrenError('WORKER_ENDED', `the thread that agrees on keys ended with code ${code}`));
      });
    });
  }

  /** As those of the packet path (watched-path.ts), but for this: where it does not come back, the agent ends. */
  #watch(onLost: (error: Error) => void): void {
    const wake = () => void libc.write(this.#wakeFd, this.#one.address(0), 8);
    const heartbeats = new Heartbeats([{ turns: () => this.#turns[0]!, wake }], this.#clock.now());
    const look = () => {
      const nextMs = heartbeats.look(this.#clock.now());
      if (!heartbeats.isOneLost) this.#heartbeats = this.#clock.after(nextMs, look);
      else onLost(new WarrenError('WORKER_STUCK', 'the thread that agrees on keys does not answer'));
    };
    this.#heartbeats = this.#clock.after(0, look);
  }

  #ask(message: ToKeyExchange): Promise<void> {
    const done = new Promise<void>((resolve) => this.#pending.push(resolve));
    this.#send(message);
    return done;
  }

  #send(message: ToKeyExchange): void {
    this.#thread.postMessage(message);
    libc.write(this.#wakeFd, this.#one.address(0), 8);
  }
}

/** One end reads what the other is written to; messages keep their borders. */
function noticePair(): readonly [number, number] {
  const fds = new Arena(8);
  checked(libc.socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.address(0)), {
    call: 'socketpair',
    doing: 'starting the thread that agrees on keys',
  });
  return [fds.view.getInt32(0, true), fds.view.getInt32(4, true)];
}

/** What shared-sessions.ts says of a peer that has moved. */
export function endpointOf(
  moved: { readonly words: Int32Array; readonly port: number } | undefined,
): Endpoint | undefined {
  return moved && { address: addressFromWords(moved.words), port: moved.port };
}
