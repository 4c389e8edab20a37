/**
 * The API server over HTTPS. Who it is and who we are (service account of a pod, kubeconfig with certificates, tokens or a
 * program) is for @kubernetes/client-node to say, request by request, so that a token or a certificate that was renewed counts.
 * Requests themselves are Node's: answers have bounds here, lists come in pages, and watches are read line by line.
 */
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https';
import type { Socket } from 'node:net';
import { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import { errorMessage, WarrenError } from '../errors.ts';
import { VERSION } from '../package.ts';
import type { Answer, ApiRequest, KubernetesApi, Pending, WatchListener } from './api.ts';
import { JsonLines } from './json-lines.ts';

/** 250 Nodes of 50 kB each are 12 MB. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** Of what a refused watch says. */
const MAX_REFUSAL_BYTES = 64 * 1024;
/** An object is 1.5 MB at most in etcd; as JSON it is longer. */
const MAX_LINE_BYTES = 8 * 1024 * 1024;
/** Without a byte of an answer. */
const ANSWER_MS = 30_000;
/** A server that vanished is missed by its host's silence. */
const KEEP_ALIVE_MS = 15_000;
/** Four watches at most (nodes, policies, namespaces, pods), and what is asked besides. */
const SOCKETS = 6;

/** `kubeconfig`: a file; undefined: what a pod has. Throws KUBERNETES_UNUSABLE. */
export function httpsApi(kubeconfig: string | undefined): KubernetesApi {
  const config = new KubeConfig();
  try {
    if (kubeconfig !== undefined) config.loadFromFile(kubeconfig);
    else if (process.env.KUBERNETES_SERVICE_HOST === undefined) {
      throw new Error('KUBERNETES_SERVICE_HOST is not set: this is no pod');
    } else config.loadFromCluster();
    const server = config.getCurrentCluster()?.server;
    if (server === undefined) throw new Error('its current context names no cluster');
    const { protocol } = new URL(server);
    if (protocol !== 'https:' && protocol !== 'http:') throw new Error(`its server is ${protocol}//`);
    return new HttpsApi(config, server);
  } catch (error) {
    const where = kubeconfig ?? 'the service account of this pod';
    throw new WarrenError(
      'KUBERNETES_UNUSABLE',
      `cannot tell how to reach the Kubernetes API (${where}): ${errorMessage(error)}`,
      {
        hint: 'Run the agent in a pod with a service account, or name a file in kubernetes.kubeconfig.',
        cause: error,
      },
    );
  }
}

/** What of a request's options is the connection's. */
const CREDENTIALS = ['ca', 'cert', 'key', 'pfx', 'passphrase', 'servername', 'rejectUnauthorized'] as const;

class HttpsApi implements KubernetesApi {
  readonly server: string;
  readonly #config: KubeConfig;
  #agent: Agent | undefined;
  #credentials = '';

  constructor(config: KubeConfig, server: string) {
    this.#config = config;
    this.server = server.replace(/\/+$/, '');
  }

  ask(request: ApiRequest, done: (answer: Answer) => void): Pending {
    return this.#send(request, ANSWER_MS, done, (response, finish) => {
      collect(response, MAX_ANSWER_BYTES, (bytes) => finish(answerOf(response, bytes)), finish);
    });
  }

  watch(path: string, { line, end }: WatchListener): Pending {
    // How long it may be silent is whoever watches to say.
    return this.#send({ method: 'GET', path }, 0, end, (response, finish) => {
      if (response.statusCode !== 200) {
        collect(response, MAX_REFUSAL_BYTES, (bytes) => finish(answerOf(response, bytes)), finish);
        return;
      }
      const lines = new JsonLines(MAX_LINE_BYTES, line);
      response.on('data', (chunk: Buffer) => {
        try {
          lines.push(chunk);
        } catch (error) {
          finish({ error: errorMessage(error) });
        }
      });
      response.on('end', () => finish({ status: 200, body: undefined }));
    });
  }

  close(): void {
    this.#agent?.destroy();
    this.#agent = undefined;
  }

  /** `finish` is heard once, and ends the request; after `cancel` nothing is heard. */
  #send(
    { method, path, body }: ApiRequest,
    timeoutMs: number,
    done: (answer: Answer) => void,
    read: (response: IncomingMessage, finish: (answer: Answer) => void) => void,
  ): Pending {
    let asked: ClientRequest | undefined;
    let response: IncomingMessage | undefined;
    let isOver = false;
    const finish = (answer: Answer) => {
      if (isOver) return;
      isOver = true;
      // The connection of one that is complete serves the next.
      if (!response?.complete) asked?.destroy();
      done(answer);
    };
    const fail = (error: unknown) => finish({ error: errorMessage(error) });
    this.#prepared(method, path, body !== undefined).then(({ url, options }) => {
      if (isOver) return;
      const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
      asked = send(url, options);
      asked.setTimeout(timeoutMs, () => fail(new Error(`no answer within ${timeoutMs / 1000} s`)));
      asked.on('socket', (socket: Socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
      asked.on('error', fail);
      asked.on('response', (answer) => {
        response = answer;
        response.on('error', fail);
        response.on('aborted', () => fail(new Error('the answer broke off')));
        // What came last of an answer that was given up is not heard either.
        if (!isOver) read(response, finish);
      });
      asked.end(body === undefined ? undefined : JSON.stringify(body));
    }, fail);
    return {
      cancel: () => {
        isOver = true;
        asked?.destroy();
      },
    };
  }

  /** Rejects where a file of the configuration cannot be read. */
  async #prepared(
    method: string,
    path: string,
    hasBody: boolean,
  ): Promise<{ url: URL; options: RequestOptions }> {
    const options: RequestOptions = {
      method,
      headers: {
        accept: 'application/json',
        'user-agent': `warren/${VERSION}`,
        ...(hasBody && { 'content-type': 'application/strategic-merge-patch+json' }),
      },
    };
    await this.#config.applyToHTTPSOptions(options);
    const headers = options.headers as Record<string, string>;
    // A token's file may end with a line's end, which no header may have.
    if (headers.Authorization !== undefined) headers.Authorization = headers.Authorization.trim();
    const url = new URL(this.server + path);
    const { agent: own, ...rest } = options;
    // A proxy's agent stays; a plain one gives way to ours, which keeps connections.
    const isPlain = own === undefined || Object.getPrototypeOf(own) === Agent.prototype;
    if (url.protocol !== 'https:') return { url, options: rest };
    return { url, options: { ...rest, agent: isPlain ? this.#agentFor(rest) : own } };
  }

  /** The same as long as certificates and keys are. */
  #agentFor(options: RequestOptions): Agent {
    const given = Object.fromEntries(
      CREDENTIALS.flatMap((key) => (options[key] === undefined ? [] : [[key, options[key]]])),
    );
    const text = JSON.stringify(given);
    if (this.#agent && text === this.#credentials) return this.#agent;
    // What is under way goes on; its sockets close when it ends.
    this.#credentials = text;
    this.#agent = new Agent({ ...given, keepAlive: true, maxSockets: SOCKETS, maxFreeSockets: 1 });
    return this.#agent;
  }
}

function collect(
  response: IncomingMessage,
  maxBytes: number,
  done: (bytes: Buffer) => void,
  fail: (answer: Answer) => void,
): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > maxBytes) fail({ error: `the answer is longer than ${maxBytes} bytes` });
    else chunks.push(chunk);
  });
  response.on('end', () => done(Buffer.concat(chunks)));
}

function answerOf({ statusCode = 0, headers }: IncomingMessage, bytes: Buffer): Answer {
  const seconds = Number(headers['retry-after']);
  const isGiven = Number.isFinite(seconds) && seconds > 0;
  return {
    status: statusCode,
    body: parsedOrUndefined(bytes),
    ...(isGiven && { retryAfterMs: 1000 * seconds }),
  };
}

function parsedOrUndefined(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}
