/** The API server of kubernetes-api.ts over HTTPS: chunked JSON lines for watches, as the real one sends them. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Answer } from '../../src/kubernetes/api.ts';
import type { FakeApiServer } from './kubernetes-api.ts';

export class KubernetesServer {
  readonly #server: Server;
  readonly #model: FakeApiServer;
  /** Headers and bodies of what was asked, newest last. */
  readonly requests: {
    readonly method: string;
    readonly path: string;
    readonly headers: IncomingMessage['headers'];
  }[] = [];
  connections = 0;

  /** `tls`: a certificate for 127.0.0.1, PEM. */
  constructor(model: FakeApiServer, tls: { readonly cert: Buffer; readonly key: Buffer }) {
    this.#model = model;
    this.#server = createServer(tls, (request, response) => void this.#serve(request, response));
    this.#server.on('secureConnection', () => this.connections++);
  }

  async listen(port = 0): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Like a server that is killed. */
  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url: path = '', headers } = request;
    this.requests.push({ method, path, headers });
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    if (path.includes('watch=true')) {
      this.#watch(path, response);
      return;
    }
    const body = text === '' ? {} : { body: JSON.parse(text) as object };
    finish(response, this.#model.answer({ method: method as 'GET', path, ...body }));
  }

  #watch(path: string, response: ServerResponse): void {
    const start = () => {
      if (!response.headersSent)
        response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
    };
    const watch = {
      line: (value: object) => {
        start();
        response.write(`${JSON.stringify(value)}\n`);
      },
      end: (answer: Answer) => {
        if ('error' in answer) response.destroy();
        else response.end();
      },
    };
    const refusal = this.#model.watch(path, watch);
    if (!refusal) start();
    else if (response.headersSent) response.end();
    else finish(response, refusal);
    response.on('close', () => this.#model.watches.delete(watch));
  }
}

function finish(response: ServerResponse, answer: Answer): void {
  if ('error' in answer) {
    response.destroy();
    return;
  }
  const { status, body, retryAfterMs } = answer;
  response.writeHead(status, {
    'content-type': 'application/json',
    ...(retryAfterMs !== undefined && { 'retry-after': String(retryAfterMs / 1000) }),
  });
  response.end(body === undefined ? 'no JSON' : JSON.stringify(body));
}
