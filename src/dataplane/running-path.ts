/**
 * The packet path that runs, if any: started with the first state that it is to forward by, and again after a stop. Where
 * one of its threads does not end, it is started no more.
 */
import type { Clock } from '../clock.ts';
import type { ForwardingState } from '../datapath/forwarding.ts';
import { WarrenError } from '../errors.ts';
import type { PacketPath } from './userspace-parts.ts';
import { WatchedPath } from './watched-path.ts';
import type { WorkerOffloads } from './worker-messages.ts';

export interface RunningPathOptions {
  readonly clock: Clock;
  readonly start: () => Promise<PacketPath>;
  /** `stuckWorkers` is another number now. */
  readonly onChange: () => void;
  /** A thread is given up: the path is to be stopped, and to be started again. */
  readonly onLost: () => void;
  /** A thread does not end: what it uses must stay as it is, and the agent cannot go on. */
  readonly onStuck: (error: WarrenError) => void;
}

export class RunningPath {
  readonly #options: RunningPathOptions;
  #path: WatchedPath | undefined;
  #isLost = false;
  /** By thread; what starts later gets them too. */
  #dropRings: readonly (readonly SharedArrayBuffer[])[] = [];
  #stuck: WarrenError | undefined;

  constructor(options: RunningPathOptions) {
    this.#options = options;
  }

  get isRunning(): boolean {
    return this.#path !== undefined;
  }

  /** Undefined while none runs. */
  get offloads(): WorkerOffloads | undefined {
    return this.#path?.offloads;
  }

  /** Threads that do not answer. */
  get stuckWorkers(): number {
    return this.#path?.stuckWorkers ?? 0;
  }

  /** The one that runs was given up, and not stopped since. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /** The error of `onStuck`, once there was one. */
  get stuck(): WarrenError | undefined {
    return this.#stuck;
  }

  /** Starts one if none runs. Resolves once all packets go by `state()`, which is asked when there is a path. */
  async update(state: () => ForwardingState): Promise<void> {
    if (!this.#path) {
      this.#path = await this.#start();
      if (this.#dropRings.length > 0) this.#path.tapDrops(this.#dropRings);
    }
    await this.#path.update(state());
  }

  /** By thread: rings that copies of what it drops go into from now on, all there are. */
  tapDrops(rings: readonly (readonly SharedArrayBuffer[])[]): void {
    this.#dropRings = rings;
    this.#path?.tapDrops(rings);
  }

  /** Resolves once its threads have ended. Throws WORKER_STUCK. */
  async stop(): Promise<void> {
    const path = this.#path;
    this.#path = undefined;
    this.#isLost = false;
    await this.#noting(async () => path?.stop());
  }

  #start(): Promise<WatchedPath> {
    const { clock, start, onChange, onLost } = this.#options;
    if (this.#stuck) throw this.#stuck;
    const lost = () => {
      this.#isLost = true;
      onLost();
    };
    return this.#noting(() => WatchedPath.start(start(), { clock, onChange, onLost: lost }));
  }

  async #noting<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof WarrenError && error.code === 'WORKER_STUCK') {
        this.#stuck = error;
        this.#options.onStuck(error);
      }
      throw error;
    }
  }
}
