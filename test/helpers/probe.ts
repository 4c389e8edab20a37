/** Sockets inside a lab's namespaces: one helper process for each, asked over Node's IPC channel. */
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { LabNamespace } from '../../src/lab/host.ts';

const PROGRAM = fileURLToPath(new URL('probe-program.mjs', import.meta.url));
const DEFAULT_TIMEOUT_MS = 30_000;
/** A datagram that is not back after so long is lost: longer than a machine stands still. */
const LOST_MS = 10_000;
const FLOOD_SEED = 'flood';
/** So long after the last datagram that came, no other is on the way. */
const FLOOD_IDLE_MS = 1000;

/** Where a server listens. */
export interface Listener {
  readonly host: string;
  readonly port: number;
}

/** What a receiver says of one stream. */
export interface Receipt {
  readonly bytes: number;
  readonly sha256: string;
  /** The client's address as the receiver saw it. */
  readonly from: string;
}

export interface Transfer {
  readonly bytes: number;
  readonly sha256: string;
  /** The client's own idea of its address. */
  readonly from: string;
  readonly receipt: Receipt;
}

export interface Exchange {
  readonly bytes: number;
  readonly sha256: string;
  readonly echoedSha256: string;
}

/** What udp-bulk.mjs sends, and how. */
export interface Bulk {
  readonly flows: number;
  /** Of each flow. */
  readonly datagrams: number;
  /** Each send has the next of these, at least 12; all datagrams of a superpacket are of one size. */
  readonly sizes: readonly number[];
  /** Datagrams of one superpacket; 1: each is sent by itself. */
  readonly segments: number;
  /** Datagrams that may be on the way in each flow. */
  readonly window: number;
  /** After so long without an acknowledgment, what is on the way counts as lost. */
  readonly patienceMs: number;
}

/** What came of one flow; of the datagrams that were received, how many were not as they should be. */
export interface FlowReport {
  readonly received: number;
  readonly bytes: number;
  readonly wrong: number;
  readonly disordered: number;
  readonly repeated: number;
}

export interface BulkReport {
  readonly flows: readonly FlowReport[];
  /** Datagrams that were of no flow. */
  readonly stray: number;
  /** How often a sender has lost its patience. */
  readonly lostPatience: number;
}

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class Probe {
  readonly #child: ChildProcess;
  /** Bounded by what a test asks at once. */
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #ended: Error | undefined;

  constructor(namespace: LabNamespace) {
    // Node has no other way to a socket's descriptor than one that it warns of.
    this.#child = namespace.spawn([process.execPath, '--no-deprecation', PROGRAM], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child.on('message', (message: { id: number; answer?: unknown; error?: string }) => {
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.error === undefined) waiting?.resolve(message.answer);
      else waiting?.reject(new Error(message.error));
    });
    this.#child.on('error', (error) => this.#end(error));
    this.#child.on('exit', (code, signal) => this.#end(new Error(`the probe has ended (${signal ?? code})`)));
  }

  /** A TCP server on `host` that hashes what it is sent. */
  async receiver(host: string): Promise<Listener> {
    const { port } = await this.#ask<{ port: number }>('receiver', { host });
    return { host, port };
  }

  /** Sends `bytes` bytes that depend on `seed` to a `receiver`, and waits for its receipt. */
  transfer(to: Listener, bytes: number, seed: string, timeoutMs?: number): Promise<Transfer> {
    return this.#ask('transfer', { ...to, bytes, seed }, timeoutMs);
  }

  /** A TCP server on `host` that sends everything back. */
  async echo(host: string): Promise<Listener> {
    const { port } = await this.#ask<{ port: number }>('echo', { host });
    return { host, port };
  }

  /** Opens a connection to an `echo`, for `exchange`. */
  open(to: Listener): Promise<{ connection: number; localPort: number }> {
    return this.#ask('open', to);
  }

  /** Sends `bytes` bytes over an open connection and reads as many back. */
  exchange(connection: number, bytes: number, seed: string, timeoutMs?: number): Promise<Exchange> {
    return this.#ask('exchange', { connection, bytes, seed }, timeoutMs);
  }

  /** A UDP server on `host` that sends every datagram back. */
  async udpEcho(host: string): Promise<Listener> {
    const { port } = await this.#ask<{ port: number }>('udpEcho', { host });
    return { host, port };
  }

  /** Datagrams of `sizes` (all different), `window` at a time, to a `udpEcho`; which came back wrong, or never. */
  udpExchange(
    from: string,
    to: Listener,
    sizes: readonly number[],
    window: number,
  ): Promise<{ wrong: number[]; lost: number[] }> {
    const seed = `${from} ${to.host} ${to.port}`;
    return this.#ask('udpExchange', { localAddress: from, ...to, sizes, window, seed, timeoutMs: LOST_MS });
  }

  /** One UDP superpacket of `segments` datagrams to a `udpEcho`; how many came back as they were. */
  async udpSegments(
    from: string,
    to: Listener,
    segments: number,
    segmentBytes: number,
    seed = `${from} ${to.host} ${to.port}`,
    timeoutMs = LOST_MS,
  ): Promise<number> {
    const request = { localAddress: from, ...to, segments, segmentBytes, seed, timeoutMs };
    return (await this.#ask<{ returned: number }>('udpSegments', request)).returned;
  }

  /** Sends flows of numbered datagrams from `from` to `receiver`, which is in another process, at `host`. */
  async udpBulk(
    from: string,
    receiver: Probe,
    host: string,
    bulk: Bulk,
    timeoutMs = DEFAULT_TIMEOUT_MS,
  ): Promise<BulkReport> {
    const seed = `${from} ${host}`;
    const { port } = await receiver.#ask<{ port: number }>('udpSink', { host });
    const { flows, datagrams, ...rest } = bulk;
    const idleMs = 2 * bulk.patienceMs + 500;
    const [{ lostPatience }, collected] = await Promise.all([
      this.#ask<{ lostPatience: number }>(
        'udpStream',
        { localAddress: from, host, port, flows, datagrams, ...rest, seed },
        timeoutMs,
      ),
      receiver.#ask<Omit<BulkReport, 'lostPatience'>>(
        'udpCollect',
        { port, flows, datagrams, idleMs, seed },
        timeoutMs,
      ),
    ]);
    return { ...collected, lostPatience };
  }

  /** Opens a socket at `host` for `udpFlood`: what comes stays in it until `udpFlooded`. */
  async udpSink(host: string): Promise<Listener> {
    const { port } = await this.#ask<{ port: number }>('udpSink', { host });
    return { host, port };
  }

  /** Sends datagrams, numbered from `first` on, to a `udpSink` as fast as the host takes them, whatever becomes of them. */
  async udpFlood(from: string, to: Listener, first: number, datagrams: number): Promise<void> {
    await this.#ask('udpFlood', { localAddress: from, ...to, first, datagrams, seed: FLOOD_SEED });
  }

  /** What came of a `udpFlood` to a `udpSink` of this probe; the sink is closed. */
  async udpFlooded({ port }: Listener, datagrams: number): Promise<FlowReport> {
    const request = {
      port,
      flows: 1,
      // One more than there are: the last one may be overtaken, and does not end it.
      datagrams: datagrams + 1,
      idleMs: FLOOD_IDLE_MS,
      seed: FLOOD_SEED,
      isSilent: true,
    };
    const { flows } = await this.#ask<Omit<BulkReport, 'lostPatience'>>('udpCollect', request);
    return flows[0]!;
  }

  /** Sends `payloads` as they are, one datagram each, from `from` (port 0: any). */
  async udpSend(from: Listener, to: Listener, payloads: readonly Uint8Array[]): Promise<void> {
    await this.#ask('udpSend', {
      localAddress: from.host,
      localPort: from.port,
      ...to,
      payloads: payloads.map((payload) => Buffer.from(payload).toString('base64')),
    });
  }

  /** Makes the kernel compute checksums, and segment, before it hands packets to `device`. */
  async disableTransmitOffload(device: string): Promise<void> {
    await this.#ask('disableTransmitOffload', { device });
  }

  /** Ends the helper process and with it all its sockets. */
  stop(): void {
    if (this.#child.connected) this.#child.disconnect();
  }

  #ask<Answer>(operation: string, request: object, timeoutMs = DEFAULT_TIMEOUT_MS): Promise<Answer> {
    if (this.#ended) return Promise.reject(this.#ended);
    const id = this.#nextId++;
    return new Promise<Answer>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`no answer to ${operation} within ${timeoutMs} ms`));
      }, timeoutMs);
      const settled = <T>(settle: (value: T) => void) => {
        return (value: T) => {
          clearTimeout(timer);
          settle(value);
        };
      };
      this.#waiting.set(id, {
        resolve: settled((answer: unknown) => resolve(answer as Answer)),
        reject: settled(reject),
      });
      this.#child.send({ id, operation, request });
    });
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#waiting.clear();
  }
}
