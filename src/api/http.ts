/** The HTTP that both servers speak: JSON and text answers, bounded bodies, errors that say what to do. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { WarrenError } from '../errors.ts';
import type { ErrorReport } from '../readmodel/reports.ts';

/** The largest request is a pod's name and a path. */
const MAX_BODY_BYTES = 64 * 1024;
const MAX_CONNECTIONS = 64;
const REQUEST_TIMEOUT_MS = 10_000;

export interface Answer {
  readonly status?: number;
  readonly type?: string;
  readonly text: string;
}

export interface ApiRequest {
  readonly method: string;
  /** Decoded path segments: `/v1/pods/web` is `['v1', 'pods', 'web']`. */
  readonly path: readonly string[];
  /** The body as JSON; throws BAD_REQUEST. */
  json(): Promise<unknown>;
}

export function jsonAnswer(value: unknown, status = 200): Answer {
  return { status, type: 'application/json', text: `${JSON.stringify(value)}\n` };
}

/** HTTP status of an error's code. What is not here is the agent's own failure: 500. */
const STATUS_OF_CODE: Readonly<Record<string, number>> = {
  BAD_REQUEST: 400,
  POD_NAME_INVALID: 400,
  POD_NETNS_MISSING: 400,
  POD_NETNS_IS_NODE: 400,
  NOT_FOUND: 404,
  POD_UNKNOWN: 404,
  MEMBER_UNKNOWN: 404,
  KEY_UNKNOWN: 404,
  METHOD_NOT_ALLOWED: 405,
  KEY_INVALID: 400,
  MEMBER_ALIVE: 409,
  MEMBER_AMBIGUOUS: 409,
  LEAVE_PODS: 409,
  KEY_NONE: 409,
  KEY_EXISTS: 409,
  KEY_PRIMARY: 409,
  KEY_NOT_EVERYWHERE: 409,
  POD_EXISTS: 409,
  POD_STATIC: 409,
  POD_NETNS_TAKEN: 409,
  POD_NETNS_EXISTS: 409,
  POD_INTERFACE_EXISTS: 409,
  BODY_TOO_LARGE: 413,
  POD_NO_SUBNET: 503,
  POD_SUBNET_EXHAUSTED: 507,
  KEY_LIMIT: 507,
  POD_LIMIT: 507,
};

/**
 * Lets `handle` answer what `server` is asked. A WarrenError becomes an ErrorReport; anything else is a bug,
 * which the client is only told of and `onBug` gets.
 */
export function serve(
  server: Server,
  handle: (request: ApiRequest) => Promise<Answer>,
  onBug: (error: unknown) => void,
): void {
  server.maxConnections = MAX_CONNECTIONS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  server.on('request', (message: IncomingMessage, response: ServerResponse) => {
    answer(message, handle)
      .catch((error: unknown) => {
        if (!(error instanceof WarrenError)) onBug(error);
        return errorAnswer(error);
      })
      .then(({ status = 200, type = 'text/plain; charset=utf-8', text }) => {
        // A client may have gone meanwhile; there is nobody left to tell.
        if (response.destroyed) return;
        response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' });
        response.end(message.method === 'HEAD' ? '' : text);
      })
      .catch(onBug);
  });
}

async function answer(
  message: IncomingMessage,
  handle: (request: ApiRequest) => Promise<Answer>,
): Promise<Answer> {
  return handle({
    method: message.method === 'HEAD' ? 'GET' : (message.method ?? 'GET'),
    path: pathOf(message.url ?? '/'),
    json: async () => parseJson(await readBody(message)),
  });
}

function errorAnswer(error: unknown): Answer {
  const report: ErrorReport =
    error instanceof WarrenError
      ? {
          code: error.code,
          message: error.message,
          ...(error.hint === undefined ? {} : { hint: error.hint }),
        }
      : {
          code: 'INTERNAL',
          message: 'the agent failed to answer, which is a bug in warren',
          hint: "The agent's log has the details.",
        };
  return jsonAnswer(report, STATUS_OF_CODE[report.code] ?? 500);
}

function pathOf(url: string): string[] {
  const end = url.indexOf('?');
  const path = end < 0 ? url : url.slice(0, end);
  try {
    return path.split('/').filter(Boolean).map(decodeURIComponent);
  } catch {
    throw new WarrenError('BAD_REQUEST', 'the path has a broken % sequence');
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new WarrenError('BAD_REQUEST', 'the body is not JSON');
  }
}

async function readBody(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) {
      throw new WarrenError('BODY_TOO_LARGE', `a request may have ${MAX_BODY_BYTES} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
