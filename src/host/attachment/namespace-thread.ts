/**
 * The namespace thread as the control thread has it: started by the first operation, ended after a time without any,
 * and another one in its place if it is lost.
 */
import { Worker } from 'node:worker_threads';
import { type Clock, realClock, type Timer } from '../../clock.ts';
import { foreignCode, WarrenError } from '../../errors.ts';
import type { Logger } from '../../log/logger.ts';
import { builtFile } from '../../package.ts';
import * as libc from '../../sys/libc.ts';
import { openNetlinkSockets } from '../../sys/netlink-socket.ts';
import { SMALL_YOUNG_GENERATION } from '../../sys/young-generation.ts';
import { Journal } from './journal.ts';
import type { ErrorParts, FromThread, OperationName, Operations, ThreadSettings } from './thread-messages.ts';

/** What an operation needs is kilobytes; a dump of 4096 interfaces is some megabytes. */
const RESOURCE_LIMITS = { maxOldGenerationSizeMb: 64, ...SMALL_YOUNG_GENERATION, stackSizeMb: 1 } as const;
const IDLE_MS = 30_000;

export interface NamespaceThreadOptions {
  readonly log: Logger;
  /** Path of the network namespace that the node lives in; undefined: this process's own. */
  readonly netns?: string | undefined;
  /** Default: the real one. */
  readonly clock?: Clock | undefined;
  /** How long it stays without anything to do. Default 30 s. */
  readonly idleMs?: number | undefined;
  /** Default: a thread of what the build made of worker.ts. */
  readonly startWorker?: ((settings: ThreadSettings) => Worker) | undefined;
}

interface Pending {
  readonly name: OperationName;
  readonly args: readonly unknown[];
  resolve(result: unknown): void;
  reject(error: Error): void;
}

interface Running {
  readonly worker: Worker;
  readonly journal: Journal;
  /** Operations without an answer, by id. What bounds them is the callers: one for each request that they serve. */
  readonly pending: Map<number, Pending>;
}

export class NamespaceThread {
  readonly #options: NamespaceThreadOptions;
  readonly #clock: Clock;
  #running: Running | undefined;
  #idle: Timer | undefined;
  #lastId = 0;
  #isClosed = false;
  /** Operations that have begun and are not settled. */
  readonly #open = new Set<Promise<unknown>>();

  constructor(options: NamespaceThreadOptions) {
    this.#options = options;
    this.#clock = options.clock ?? realClock;
  }

  /** Carries out an operation after those asked for before. Throws NAMESPACE_THREAD_LOST, and what it throws. */
  call<N extends OperationName>(
    name: N,
    ...args: Parameters<Operations[N]>
  ): Promise<ReturnType<Operations[N]>> {
    if (this.#isClosed) {
      return Promise.reject(new WarrenError('NAMESPACE_THREAD_CLOSED', 'the agent is stopping'));
    }
    const result = this.#send(name, args) as Promise<ReturnType<Operations[N]>>;
    const settled = result.then(
      () => {},
      () => {},
    );
    this.#open.add(settled);
    void settled.then(() => this.#open.delete(settled));
    return result;
  }

  /** Ends the thread after what is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#open);
    await this.#end();
  }

  #send(name: OperationName, args: readonly unknown[]): Promise<unknown> {
    this.#idle?.cancel();
    this.#running ??= this.#start();
    const { worker, pending } = this.#running;
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      pending.set(id, { name, args, resolve, reject });
      worker.ref();
      worker.postMessage({ id, name, args });
    });
  }

  #start(): Running {
    const journal = new Journal();
    journals.add(journal);
    const settings: ThreadSettings = { netns: this.#options.netns, journal: journal.shared };
    const worker = this.#options.startWorker?.(settings) ?? startWorker(settings);
    const running: Running = { worker, journal, pending: new Map() };
    worker.on('message', (message: FromThread) => this.#answered(running, message));
    worker.on('error', (error) => this.#options.log.error({ err: error }, 'the namespace thread failed'));
    worker.on('exit', () => this.#lost(running));
    return running;
  }

  #answered(running: Running, message: FromThread): void {
    if ('warning' in message) {
      this.#options.log.warn(message.warning);
      return;
    }
    const { worker, pending } = running;
    const request = pending.get(message.id);
    pending.delete(message.id);
    if (pending.size === 0) {
      // A program that has nothing else to do may end.
      worker.unref();
      if (running === this.#running && !this.#isClosed) this.#endWhenIdle();
    }
    if ('error' in message) request?.reject(errorFrom(message.error));
    else request?.resolve(message.result);
  }

  #endWhenIdle(): void {
    this.#idle?.cancel();
    this.#idle = this.#clock.after(this.#options.idleMs ?? IDLE_MS, () => void this.#end());
  }

  async #end(): Promise<void> {
    this.#idle?.cancel();
    const running = this.#running;
    if (running === undefined) return;
    this.#running = undefined;
    const { worker, pending } = running;
    worker.ref();
    await new Promise<void>((resolve) => {
      pending.set(++this.#lastId, {
        name: 'close',
        args: [],
        resolve: () => resolve(),
        reject: () => resolve(),
      });
      worker.postMessage({ id: this.#lastId, name: 'close', args: [] });
    });
    await worker.terminate();
  }

  /** The thread is gone: closes what it held, undoes what it had half done, and fails what waits for an answer. */
  #lost(running: Running): void {
    if (this.#running === running) this.#running = undefined;
    const { journal, pending } = running;
    journals.delete(journal);
    const left = journal.mayMissOne ? forgottenSockets() : [];
    for (const fd of new Set([...journal.held, ...left])) libc.close(fd);
    const begun = pending.get(journal.begun);
    for (const request of pending.values()) {
      const fail = () => request.reject(lost(request.name));
      if (request !== begun) fail();
      else void this.#undo(request).finally(fail);
    }
    pending.clear();
  }

  async #undo({ name, args }: Pending): Promise<void> {
    try {
      if (name === 'ensure') {
        const [link, mode] = args as Parameters<Operations['ensure']>;
        await this.#send('remove', [link.hostInterface, mode]);
      } else if (name === 'addNamespace') {
        await this.#send('removeNamespace', args);
      }
    } catch (error) {
      this.#options.log.error({ err: error }, 'what a lost namespace thread had begun could not be removed');
    }
  }
}

/** Of all threads that run in this process: one for each network that is in use. */
const journals = new Set<Journal>();

/** Netlink sockets that no thread has: they were being opened or closed by one that ended just then. */
function forgottenSockets(): number[] {
  const known = new Set([...journals].flatMap((journal) => journal.held));
  const isAmbiguous = [...journals].some((journal) => journal.mayMissOne);
  return isAmbiguous ? [] : openNetlinkSockets().filter((fd) => !known.has(fd));
}

function startWorker(settings: ThreadSettings): Worker {
  return new Worker(builtFile('host/attachment/worker'), {
    workerData: settings,
    name: 'warren-netns',
    resourceLimits: RESOURCE_LIMITS,
  });
}

function errorFrom({ code, message, hint }: ErrorParts): Error {
  if (code === undefined) return new Error(message);
  // It was one in the thread: of this program, or errno's name.
  return new WarrenError(foreignCode(code), message, hint === undefined ? {} : { hint });
}

function lost(name: OperationName): WarrenError {
  return new WarrenError(
    'NAMESPACE_THREAD_LOST',
    `the thread that works on network namespaces was lost during ${name}`,
    { hint: 'Try again: another one takes its place.' },
  );
}
