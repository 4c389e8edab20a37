/** The thread that does a device's work, as the control thread sees it. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { WarrenError } from '../errors.ts';
import { builtFile } from '../package.ts';
import { Arena } from '../sys/arena.ts';
import { checked } from '../sys/calls.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK } from '../sys/constants.ts';
import * as libc from '../sys/libc.ts';
import type {
  FromTunnel,
  PeerState,
  ToTunnel,
  TunnelSettings,
  TunnelThreadSettings,
} from './thread-messages.ts';

const DOING = "starting the device's thread";

export interface TunnelThreadOptions {
  readonly tunFd: number;
  readonly family: 4 | 6;
  readonly onNetworkChanged: () => void;
  /** Undefined: the device was deleted. Nothing is carried any more. */
  readonly onEnded: (error: Error | undefined) => void;
  readonly onFailed: (message: string) => void;
}

/** Does a device's work; on Linux a thread, in tests something in memory. */
export interface RunningTunnel {
  configure(settings: TunnelSettings): Promise<void>;
  /** Resolves once the one of before is not used any more. */
  useSocket(fd: number): Promise<void>;
  setInterface(isUp: boolean, mtu: number): Promise<void>;
  forgetSources(slots: readonly number[]): Promise<void>;
  peers(): Promise<readonly PeerState[]>;
  stop(): Promise<void>;
}

export class TunnelThread implements RunningTunnel {
  readonly #worker: Worker;
  readonly #wakeFd: number;
  readonly #one = new Arena(8);
  readonly #exited: Promise<unknown>;
  /** In order, as they are answered; bounded by what the control thread asks. */
  readonly #pending: ((answer: FromTunnel) => void)[] = [];
  #isStopping = false;
  #hasEnded = false;

  static async start(options: TunnelThreadOptions): Promise<TunnelThread> {
    const started = new TunnelThread(options);
    await started.#ready(options);
    return started;
  }

  private constructor({ tunFd, family }: TunnelThreadOptions) {
    this.#one.setWord(0, 1);
    this.#wakeFd = checked(libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), { call: 'eventfd', doing: DOING });
    const workerData: TunnelThreadSettings = { tunFd, family, wakeFd: this.#wakeFd };
    this.#worker = new Worker(builtFile('wireguard-device/thread'), {
      workerData,
      name: 'warren-tunnel',
    });
    this.#exited = once(this.#worker, 'exit').catch(() => {});
  }

  async configure(settings: TunnelSettings): Promise<void> {
    await this.#ask({ kind: 'configure', ...settings });
  }

  async useSocket(fd: number): Promise<void> {
    await this.#ask({ kind: 'socket', fd });
  }

  async setInterface(isUp: boolean, mtu: number): Promise<void> {
    await this.#ask({ kind: 'interface', isUp, mtu });
  }

  async forgetSources(slots: readonly number[]): Promise<void> {
    await this.#ask({ kind: 'forget-sources', slots });
  }

  async peers(): Promise<readonly PeerState[]> {
    const answer = await this.#ask({ kind: 'peers' });
    return answer.kind === 'peers' ? answer.peers : [];
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.race([this.#ask({ kind: 'stop' }), this.#exited]);
    await this.#exited;
    libc.close(this.#wakeFd);
  }

  async #ready({ onNetworkChanged, onEnded, onFailed }: TunnelThreadOptions): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#worker.on('message', (message: FromTunnel) => {
        switch (message.kind) {
          case 'ready':
            return resolve();
          case 'done':
          case 'peers':
            return this.#pending.shift()?.(message);
          case 'network-changed':
            return onNetworkChanged();
          case 'tun-lost':
            return onEnded(undefined);
          case 'failed':
            return onFailed(message.message);
        }
      });
      const ended = (error: Error) => {
        reject(error);
        this.#hasEnded = true;
        // Nobody is left to answer.
        for (const settle of this.#pending.splice(0)) settle({ kind: 'done' });
        if (!this.#isStopping) onEnded(error);
      };
      this.#worker.on('error', ended);
      this.#worker.on('exit', (code) => {
        ended(new WarrenError('WORKER_ENDED', `the device's thread ended with code ${code}`));
      });
    });
  }

  /** Answered at once where nobody is left to answer. */
  #ask(message: ToTunnel): Promise<FromTunnel> {
    if (this.#hasEnded) return Promise.resolve({ kind: 'done' });
    return new Promise((resolve) => {
      this.#pending.push(resolve);
      this.#worker.postMessage(message);
      libc.write(this.#wakeFd, this.#one.address(0), 8);
    });
  }
}
