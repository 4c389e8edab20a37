/**
 * The unix socket on which a Docker engine finds its driver. It is there as long as the agent runs, from before the node
 * has a subnet: an engine that finds no answer asks again for many seconds, in which nothing else of it starts.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { dirname } from 'node:path';
import { errorMessage, WarrenError } from '../errors.ts';
import type { Logger } from '../log/logger.ts';

const CONTENT_TYPE = 'application/vnd.docker.plugins.v1.2+json';
const MAX_BODY_BYTES = 1024 * 1024;

export interface PluginSocketOptions {
  readonly path: string;
  readonly handle: (method: string, body: unknown) => Promise<object>;
  readonly log: Logger;
}

export class PluginSocket {
  readonly #options: PluginSocketOptions;
  readonly #server: Server;

  private constructor(options: PluginSocketOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  /** Replaces what an agent that was killed has left. Throws DOCKER_SOCKET_UNUSABLE. */
  static async open(options: PluginSocketOptions): Promise<PluginSocket> {
    const socket = new PluginSocket(options);
    const { path } = options;
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
      rmSync(path, { force: true });
      await socket.#listen(path);
    } catch (error) {
      socket.#server.close();
      throw new WarrenError('DOCKER_SOCKET_UNUSABLE', `cannot make ${path}: ${errorMessage(error)}`, {
        hint: 'Docker engines look for their plugins in /run/docker/plugins; the agent must be allowed to write there.',
        cause: error,
      });
    }
    return socket;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    await closed;
    rmSync(this.#options.path, { force: true });
  }

  /** The mask holds while `listen` makes the socket: it is root's. */
  #listen(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      const mask = process.umask(0o177);
      try {
        this.#server.listen(path, () => {
          this.#server.off('error', reject);
          resolve();
        });
      } finally {
        process.umask(mask);
      }
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const method = (request.url ?? '').replace(/^\//, '');
    const { handle, log } = this.#options;
    let [status, answer]: [number, object] = [200, {}];
    try {
      answer = await handle(method, await bodyOf(request));
    } catch (error) {
      const hint = error instanceof WarrenError && error.hint !== undefined ? ` (${error.hint})` : '';
      status = error instanceof WarrenError && error.code === 'NOT_FOUND' ? 404 : 500;
      answer = { Err: `${errorMessage(error)}${hint}` };
      log.warn({ method, err: error }, 'what a Docker engine asked could not be done');
    }
    response.writeHead(status, { 'content-type': CONTENT_TYPE, connection: 'close' });
    response.end(JSON.stringify(answer));
  }
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new WarrenError('BODY_TOO_LARGE', 'the request is too large');
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString();
  try {
    return text.trim() === '' ? {} : JSON.parse(text);
  } catch {
    throw new WarrenError('DOCKER_REQUEST', 'the request is not JSON');
  }
}
