/** Asks the agent over its control socket. */
import { request } from 'node:http';
import { connect } from 'node:net';
import { errorMessage, WarrenError } from '../errors.ts';
import type {
  ErrorReport,
  ForgetReport,
  KeyChange,
  KeyListReport,
  LeaveReport,
  NodeTargets,
  PeerReport,
  PodReport,
  RouteReport,
  StatusReport,
} from '../readmodel/reports.ts';
import type { AllTargets } from './agent-view.ts';

/** An agent that is alive accepts a connection at once. */
const CONNECT_TIMEOUT_MS = 2000;
const ANSWER_TIMEOUT_MS = 10_000;
/** Making a pod runs programs of the host, one pod after another. */
const POD_TIMEOUT_MS = 120_000;
/** Asking every other node, those that do not answer included. */
const TARGETS_TIMEOUT_MS = 60_000;
/** A report of a thousand nodes is a few MB. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/**
 * Every method throws AGENT_NOT_RUNNING, AGENT_FORBIDDEN, AGENT_SILENT or AGENT_ANSWER_INVALID, and what
 * the agent itself answers as an error, with its code, message and hint.
 */
export class AgentClient {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
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

  addPod(name: string, netns?: string): Promise<PodReport> {
    return this.#ask('POST', '/v1/pods', POD_TIMEOUT_MS, { name, ...(netns === undefined ? {} : { netns }) });
  }

  removePod(name: string): Promise<PodReport> {
    return this.#ask('DELETE', `/v1/pods/${encodeURIComponent(name)}`, POD_TIMEOUT_MS);
  }

  targets(): Promise<NodeTargets> {
    return this.#get('/v1/targets');
  }

  allTargets(): Promise<AllTargets> {
    return this.#ask('GET', '/v1/targets/all', TARGETS_TIMEOUT_MS);
  }

  /** `node`: name or id. */
  forget(node: string): Promise<ForgetReport> {
    return this.#ask('DELETE', `/v1/peers/${encodeURIComponent(node)}`, ANSWER_TIMEOUT_MS);
  }

  /** The agent ends soon after it has answered. */
  leave(options: { readonly force: boolean }): Promise<LeaveReport> {
    return this.#ask('POST', '/v1/leave', POD_TIMEOUT_MS, options);
  }

  listKeys(): Promise<KeyListReport> {
    return this.#ask('GET', '/v1/keys', TARGETS_TIMEOUT_MS);
  }

  changeKeys(change: KeyChange): Promise<{ readonly fingerprint: string }> {
    return this.#ask('POST', '/v1/keys', TARGETS_TIMEOUT_MS, change);
  }

  #get<T>(path: string): Promise<T> {
    return this.#ask('GET', path, ANSWER_TIMEOUT_MS);
  }

  async #ask<T>(method: string, path: string, timeoutMs: number, body?: unknown): Promise<T> {
    const { status, text } = await this.#send(method, path, timeoutMs, body);
    let value: unknown;
    try {
      value = JSON.parse(text);
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
    // The agent's answers are this program's own types; another version's may have more fields.
    if (status < 400) return value as T;
    const { code, message, hint } = value as Partial<ErrorReport>;
    throw new WarrenError(
      code ?? 'AGENT_ERROR',
      message ?? `the agent answered with status ${status}`,
      hint === undefined ? {} : { hint },
    );
  }

  #send(
    method: string,
    path: string,
    timeoutMs: number,
    body: unknown,
  ): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => reject(this.#unreachable(error));
      const outgoing = request(
        {
          socketPath: this.#socketPath,
          method,
          path,
          // One question per connection: the command ends after it.
          agent: false,
          headers: body === undefined ? {} : { 'content-type': 'application/json' },
          signal: AbortSignal.timeout(timeoutMs),
        },
        (response) => {
          const chunks: Buffer[] = [];
          let bytes = 0;
          response.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
            if (bytes > MAX_ANSWER_BYTES) response.destroy(new Error('the answer is too long'));
            else chunks.push(chunk);
          });
          response.on('error', fail);
          response.on('end', () => {
            resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') });
          });
        },
      );
      outgoing.on('error', fail);
      outgoing.end(body === undefined ? '' : JSON.stringify(body));
    });
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
          hint: 'The agent is controlled by root: run this with sudo.',
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
