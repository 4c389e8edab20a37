/** Gossip on the real network: datagrams over UDP, streams over TCP, both on one address and port. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, Socket } from 'node:net';
import { realClock } from '../clock.ts';
import { errorMessage, WarrenError } from '../errors.ts';
import { type Family, formatAddress, parseAddress } from '../ip/address.ts';
import { type Endpoint, formatEndpoint } from '../ip/endpoint.ts';
import type { Logger } from '../log/logger.ts';
import { Deadline, type Deadlines } from './deadline.ts';
import { FrameReader, writeFrames } from './frame-stream.ts';
import { refusalFrame } from './seal.ts';
import { type Place, StreamAdmission } from './stream-admission.ts';
import { TcpStream } from './tcp-stream.ts';
import type { Exchange, ExchangeHandler, Transport, TransportHandlers } from './transport.ts';

export interface UdpTcpTransportOptions {
  /** The address to bind and the port of both; 0 takes a free port (see `local`). */
  readonly bind: Endpoint | { readonly address: Endpoint['address']; readonly port: 0 };
  readonly logger: Logger;
  /** A stream from another node ends after this, whatever its state, unless it is kept (transport.ts). */
  readonly streamTimeoutMs?: number;
}

const DEFAULT_STREAM_TIMEOUT_MS = 10_000;
/** Room for a burst of datagrams while the main thread is busy. */
const UDP_RECEIVE_BUFFER_BYTES = 1024 * 1024;

export class UdpTcpTransport implements Transport {
  readonly #options: UdpTcpTransportOptions;
  readonly #family: Family;
  readonly #bindHost: string;
  readonly #streamTimeoutMs: number;
  readonly #udp: UdpSocket;
  readonly #server: Server;
  /** Both directions; each ends by its deadline. Inbound ones are bounded by `#admission`, others by the protocol. */
  readonly #sockets = new Set<Socket>();
  readonly #admission = new StreamAdmission(() => realClock.now());
  #handlers: TransportHandlers | undefined;
  #local: Endpoint | undefined;

  constructor(options: UdpTcpTransportOptions) {
    this.#options = options;
    this.#family = options.bind.address.family;
    this.#bindHost = formatAddress(options.bind.address);
    this.#streamTimeoutMs = options.streamTimeoutMs ?? DEFAULT_STREAM_TIMEOUT_MS;
    this.#udp = createSocket({
      type: this.#family === 4 ? 'udp4' : 'udp6',
      ipv6Only: this.#family === 6,
      // Only addresses are sent to: nothing is ever looked up.
      lookup: (host, _options, done) => done(null, host, this.#family),
    });
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** What is bound, once `open` has resolved. */
  get local(): Endpoint | undefined {
    return this.#local;
  }

  async open(handlers: TransportHandlers): Promise<void> {
    const { bind } = this.#options;
    try {
      await listening(this.#server, () =>
        this.#server.listen({ host: this.#bindHost, port: bind.port, ipv6Only: this.#family === 6 }),
      );
      const bound = this.#server.address();
      const port = typeof bound === 'object' && bound ? bound.port : bind.port;
      await listening(this.#udp, () => this.#udp.bind({ address: this.#bindHost, port, exclusive: true }));
      this.#local = { address: bind.address, port };
    } catch (error) {
      await this.close();
      throw bindError(error, `${formatEndpoint({ ...bind })}`);
    }
    this.#handlers = handlers;
    try {
      this.#udp.setRecvBufferSize(UDP_RECEIVE_BUFFER_BYTES);
    } catch {
      // The host's limit is lower; its default must do.
    }
    this.#udp.on('message', (bytes, from) => {
      this.#handlers?.datagram({ address: parseAddress(withoutZone(from.address)), port: from.port }, bytes);
    });
    const onError = (error: Error) =>
      this.#options.logger.debug({ reason: error.message }, 'gossip socket error');
    this.#udp.on('error', onError);
    this.#server.on('error', onError);
  }

  send(to: Endpoint, datagram: Uint8Array): void {
    if (!this.#handlers || to.address.family !== this.#family) return;
    // An error here (no route, a full buffer) is a lost datagram, which the protocol expects.
    this.#udp.send(datagram, to.port, formatAddress(to.address), () => {});
  }

  exchange(
    to: Endpoint,
    frames: readonly Uint8Array[],
    deadlines: Deadlines,
    handler: ExchangeHandler,
  ): Exchange {
    const socket = new Socket();
    const reader = new FrameReader();
    let isOver = false;
    const finish = (error: Error | undefined) => {
      if (isOver) return;
      isOver = true;
      deadline.cancel();
      this.#sockets.delete(socket);
      socket.destroy();
      handler.closed(error);
    };
    const deadline = new Deadline(realClock, deadlines, () => finish(timedOut(to)));
    this.#sockets.add(socket);
    socket.on('data', (chunk) => {
      deadline.touch();
      const fits = reader.read(chunk, (frame) => {
        if (!isOver && handler.frame(frame)) finish(undefined);
        return !isOver;
      });
      if (!fits) finish(new Error(`${formatEndpoint(to)} sent a frame that is too long`));
    });
    socket.on('error', finish);
    socket.on('close', () => finish(closedEarly(to)));
    socket.on('connect', () => socket.write(writeFrames(frames)));
    if (this.#handlers) {
      socket.connect({
        host: formatAddress(to.address),
        port: to.port,
        // Others know this node by the address it is bound to.
        ...(isUnspecified(this.#options.bind.address) ? {} : { localAddress: this.#bindHost }),
      });
    } else {
      setImmediate(() => finish(new Error('gossip has stopped')));
    }
    return {
      cancel: () => {
        isOver = true;
        deadline.cancel();
        this.#sockets.delete(socket);
        socket.destroy();
      },
      pause: () => {
        deadline.hold(true);
        socket.pause();
      },
      resume: () => {
        deadline.hold(false);
        socket.resume();
      },
    };
  }

  async close(): Promise<void> {
    this.#handlers = undefined;
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all([
      new Promise<void>((resolve) => {
        if (this.#server.listening) this.#server.close(() => resolve());
        else resolve();
      }),
      new Promise<void>((resolve) => {
        try {
          this.#udp.close(() => resolve());
        } catch {
          // Not open, or closed already.
          resolve();
        }
      }),
    ]);
  }

  #accept(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    const host = withoutZone(socket.remoteAddress ?? '');
    const handlers = this.#handlers;
    if (!handlers || host === '') {
      socket.destroy();
      return;
    }
    const from = { address: parseAddress(host), port: socket.remotePort ?? 1 };
    const origin = handlers.origin?.(from.address) ?? 'stranger';
    if (origin === 'outside') {
      socket.destroy();
      return;
    }
    const place: Place | undefined = this.#admission.enter(from.address, origin, () => {
      place?.release();
      socket.destroy();
    });
    if (!place) {
      socket.end(writeFrames([refusalFrame('busy')]), () => socket.destroy());
      return;
    }
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    const deadlines = { idleMs: this.#streamTimeoutMs, totalMs: this.#streamTimeoutMs };
    const stream = new TcpStream(socket, deadlines, place);
    stream.serve(handlers.accept(from, stream));
  }
}

/** Resolves at 'listening', rejects at an 'error' before it. */
function listening(emitter: Server | UdpSocket, start: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    emitter.once('error', reject);
    emitter.once('listening', () => {
      emitter.removeListener('error', reject);
      resolve();
    });
    start();
  });
}

function bindError(error: unknown, where: string): WarrenError {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') {
    return new WarrenError('GOSSIP_BIND', `cannot listen for gossip on ${where}: the port is in use`, {
      hint: 'Another agent runs on this host, or another program has the port; see underlay.gossipPort.',
      cause: error,
    });
  }
  if (code === 'EADDRNOTAVAIL') {
    return new WarrenError(
      'GOSSIP_BIND',
      `cannot listen for gossip on ${where}: this host has no such address`,
      {
        hint: 'Set underlay.address to an address of this host, or to auto.',
        cause: error,
      },
    );
  }
  return new WarrenError('GOSSIP_BIND', `cannot listen for gossip on ${where}: ${errorMessage(error)}`, {
    cause: error,
  });
}

function timedOut(to: Endpoint): Error {
  return Object.assign(new Error(`no answer from ${formatEndpoint(to)} in time`), { code: 'ETIMEDOUT' });
}

function closedEarly(to: Endpoint): Error {
  return Object.assign(new Error(`${formatEndpoint(to)} closed the connection`), { code: 'ECONNRESET' });
}

function isUnspecified(address: Endpoint['address']): boolean {
  return address.value === 0n;
}

/** `fe80::1%eth0` without its zone. */
function withoutZone(address: string): string {
  const percent = address.indexOf('%');
  return percent < 0 ? address : address.slice(0, percent);
}
