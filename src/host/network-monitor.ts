/**
 * Tells when something about the host's links, addresses or routes changes: rtnetlink events, by way of
 * `ip monitor`. What changed is for the listener to look up; events are merely the moment to look.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { errorMessage } from '../errors.ts';
import type { Logger } from '../log/logger.ts';
import { argvInNetns, type InNetns, SBIN } from './command.ts';

const ARGV = ['ip', '-json', 'monitor', 'link', 'address', 'route'];
/** Makes it end with an agent that is killed (PR_SET_PDEATHSIG in prctl(2)). util-linux 2.34; busybox has it not. */
const TIED = ['setpriv', '--pdeathsig', 'KILL', '--'];
const RESTART_MS = 1000;

/** `stdout` is missing where the pipe could not be made, whatever Node's types say. */
type Child = Omit<ChildProcessByStdio<null, Readable, null>, 'stdout'> & { readonly stdout?: Readable };

export interface NetworkMonitorOptions extends InNetns {
  readonly onChange: () => void;
  readonly log: Logger;
}

export class NetworkMonitor {
  readonly #options: NetworkMonitorOptions;
  #child: Child | undefined;
  #restart: NodeJS.Timeout | undefined;
  #isStopped = false;
  #canTie = true;

  constructor(options: NetworkMonitorOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#isStopped) return;
    const isTied = this.#canTie;
    let child: Child;
    try {
      child = this.#spawn(isTied);
    } catch (error) {
      // What this process lacks for a moment (descriptors, memory) says nothing about the programs.
      this.#startLater(errorMessage(error));
      return;
    }
    this.#child = child;
    let hasSpoken = false;
    child.stdout?.on('data', () => {
      hasSpoken = true;
      this.#options.onChange();
    });
    let hasEnded = false;
    const ended = (reason: string, wasKilled = false) => {
      if (hasEnded || this.#isStopped) return;
      hasEnded = true;
      this.#child = undefined;
      if (isTied && !hasSpoken && !wasKilled) {
        // Most likely there is no such setpriv. If it was `ip` after all, that shows now.
        this.#canTie = false;
        return this.start();
      }
      this.#startLater(reason);
    };
    // Without descriptors for its pipes there is no child, and no standard output: the error comes in a moment.
    child.on('error', (error) => ended(errorMessage(error), child.stdout === undefined));
    child.on('exit', (code, signal) => ended(signal ?? `exit code ${code}`, signal !== null));
  }

  #spawn(isTied: boolean): Child {
    const [program, ...args] = argvInNetns(this.#options.netns, isTied ? [...TIED, ...ARGV] : ARGV);
    return spawn(program!, args, {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, PATH: `${process.env.PATH ?? ''}:${SBIN}`, LC_ALL: 'C' },
    });
  }

  #startLater(reason: string): void {
    const { log, onChange } = this.#options;
    log.warn({ reason }, '`ip monitor` ended; starting it again');
    this.#restart = setTimeout(() => {
      this.start();
      // Whatever happened in between was not seen.
      onChange();
    }, RESTART_MS);
  }

  /** The process that watches; undefined between its end and its restart. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#restart);
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }
}
