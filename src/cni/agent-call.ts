/** Asks the agent over its control socket, with as little code as that takes: it is loaded for every container. */
import { request } from 'node:http';

/** Making many at once takes seconds on a small machine; a runtime gives up after minutes. */
const TIMEOUT_MS = 60_000;
/** What the largest answer of /v1/cni could take, many times over. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

/** Nobody answers: it does not run, is stopping, or hangs. What was asked of it may have been done or not. */
export class AgentAway extends Error {}

/** The agent has answered that it cannot. */
export class AgentRefused extends Error {
  /** One of src/error-codes.ts. */
  readonly code: string;
  readonly hint: string | undefined;

  constructor(code: string, message: string, hint: string | undefined) {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}

/** It stops, and will do nothing any more. */
const STOPPING = new Set(['ATTACHMENTS_CLOSED', 'NAMESPACE_THREAD_CLOSED']);

/** Throws AgentAway, AgentRefused. */
export function askAgent<T>(socketPath: string, path: string, body?: unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    const away = (error: Error) => reject(new AgentAway(`${socketPath}: ${error.message}`));
    const outgoing = request(
      {
        socketPath,
        path: `/v1/cni/${path}`,
        method: body === undefined ? 'GET' : 'POST',
        agent: false,
        headers: body === undefined ? {} : { 'content-type': 'application/json' },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
          if (text.length > MAX_ANSWER_BYTES) response.destroy(new Error('the answer is too long'));
        });
        response.on('error', away);
        response.on('end', () => {
          try {
            const answer = JSON.parse(text) as T & { code?: string; message?: string; hint?: string };
            const { code = 'AGENT_ERROR', message = 'the agent failed' } = answer;
            if ((response.statusCode ?? 500) < 400) resolve(answer);
            else if (STOPPING.has(code)) away(new Error(message));
            else reject(new AgentRefused(code, message, answer.hint));
          } catch (error) {
            away(error as Error);
          }
        });
      },
    );
    outgoing.on('error', away);
    const timer = setTimeout(() => outgoing.destroy(new Error('it does not answer in time')), TIMEOUT_MS);
    outgoing.on('close', () => clearTimeout(timer));
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
