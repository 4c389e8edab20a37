/**
 * Asks the agent over its control socket, with as little code as that takes: it is loaded for every container. The client
 * of `node:http` alone takes a third of the plugin's processor time, most of it to compile; what is needed of HTTP is a
 * request and an answer that ends with the connection, and that is HTTP/1.0 (RFC 1945).
 */
import { connect } from 'node:net';

/** Making many at once takes seconds on a small machine; a runtime gives up after minutes. */
const TIMEOUT_MS = 60_000;
/** What the largest answer of /v1/cni could take, many times over. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
const END_OF_HEAD = '\r\n\r\n';

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

export interface AgentSocket {
  readonly path: string;
  /** How long it may take to answer. Default a minute. */
  readonly timeoutMs?: number | undefined;
}

/** Throws AgentAway, AgentRefused. */
export async function askAgent<T>(agent: AgentSocket, path: string, body?: unknown): Promise<T> {
  let head: string;
  let answer: T & { code?: string; message?: string; hint?: string };
  try {
    const text = await exchange(agent, requestText(path, body));
    const end = text.indexOf(END_OF_HEAD);
    if (end < 0) throw new Error('the connection ended before an answer');
    head = text.slice(0, end);
    answer = JSON.parse(text.slice(end + END_OF_HEAD.length));
  } catch (error) {
    throw new AgentAway(`${agent.path}: ${(error as Error).message}`);
  }
  // HTTP/1.1 200 OK
  if (head.slice(9, 10) === '2') return answer;
  const { code = 'AGENT_ERROR', message = 'the agent failed', hint } = answer;
  if (STOPPING.has(code)) throw new AgentAway(`${agent.path}: ${message}`);
  throw new AgentRefused(code, message, hint);
}

function requestText(path: string, body: unknown): string {
  const line = (method: string) => `${method} /v1/cni/${path} HTTP/1.0\r\nhost: localhost\r\n`;
  if (body === undefined) return `${line('GET')}\r\n`;
  const text = JSON.stringify(body);
  const headers = `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n`;
  return `${line('POST')}${headers}\r\n${text}`;
}

/** All that is answered until the other side ends the connection. */
function exchange({ path, timeoutMs = TIMEOUT_MS }: AgentSocket, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const socket = connect({ path });
    const timer = setTimeout(() => socket.destroy(new Error('it does not answer in time')), timeoutMs);
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_ANSWER_BYTES) socket.destroy(new Error('the answer is too long'));
      else chunks.push(chunk);
    });
    socket.on('error', reject);
    socket.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
    socket.on('close', () => {
      clearTimeout(timer);
      reject(new Error('the connection was closed'));
    });
    socket.write(request);
  });
}
