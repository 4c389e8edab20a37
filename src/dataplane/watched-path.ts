/**
 * A packet path whose threads may stop answering: nothing that is asked of it is waited for without end, and it says when
 * a thread does not answer (heartbeat.ts).
 *
 * A thread cannot be ended while it is in a system call that does not return, or is not scheduled at all; and as long as
 * it is there, the descriptors that it uses must stay open, or it would go on with whatever has their numbers by then.
 */
import type { Clock, Timer } from '../clock.ts';
import type { ForwardingState } from '../datapath/forwarding.ts';
import { WarrenError } from '../errors.ts';
import { Heartbeats } from './heartbeat.ts';
import type { PacketPath } from './userspace-parts.ts';
import type { WorkerOffloads } from './worker-messages.ts';

/** A thread takes some 250 ms at most to hear of something (datapath/turn.ts); the rest is for a busy machine. */
export const ANSWER_MS = 5000;
/** For a thread that is known not to answer. */
const LAST_CHANCE_MS = 500;
/** For what is in an endless loop to be ended. */
const KILL_MS = 2000;
/** For threads to start. */
const START_MS = 30_000;

export interface WatchedPathOptions {
  readonly clock: Clock;
  /** `stuckWorkers` is another number now. */
  readonly onChange: () => void;
  /** A thread is given up. Called at most once. */
  readonly onLost: () => void;
}

export class WatchedPath {
  readonly #path: PacketPath;
  readonly #options: WatchedPathOptions;
  readonly #heartbeats: Heartbeats;
  #timer: Timer;
  /** An update that was not confirmed in time. */
  #isLate = false;
  #stuckWorkers = 0;

  /** Throws WORKER_STUCK; what starts later after all is stopped. */
  static async start(starting: Promise<PacketPath>, options: WatchedPathOptions): Promise<WatchedPath> {
    if (await isDoneWithin(starting, START_MS, options.clock)) {
      return new WatchedPath(await starting, options);
    }
    starting.then((path) => path.stop()).catch(() => {});
    throw stuck('a packet path thread does not start');
  }

  constructor(path: PacketPath, options: WatchedPathOptions) {
    this.#path = path;
    this.#options = options;
    this.#heartbeats = new Heartbeats(path.threads, options.clock.now());
    this.#timer = options.clock.after(0, () => this.#look());
  }

  get offloads(): WorkerOffloads {
    return this.#path.offloads;
  }

  /** Threads that do not answer. */
  get stuckWorkers(): number {
    return this.#stuckWorkers;
  }

  /** Resolves once all packets go by the new state. Throws WORKER_STUCK: then some go by an older one. */
  async update(state: ForwardingState): Promise<void> {
    if (this.#isLate) throw stuck('a packet path thread has yet to take over the peers of before');
    const updating = this.#path.update(state);
    if (await isDoneWithin(updating, ANSWER_MS, this.#options.clock)) return updating;
    this.#isLate = true;
    const isInTime = () => {
      this.#isLate = false;
    };
    updating.then(isInTime, isInTime);
    throw stuck('a packet path thread does not take over the peers');
  }

  tapDrops(rings: readonly (readonly SharedArrayBuffer[])[]): void {
    this.#path.tapDrops(rings);
  }

  /** Resolves once its threads have ended. Throws WORKER_STUCK: then one is still there, with all that it uses. */
  async stop(): Promise<void> {
    const { clock } = this.#options;
    this.#timer.cancel();
    const isSilent = this.#isLate || this.#stuckWorkers > 0;
    const stopping = this.#path.stop();
    if (await isDoneWithin(stopping, isSilent ? LAST_CHANCE_MS : ANSWER_MS, clock)) return stopping;
    this.#path.kill();
    if (await isDoneWithin(stopping, KILL_MS, clock)) return stopping;
    throw stuck('a packet path thread does not end');
  }

  #look(): void {
    const { clock, onChange, onLost } = this.#options;
    const nextMs = this.#heartbeats.look(clock.now());
    const { stuck, isOneLost } = this.#heartbeats;
    if (stuck !== this.#stuckWorkers) {
      this.#stuckWorkers = stuck;
      onChange();
    }
    if (isOneLost) onLost();
    else this.#timer = clock.after(nextMs, () => this.#look());
  }
}

function stuck(message: string): WarrenError {
  return new WarrenError('WORKER_STUCK', message, {
    hint: 'Restart the agent; pods and their connections outlive that. If it happens again, see what the kernel log says.',
  });
}

/** Whether `work` is settled before `limitMs` are over. */
function isDoneWithin(work: Promise<unknown>, limitMs: number, clock: Clock): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = clock.after(limitMs, () => resolve(false));
    const done = () => {
      timer.cancel();
      resolve(true);
    };
    work.then(done, done);
  });
}
