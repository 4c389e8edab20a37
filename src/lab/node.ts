/** One node of a lab: its namespace, its folder, and the agent that runs there. */
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';
import { AgentClient } from '../api/client.ts';
import type { ErrorCode } from '../error-codes.ts';
import { errorMessage, WarrenError } from '../errors.ts';
import { argvInNetns } from '../host/command.ts';
import { namedNetnsPath } from '../host/netns.ts';
import type { PeerReport, PodReport, RouteReport, StatusReport } from '../readmodel/reports.ts';
import { startCommand } from './command.ts';
import { LabHost } from './host.ts';
import {
  endProcesses,
  identifyProcess,
  isRunning,
  type ProcessId,
  signalProcess,
  waitForExit,
} from './process.ts';
import { WARREN_PROGRAM } from './program.ts';
import { setAttached, underlayAddresses } from './underlay.ts';

/** A configuration as it stands in the YAML file, before it is checked. */
export type RawConfig = Readonly<Record<string, unknown>>;

/** All that an agent says about itself, read in one go. */
export interface NodeView {
  readonly status: StatusReport;
  readonly peers: readonly PeerReport[];
  readonly routes: readonly RouteReport[];
  readonly pods: readonly PodReport[];
}

/** What the node needs from its lab: a place to write down which process its agent is. */
export interface NodeOptions {
  readonly lab: string;
  readonly name: string;
  readonly namespace: string;
  /** Number on the underlay, from 1. */
  readonly number: number;
  readonly folder: string;
  readonly family: 'ipv4' | 'ipv6';
  readonly agent: ProcessId | undefined;
  readonly onAgentChange: (agent: ProcessId | undefined) => void;
}

const POLL_INTERVAL_MS = 50;
/** An agent that stops says so to the others, and ends its threads; on a busy machine that takes a while. */
const STOP_GRACE_MS = 30_000;
const LOG_TAIL_LINES = 15;

export class LabNode extends LabHost {
  readonly folder: string;
  readonly configFile: string;
  /** The agent's control socket. */
  readonly socket: string;
  readonly logFile: string;
  /** The address that its VTEP and gossip use. */
  readonly underlayAddress: string;
  readonly #lab: string;
  readonly #number: number;
  readonly #onAgentChange: NodeOptions['onAgentChange'];
  #agent: ProcessId | undefined;

  constructor(options: NodeOptions) {
    super(options.name, namedNetnsPath(options.namespace), underlayAddresses(options.number));
    this.folder = options.folder;
    this.configFile = join(options.folder, 'config.yaml');
    this.socket = join(options.folder, 'agent.sock');
    this.logFile = join(options.folder, 'agent.log');
    this.underlayAddress = this.addresses[options.family];
    this.#lab = options.lab;
    this.#number = options.number;
    this.#onAgentChange = options.onAgentChange;
    this.#agent = options.agent;
  }

  /** The agent's process id; undefined when none runs. */
  get pid(): number | undefined {
    return this.#agent && isRunning(this.#agent) ? this.#agent.pid : undefined;
  }

  /** Whether an agent was started and not stopped since, be it that it has died. */
  get wasStarted(): boolean {
    return this.#agent !== undefined;
  }

  writeConfig(config: RawConfig): void {
    mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    writeFileSync(this.configFile, stringify(config), { mode: 0o600 });
  }

  /** Starts the agent; it is not ready when this returns (see `waitFor`). Throws if one runs already. */
  start(): void {
    if (this.pid !== undefined) {
      throw new WarrenError('LAB_AGENT_RUNS', `the agent of ${this.name} runs already (pid ${this.pid})`);
    }
    const log = openSync(this.logFile, 'a', 0o600);
    try {
      const argv = [process.execPath, WARREN_PROGRAM, 'agent', '-c', this.configFile];
      const child = startCommand(argvInNetns(this.netns, argv), {
        stdio: ['ignore', log, log],
        detached: true,
        cwd: '/',
      });
      // A program that cannot start shows as an agent that is gone, with its reason in the log.
      child.on('error', () => {});
      child.unref();
      this.#setAgent(child.pid === undefined ? undefined : identifyProcess(child.pid));
    } finally {
      closeSync(log);
    }
  }

  /** Sends the agent a signal, and for one that ends it waits until it is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (this.#agent === undefined || !signalProcess(this.#agent, signal)) return;
    if (signal !== 'SIGKILL' && signal !== 'SIGTERM' && signal !== 'SIGINT') return;
    const gone = await waitForExit(this.#agent, STOP_GRACE_MS);
    if (!gone)
      throw this.#error('LAB_AGENT_STAYS', `has not ended ${STOP_GRACE_MS / 1000} s after ${signal}`);
    this.#setAgent(undefined);
  }

  /** Ends the agent gracefully (its TUN device and pods stay), by force if it takes too long. */
  async stop(): Promise<void> {
    if (this.#agent !== undefined) await endProcesses([this.#agent], STOP_GRACE_MS);
    this.#setAgent(undefined);
  }

  async restart(): Promise<void> {
    await this.stop();
    this.start();
  }

  /** Cuts the node off from the underlay, or joins it again; to the node its link looks fine all the time. */
  async setConnected(connected: boolean): Promise<void> {
    await setAttached(this.#lab, this.#number, connected);
  }

  /** Asks this node's agent; nothing is sent before the first question. */
  client(): AgentClient {
    return new AgentClient(this.socket);
  }

  /** What the agent says about itself now. Throws when it does not answer. */
  async view(): Promise<NodeView> {
    const client = this.client();
    const [status, peers, routes, pods] = await Promise.all([
      client.status(),
      client.peers(),
      client.routes(),
      client.pods(),
    ]);
    return { status, peers, routes, pods };
  }

  /**
   * Polls the agent until `predicate` holds, and returns that view. Throws LAB_TIMEOUT after `timeoutMs`
   * (default 60 s), or LAB_AGENT_ENDED as soon as no agent runs; both with the end of the agent's log.
   * `what` says what is waited for: "node-a: `what` did not come true".
   */
  async waitFor(
    what: string,
    predicate: (view: NodeView) => boolean,
    options: { timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<NodeView> {
    const timeoutMs = options.timeoutMs ?? 60_000;
    const deadline = performance.now() + timeoutMs;
    let last = 'no answer';
    for (;;) {
      options.signal?.throwIfAborted();
      if (this.pid === undefined) throw this.#error('LAB_AGENT_ENDED', `has ended, waiting for: ${what}`);
      try {
        const view = await this.view();
        if (predicate(view)) return view;
        last = `lease ${view.status.lease.status}, ${view.peers.length} peers`;
      } catch (error) {
        last = errorMessage(error);
      }
      if (performance.now() >= deadline) {
        throw this.#error('LAB_TIMEOUT', `is not there after ${timeoutMs / 1000} s: ${what} (${last})`);
      }
      await delay(POLL_INTERVAL_MS);
    }
  }

  /** All that the agent has logged since the lab was made. */
  log(): string {
    try {
      return readFileSync(this.logFile, 'utf8');
    } catch {
      return '';
    }
  }

  #setAgent(agent: ProcessId | undefined): void {
    this.#agent = agent;
    this.#onAgentChange(agent);
  }

  #error(code: ErrorCode, message: string): WarrenError {
    const lines = this.log().trimEnd().split('\n').slice(-LOG_TAIL_LINES);
    const tail = lines.map((line) => `\n    ${line}`).join('');
    return new WarrenError(code, `the agent of ${this.name} ${message}; the end of its log:${tail}`);
  }
}
