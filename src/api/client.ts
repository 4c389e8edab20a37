/** Asks the agent over its control socket. */
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import type { CaptureWishes } from '../capture/request.ts';
import type { CniStatus, InstalledPlugin } from '../cni/messages.ts';
import type { DockerAnswer, DockerSettings } from '../docker/commands.ts';
import { errorMessage, foreignCode, WarrenError } from '../errors.ts';
import type {
  ExplainReport,
  ExplainRequest,
  PolicyChange,
  PolicyChangeReport,
  PolicyListReport,
} from '../policy/commands.ts';
import type { RespondersReport } from '../readmodel/check-reports.ts';
import type {
  AllTargets,
  ChangedNodesReport,
  ErrorReport,
  ForgetReport,
  InventoryReport,
  KeyChange,
  KeyListReport,
  LeaveReport,
  NodeChange,
  NodeListReport,
  NodeTargets,
  PageReport,
  PeerReport,
  PodReport,
  ReloadReport,
  RouteReport,
  StatusReport,
  SysdumpReport,
  UnreachableNode,
  WireguardPeerFile,
  WireguardPeerReport,
} from '../readmodel/reports.ts';
import type { Topic } from '../readmodel/topics.ts';
import type { TraceWishes } from '../trace/messages.ts';
import type { TraceReport } from '../trace/model.ts';
import type { AddPodOptions, AddWireguardPeer } from './commands.ts';
import { eventsOf } from './event-stream.ts';
import { MISSING_TRAILER } from './trailers.ts';

/** An agent that is alive accepts a connection at once. */
const CONNECT_TIMEOUT_MS = 2000;
const ANSWER_TIMEOUT_MS = 10_000;
/** Making a pod runs programs of the host, one pod after another. */
const POD_TIMEOUT_MS = 120_000;
/** Asking every other node, those that do not answer included. */
const TARGETS_TIMEOUT_MS = 60_000;
/** The same, and each runs programs of its host. */
const SYSDUMP_TIMEOUT_MS = 120_000;
/** Two nodes look, one may not answer, and it is done twice where a long packet is lost. */
const TRACE_TIMEOUT_MS = 60_000;
/** As the agent has it (src/trace/messages.ts). */
const DEFAULT_LIVE_SECONDS = 10;
/** A report of a thousand nodes is a few MB. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** A stream has a comment every 15 s at least (watch-stream.ts). */
const STREAM_SILENCE_MS = 60_000;

/**
 * Every method throws AGENT_NOT_RUNNING, AGENT_FORBIDDEN, AGENT_SILENT or AGENT_ANSWER_INVALID, and what
 * the agent itself answers as an error, with its code, message and hint.
 */
export class AgentClient {
  readonly #socketPath: string;
  readonly #maxWaitMs: number;

  /** `maxWaitMs`: no answer is waited for longer than that. */
  constructor(socketPath: string, maxWaitMs: number = POD_TIMEOUT_MS) {
    this.#socketPath = socketPath;
    this.#maxWaitMs = maxWaitMs;
  }

  status(): Promise<StatusReport> {
    return this.#get('/v1/status');
  }

  peers(): Promise<PeerReport[]> {
    return this.#get('/v1/peers');
  }

  routes(): Promise<RouteReport[]> {
    return this.#get('/v1/routes');
  }

  pods(): Promise<PodReport[]> {
    return this.#get('/v1/pods');
  }

  /** What all nodes have attached. */
  inventory(): Promise<InventoryReport[]> {
    return this.#get('/v1/inventory');
  }

  /** Where its web page is. */
  page(): Promise<PageReport> {
    return this.#get('/v1/page');
  }

  addPod(name: string, options: AddPodOptions = {}): Promise<PodReport> {
    return this.#ask('POST', '/v1/pods', POD_TIMEOUT_MS, { name, ...options });
  }

  removePod(name: string): Promise<PodReport> {
    return this.#ask('DELETE', `/v1/pods/${encodeURIComponent(name)}`, POD_TIMEOUT_MS);
  }

  wireguardPeers(): Promise<WireguardPeerReport[]> {
    return this.#get('/v1/wireguard-peers');
  }

  wireguardPeer(name: string): Promise<WireguardPeerFile> {
    return this.#get(`/v1/wireguard-peers/${encodeURIComponent(name)}`);
  }

  /** The answer is the only one that has the private key that was made. */
  addWireguardPeer(request: AddWireguardPeer): Promise<WireguardPeerFile> {
    return this.#ask('POST', '/v1/wireguard-peers', ANSWER_TIMEOUT_MS, request);
  }

  removeWireguardPeer(name: string): Promise<WireguardPeerReport> {
    return this.#ask('DELETE', `/v1/wireguard-peers/${encodeURIComponent(name)}`, ANSWER_TIMEOUT_MS);
  }

  targets(): Promise<NodeTargets> {
    return this.#get('/v1/targets');
  }

  allTargets(): Promise<AllTargets> {
    return this.#ask('GET', '/v1/targets/all', TARGETS_TIMEOUT_MS);
  }

  respond(seconds: number): Promise<RespondersReport> {
    return this.#ask('POST', '/v1/check/respond', TARGETS_TIMEOUT_MS, { seconds });
  }

  /** `node`: name or id. */
  forget(node: string): Promise<ForgetReport> {
    return this.#ask('DELETE', `/v1/peers/${encodeURIComponent(node)}`, ANSWER_TIMEOUT_MS);
  }

  /** The agent ends soon after it has answered. */
  leave(options: { readonly force: boolean }): Promise<LeaveReport> {
    return this.#ask('POST', '/v1/leave', POD_TIMEOUT_MS, options);
  }

  /** Static pods that are new are made before it answers. */
  reload(): Promise<ReloadReport> {
    return this.#ask('POST', '/v1/reload', POD_TIMEOUT_MS);
  }

  sysdump({ all }: { readonly all: boolean }): Promise<SysdumpReport> {
    return this.#ask('GET', `/v1/sysdump?all=${all}`, SYSDUMP_TIMEOUT_MS);
  }

  /**
   * A file of pcapng as it comes; gives the nodes that are not in it, or not to the end. Aborting `signal` ends it
   * without an error.
   */
  async *capture(
    wishes: CaptureWishes,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, readonly UnreachableNode[]> {
    try {
      const response = await this.#open('/v1/capture', signal, 'POST', wishes);
      if (response.statusCode !== 200) throw this.#answered(response.statusCode ?? 0, await textOf(response));
      for await (const chunk of response as AsyncIterable<Buffer>) yield chunk;
      const missing = response.trailers[MISSING_TRAILER];
      if (missing === undefined) throw new Error('the capture was cut short');
      return this.#parse(decodeURIComponent(missing)) as UnreachableNode[];
    } catch (error) {
      if (signal.aborted) return [];
      throw error instanceof WarrenError ? error : this.#unreachable(error);
    }
  }

  /** Follows a packet; with `live` real ones, until there is something to say or `seconds` are over. */
  trace(wishes: TraceWishes): Promise<TraceReport> {
    const timeoutMs = TRACE_TIMEOUT_MS + (wishes.live ? (wishes.seconds ?? DEFAULT_LIVE_SECONDS) * 1000 : 0);
    return this.#ask('POST', '/v1/trace', timeoutMs, wishes);
  }

  cniStatus(): Promise<CniStatus> {
    return this.#get('/v1/cni/status');
  }

  /** The network configuration is there, or will be as soon as the overlay is up. */
  installCni(plugin: InstalledPlugin): Promise<{ readonly isWritten: boolean }> {
    return this.#ask('POST', '/v1/cni/install', ANSWER_TIMEOUT_MS, plugin);
  }

  enableDocker(settings: DockerSettings): Promise<DockerAnswer> {
    return this.#ask('POST', '/v1/docker/enable', ANSWER_TIMEOUT_MS, settings);
  }

  disableDocker(): Promise<DockerAnswer> {
    return this.#ask('POST', '/v1/docker/disable', ANSWER_TIMEOUT_MS, {});
  }

  policies(): Promise<PolicyListReport> {
    return this.#get('/v1/policies');
  }

  changePolicies(change: PolicyChange): Promise<PolicyChangeReport> {
    return this.#ask('POST', '/v1/policies', TARGETS_TIMEOUT_MS, change);
  }

  explainPolicies(request: ExplainRequest): Promise<ExplainReport> {
    return this.#ask('POST', '/v1/policies/explain', TARGETS_TIMEOUT_MS, request);
  }

  uninstallCni(conflist: string): Promise<unknown> {
    return this.#ask('POST', '/v1/cni/uninstall', ANSWER_TIMEOUT_MS, { conflist });
  }

  listKeys(): Promise<KeyListReport> {
    return this.#ask('GET', '/v1/keys', TARGETS_TIMEOUT_MS);
  }

  changeKeys(change: KeyChange): Promise<{ readonly fingerprint: string }> {
    return this.#ask('POST', '/v1/keys', TARGETS_TIMEOUT_MS, change);
  }

  listNodes(): Promise<NodeListReport> {
    return this.#get('/v1/nodes');
  }

  changeNodes(change: NodeChange): Promise<ChangedNodesReport> {
    return this.#ask('POST', '/v1/nodes', ANSWER_TIMEOUT_MS, change);
  }

  /**
   * The present value of `topic`, and another whenever it has changed, with counters as often as `intervalSeconds` says.
   * Goes on until `signal` is aborted, which ends it without an error, or the agent goes: AGENT_SILENT then.
   */
  async *watch<T>(
    topic: Topic,
    options: { readonly intervalSeconds: number; readonly signal: AbortSignal },
  ): AsyncGenerator<T, void> {
    const { intervalSeconds, signal } = options;
    const path = `/v1/watch?topics=${topic}&interval=${intervalSeconds}`;
    try {
      const response = await this.#open(path, signal);
      if (response.statusCode !== 200) throw this.#answered(response.statusCode ?? 0, await textOf(response));
      response.setTimeout(STREAM_SILENCE_MS, () => response.destroy(new Error('it says nothing any more')));
      for await (const { event, data } of eventsOf(response, MAX_ANSWER_BYTES)) {
        if (event === topic) yield this.#parse(data) as T;
      }
      if (!signal.aborted) throw new Error('it has ended the stream');
    } catch (error) {
      if (signal.aborted) return;
      throw error instanceof WarrenError ? error : this.#unreachable(error);
    }
  }

  #get<T>(path: string): Promise<T> {
    return this.#ask('GET', path, ANSWER_TIMEOUT_MS);
  }

  async #ask<T>(method: string, path: string, timeoutMs: number, body?: unknown): Promise<T> {
    try {
      const response = await this.#open(
        path,
        AbortSignal.timeout(Math.min(timeoutMs, this.#maxWaitMs)),
        method,
        body,
      );
      const text = await textOf(response);
      const status = response.statusCode ?? 0;
      // The agent's answers are this program's own types; another version's may have more fields.
      if (status < 400) return this.#parse(text) as T;
      throw this.#answered(status, text);
    } catch (error) {
      throw error instanceof WarrenError ? error : this.#unreachable(error);
    }
  }

  /** Sends a request; resolves with the head of the answer. */
  #open(path: string, signal: AbortSignal, method = 'GET', body?: unknown): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          socketPath: this.#socketPath,
          method,
          path,
          // One question per connection: the command ends after it.
          agent: false,
          headers: body === undefined ? {} : { 'content-type': 'application/json' },
          signal,
        },
        resolve,
      );
      outgoing.on('error', reject);
      outgoing.end(body === undefined ? '' : JSON.stringify(body));
    });
  }

  #parse(text: string): unknown {
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new WarrenError(
        'AGENT_ANSWER_INVALID',
        `what answers on ${this.#socketPath} is no warren agent`,
        {
          hint: 'Name the control socket of the agent with --socket or WARREN_SOCKET.',
          cause: error,
        },
      );
    }
  }

  /** What the agent answers as an error. */
  #answered(status: number, text: string): WarrenError {
    const { code, message, hint } = this.#parse(text) as Partial<ErrorReport>;
    return new WarrenError(
      foreignCode(code ?? 'AGENT_ERROR'),
      message ?? `the agent answered with status ${status}`,
      { hint },
    );
  }

  #unreachable(error: unknown): WarrenError {
    const path = this.#socketPath;
    const start =
      'Is the agent running? Start it with `warren agent -c FILE`. ' +
      'If its socket is elsewhere, name it with --socket PATH or WARREN_SOCKET.';
    switch ((error as NodeJS.ErrnoException).code) {
      case 'ENOENT':
      case 'ENOTDIR':
        return new WarrenError('AGENT_NOT_RUNNING', `there is no control socket ${path}`, {
          hint: start,
          cause: error,
        });
      case 'ECONNREFUSED':
        return new WarrenError('AGENT_NOT_RUNNING', `no agent answers on the control socket ${path}`, {
          hint: start,
          cause: error,
        });
      case 'EACCES':
      case 'EPERM':
        return new WarrenError('AGENT_FORBIDDEN', `no permission to open the control socket ${path}`, {
          hint: 'The agent is controlled by root, and by the groups that its section api names: run this with sudo.',
          cause: error,
        });
      case 'ABORT_ERR':
        return new WarrenError('AGENT_SILENT', `the agent on ${path} did not answer in time`, {
          hint: 'The agent is busy or hangs; its log may tell. Try again.',
          cause: error,
        });
      default:
        return new WarrenError(
          'AGENT_SILENT',
          `the agent on ${path} did not answer: ${errorMessage(error)}`,
          {
            hint: 'It may have stopped just now. Try again.',
            cause: error,
          },
        );
    }
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw new Error('the answer is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Whether an agent answers on the control socket at `path`. */
export function agentIsRunning(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const settle = (answered: boolean) => {
      socket.destroy();
      resolve(answered);
    };
    // A full backlog is an agent too, if a busy one.
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => settle(true));
    socket.once('connect', () => settle(true));
    socket.once('error', (error: NodeJS.ErrnoException) => settle(error.code === 'EAGAIN'));
  });
}
