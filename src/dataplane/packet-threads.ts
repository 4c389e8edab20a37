/**
 * The packet path as the control thread sees it: starts the workers, hands them each new forwarding state, stops
 * them. It owns the workers and their eventfds; the caller owns counters, TUN and socket descriptors, and closes
 * those after `stop`.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { WorkerCounters } from '../datapath/counters.ts';
import type { ForwardingState } from '../datapath/forwarding.ts';
import type { EncapsulationSettings } from '../encapsulation/choose.ts';
import { WarrenError } from '../errors.ts';
import { builtFile } from '../package.ts';
import { Arena } from '../sys/arena.ts';
import { checked } from '../sys/calls.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK } from '../sys/constants.ts';
import { errnoName } from '../sys/errors.ts';
import * as libc from '../sys/libc.ts';
import { SMALL_YOUNG_GENERATION } from '../sys/young-generation.ts';
import type { Beating } from './heartbeat.ts';
import type {
  FromWorker,
  SharedSessionSettings,
  ToWorker,
  WorkerOffloads,
  WorkerSettings,
} from './worker-messages.ts';

export interface DatapathOptions {
  /** One TUN queue and one underlay socket per worker: where it reads and receives. */
  readonly tunReadFds: readonly number[];
  readonly socketFds: readonly number[];
  /** Where it writes and sends; the same as those if there is one worker. */
  readonly tunWriteFds: readonly number[];
  readonly sendFds: readonly number[];
  readonly underlayFamily: 4 | 6;
  readonly dscp: number | 'copy';
  readonly encapsulation: EncapsulationSettings;
  readonly sessions: SharedSessionSettings | undefined;
  readonly overheadBytes: number;
  readonly offloads: WorkerOffloads;
  /** One per worker. They are the caller's, and go on where an earlier packet path stopped. */
  readonly counters: readonly WorkerCounters[];
  /** An offload turned out not to work here, and is off from now on. */
  readonly onOffloadOff: (offload: keyof WorkerOffloads) => void;
  /** The packet path cannot go on: the TUN device vanished, or a worker died. Called at most once. */
  readonly onFailure: (error: Error) => void;
}

type WorkerDescriptors = Pick<
  WorkerSettings,
  'tunReadFd' | 'tunWriteFd' | 'socketFd' | 'sendFd' | 'counters'
>;

interface RunningWorker {
  readonly thread: Worker;
  readonly wakeFd: number;
  readonly turns: Int32Array;
  readonly exited: Promise<unknown>;
  /** Resolves the oldest `update` that the worker has not confirmed. */
  readonly pending: (() => void)[];
}

export class Datapath {
  readonly #onFailure: (error: Error) => void;
  readonly #one = new Arena(8);
  #workers: RunningWorker[] = [];
  /** Those that were told to end. */
  #ending: readonly RunningWorker[] = [];
  #offloads: WorkerOffloads;
  #stopping = false;
  #failed = false;

  private constructor(offloads: WorkerOffloads, onFailure: (error: Error) => void) {
    this.#offloads = offloads;
    this.#onFailure = onFailure;
    this.#one.setWord(0, 1);
  }

  /** Resolves once every worker polls. */
  static async start(options: DatapathOptions): Promise<Datapath> {
    const datapath = new Datapath(options.offloads, options.onFailure);
    const starting = options.tunReadFds.map((tunReadFd, i) =>
      datapath.#startWorker(options, {
        tunReadFd,
        tunWriteFd: options.tunWriteFds[i]!,
        socketFd: options.socketFds[i]!,
        sendFd: options.sendFds[i]!,
        counters: options.counters[i]!.shared,
      }),
    );
    try {
      await Promise.all(starting);
    } catch (error) {
      await datapath.stop();
      throw error;
    }
    return datapath;
  }

  get threads(): readonly Beating[] {
    return this.#workers.map((worker) => ({
      turns: () => worker.turns[0]!,
      wake: () => this.#wake(worker),
    }));
  }

  /** Resolves once every worker works by the new state, each by a copy of its own. */
  async update(state: ForwardingState): Promise<void> {
    await Promise.all(
      this.#workers.map((worker) => {
        const loaded = new Promise<void>((resolve) => worker.pending.push(resolve));
        this.#send(worker, { kind: 'forwarding', state });
        return loaded;
      }),
    );
  }

  /** By worker: where copies of what it drops go. */
  tapDrops(rings: readonly (readonly SharedArrayBuffer[])[]): void {
    for (const [i, worker] of this.#workers.entries()) {
      this.#send(worker, { kind: 'taps', rings: rings[i] ?? [] });
    }
  }

  /** What is in use: an offload that one worker had to turn off counts as off. */
  get offloads(): WorkerOffloads {
    return this.#offloads;
  }

  /** Resolves once the workers have ended; packets that arrive after that wait in the kernel's queues. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#ending = this.#workers;
    this.#workers = [];
    await Promise.all(
      this.#ending.map(async (worker) => {
        this.#send(worker, { kind: 'stop' });
        await worker.exited;
        libc.close(worker.wakeFd);
      }),
    );
  }

  /** After `stop`: ends also a worker that runs in circles. Only one that the kernel holds stays. */
  kill(): void {
    for (const { thread } of this.#ending) thread.terminate().catch(() => {});
  }

  async #startWorker(options: DatapathOptions, descriptors: WorkerDescriptors): Promise<void> {
    const wakeFd = checked(libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), {
      call: 'eventfd',
      doing: 'starting a packet path worker',
    });
    const turns = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
    const settings: WorkerSettings = {
      ...descriptors,
      turns,
      wakeFd,
      underlayFamily: options.underlayFamily,
      dscp: options.dscp,
      encapsulation: options.encapsulation,
      sessions: options.sessions,
      overheadBytes: options.overheadBytes,
      offloads: this.#offloads,
    };
    const thread = new Worker(builtFile('dataplane/packet-worker'), {
      workerData: settings,
      name: 'warren-path',
      resourceLimits: SMALL_YOUNG_GENERATION,
    });
    const exited = once(thread, 'exit').catch(() => {});
    const worker: RunningWorker = { thread, wakeFd, turns: new Int32Array(turns), exited, pending: [] };
    this.#workers.push(worker);
    await new Promise<void>((resolve, reject) => {
      thread.on('message', (message: FromWorker) => {
        if (message.kind === 'ready') resolve();
        else if (message.kind === 'loaded') worker.pending.shift()?.();
        else if (message.kind === 'offload-off') this.#offloadOff(message.offload, options);
        else this.#fail(tunLost(message.errno));
      });
      thread.on('error', (error) => {
        reject(error);
        this.#fail(error);
      });
      thread.on('exit', (code) => {
        const error = new WarrenError('WORKER_ENDED', `a packet path worker ended with code ${code}`);
        reject(error);
        this.#fail(error);
        // Nobody is left to confirm them.
        for (const settle of worker.pending.splice(0)) settle();
      });
    });
  }

  #send(worker: RunningWorker, message: ToWorker): void {
    worker.thread.postMessage(message);
    this.#wake(worker);
  }

  #wake(worker: RunningWorker): void {
    libc.write(worker.wakeFd, this.#one.address(0), 8);
  }

  #offloadOff(offload: keyof WorkerOffloads, options: DatapathOptions): void {
    if (!this.#offloads[offload]) return;
    this.#offloads = { ...this.#offloads, [offload]: false };
    options.onOffloadOff(offload);
  }

  #fail(error: Error): void {
    if (this.#stopping || this.#failed) return;
    this.#failed = true;
    this.#onFailure(error);
  }
}

function tunLost(errno: number): WarrenError {
  return new WarrenError('TUN_LOST', `the TUN device is gone (${errnoName(errno)}): something deleted it`, {
    hint: 'restart the agent, which makes it anew',
  });
}
