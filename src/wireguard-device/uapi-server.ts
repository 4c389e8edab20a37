/**
 * The unix socket that a device is configured over, /var/run/wireguard/INTERFACE.sock: `wg` finds devices by these. Requests
 * come one after the other on a connection, each up to an empty line, and are done one at a time whoever asks.
 */
import { chmodSync, existsSync, type FSWatcher, lstatSync, mkdirSync, rmSync, watch } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import { errorMessage, WarrenError } from '../errors.ts';
import { EIO } from '../sys/constants.ts';
import { SysError } from '../sys/errors.ts';
import { statusText } from './uapi-answer.ts';
import { parseRequest, type Request, UapiError } from './uapi-request.ts';

const FOLDER = '/var/run/wireguard';
/** Of one request: some 400,000 allowed addresses. */
const MAX_REQUEST_BYTES = 16 * 1024 * 1024;

export function uapiPath(device: string): string {
  return `${FOLDER}/${device}.sock`;
}

export interface UapiServerOptions {
  readonly path: string;
  /** One that listens already. */
  readonly fd: number | undefined;
  /** The whole answer. May throw a UapiError or a SysError. */
  readonly handle: (request: Request) => Promise<string>;
  /** A request was refused. */
  readonly onRefused: (reason: string) => void;
  /** Somebody has removed the socket: so it is told to end. */
  readonly onRemoved: () => void;
}

export class UapiServer {
  readonly #options: UapiServerOptions;
  readonly #server: Server;
  readonly #connections = new Set<Socket>();
  /** What is done now; the next request waits for it. */
  #busy: Promise<unknown> = Promise.resolve();
  #watcher: FSWatcher | undefined;
  #inode: number | undefined;

  /** Throws SOCKET_UNUSABLE. */
  static async start(options: UapiServerOptions): Promise<UapiServer> {
    const server = new UapiServer(options);
    try {
      await server.#listen();
    } catch (error) {
      if (error instanceof WarrenError) throw error;
      throw new WarrenError('SOCKET_UNUSABLE', `cannot listen on ${options.path}: ${errorMessage(error)}`, {
        hint: 'Run as root.',
        cause: error,
      });
    }
    return server;
  }

  private constructor(options: UapiServerOptions) {
    this.#options = options;
    this.#server = createServer((connection) => this.#serve(connection));
  }

  /** The socket goes, too. */
  close(): void {
    this.#watcher?.close();
    for (const connection of this.#connections) connection.destroy();
    const isOurs = inodeOf(this.#options.path) === this.#inode;
    this.#server.close();
    // One that was handed over as a descriptor is not Node's to remove.
    if (isOurs) rmSync(this.#options.path, { force: true });
  }

  async #listen(): Promise<void> {
    const { path, fd } = this.#options;
    if (fd === undefined) {
      // Whatever the mask.
      const folder = dirname(path);
      if (mkdirSync(folder, { recursive: true }) !== undefined) chmodSync(folder, 0o755);
      await removeStale(path);
    }
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      const mask = process.umask(0o077);
      try {
        this.#server.listen(fd === undefined ? { path } : { fd }, resolve);
      } finally {
        process.umask(mask);
      }
    });
    this.#inode = inodeOf(path);
    if (this.#inode === undefined) return;
    this.#watcher = watch(dirname(path), (_, name) => {
      if (name !== null && name !== basename(path)) return;
      if (inodeOf(path) !== this.#inode) this.#options.onRemoved();
    });
  }

  #serve(connection: Socket): void {
    this.#connections.add(connection);
    connection.on('close', () => this.#connections.delete(connection));
    // Whoever asked has gone: its own affair.
    connection.on('error', () => {});
    connection.setEncoding('utf8');
    let lines: string[] = [];
    let rest = '';
    let bytes = 0;
    connection.on('data', (chunk: string) => {
      bytes += chunk.length;
      const pieces = (rest + chunk).split('\n');
      rest = pieces.pop()!;
      for (const line of pieces) {
        if (line !== '') lines.push(line);
        else if (lines.length > 0) {
          this.#do(connection, lines);
          lines = [];
          bytes = rest.length;
        }
      }
      if (bytes > MAX_REQUEST_BYTES) connection.destroy();
    });
  }

  #do(connection: Socket, lines: readonly string[]): void {
    this.#busy = this.#busy.then(async () => {
      const answer = await this.#answer(lines);
      if (!connection.destroyed) connection.write(answer);
    });
  }

  async #answer(lines: readonly string[]): Promise<string> {
    try {
      return await this.#options.handle(parseRequest(lines));
    } catch (error) {
      this.#options.onRefused(errorMessage(error));
      const isNumbered = error instanceof UapiError || error instanceof SysError;
      return statusText(isNumbered ? error.errno : EIO);
    }
  }
}

function inodeOf(path: string): number | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.ino;
}

/** One that nobody answers on was left behind. */
async function removeStale(path: string): Promise<void> {
  if (!existsSync(path)) return;
  const isAnswered = await new Promise<boolean>((resolve) => {
    const connection = createConnection(path);
    connection.on('connect', () => {
      connection.destroy();
      resolve(true);
    });
    connection.on('error', () => resolve(false));
  });
  if (isAnswered) throw new Error('another program listens there');
  rmSync(path, { force: true });
}
