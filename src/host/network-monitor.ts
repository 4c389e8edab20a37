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

export interface NetworkMonitorOptions extends InNetns {
  readonly onChange: () => void;
  readonly log: Logger;
}

export class NetworkMonitor {
  readonly #options: NetworkMonitorOptions;
  #child: ChildProcessByStdio<null, Readable, null> | undefined;
  #restart: NodeJS.Timeout | undefined;
  #isStopped = false;
  #canTie = true;

  constructor(options: NetworkMonitorOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#isStopped) return;
    const { netns, onChange, log } = this.#options;
    const isTied = this.#canTie;
    const [program, ...args] = argvInNetns(netns, isTied ? [...TIED, ...ARGV] : ARGV);
    const child = spawn(program!, args, {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, PATH: `${process.env.PATH ?? ''}:${SBIN}`, LC_ALL: 'C' },
    });
    this.#child = child;
    let hasSpoken = false;
    child.stdout.on('data', () => {
      hasSpoken = true;
      onChange();
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
      log.warn({ reason }, '`ip monitor` ended; starting it again');
      this.#restart = setTimeout(() => {
        this.start();
        // Whatever happened in between was not seen.
        onChange();
      }, RESTART_MS);
    };
    child.on('error', (error) => ended(errorMessage(error)));
    child.on('exit', (code, signal) => ended(signal ?? `exit code ${code}`, signal !== null));
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
