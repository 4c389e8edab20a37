/**
 * The sockets of the responder on one address, UDP and TCP. They are bound before anything that answers is loaded
 * (agent/names.ts), and know nothing of what the messages say.
 */
import { createSocket } from 'node:dgram';
import { createServer, isIP, type Server, type Socket } from 'node:net';
import { formatAddress, type IpAddress, parseAddress } from '../ip/address.ts';
import { MAX_QUERY_BYTES } from './constants.ts';

/** Undefined: there is no answer. Never rejects. */
export type Answerer = (
  bytes: Uint8Array,
  origin: { readonly from: IpAddress; readonly via: 'udp' | 'tcp' },
) => Promise<Uint8Array | undefined>;

export interface Asked {
  readonly answer: Answerer;
  /** Whether connections from there are taken: they are few, and strangers are not to have them all. */
  readonly mayConnect: (from: IpAddress) => boolean;
}

export interface Listener {
  close(): Promise<void>;
}

/** Binds both sockets, or none. Rejects with what the system says, such as that the port is taken. */
export type Listen = (address: IpAddress, port: number, asked: Asked) => Promise<Listener>;

/** Datagrams whose answers are being made; more are dropped unread. */
const MAX_PENDING = 1024;
const MAX_CONNECTIONS = 128;
/** Of one source, so that one pod leaves some to the others. */
const MAX_CONNECTIONS_OF_ONE = 16;
/** Questions of one connection that are not answered yet; it is not read meanwhile. */
const MAX_PENDING_OF_ONE = 16;
const IDLE_MS = 10_000;
const LENGTH_BYTES = 2;

export const listenOnSockets: Listen = async (address, port, asked) => {
  const udp = await listenUdp(address, port, asked.answer);
  try {
    const tcp = await listenTcp(address, port, asked);
    return {
      close: async () => {
        await Promise.all([udp.close(), tcp.close()]);
      },
    };
  } catch (error) {
    await udp.close();
    throw error;
  }
};

function listenUdp(address: IpAddress, port: number, answer: Answerer): Promise<Listener> {
  return new Promise((resolve, reject) => {
    const socket = createSocket({
      type: address.family === 4 ? 'udp4' : 'udp6',
      ipv6Only: address.family === 6,
    });
    let pending = 0;
    let isClosed = false;
    socket.on('message', (bytes, remote) => {
      const from = sourceOf(remote.address);
      if (pending >= MAX_PENDING || from === undefined) return;
      pending++;
      answer(bytes, { from, via: 'udp' })
        .then((reply) => {
          // What cannot be sent is asked for again.
          if (reply && !isClosed) socket.send(reply, remote.port, remote.address, () => {});
        })
        .catch(() => {})
        .finally(() => pending--);
    });
    socket.once('error', reject);
    socket.bind({ address: formatAddress(address), port, exclusive: true }, () => {
      socket.off('error', reject);
      // Of what was sent before, such as that a pod is gone.
      socket.on('error', () => {});
      resolve({
        close: () => {
          isClosed = true;
          return new Promise((done) => socket.close(() => done()));
        },
      });
    });
  });
}

function listenTcp(address: IpAddress, port: number, { answer, mayConnect }: Asked): Promise<Listener> {
  return new Promise((resolve, reject) => {
    /** Bounded by MAX_CONNECTIONS. */
    const connections = new Set<Socket>();
    const server: Server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
      const from = sourceOf(socket.remoteAddress);
      const ofOne = [...connections].filter((other) => other.remoteAddress === socket.remoteAddress).length;
      if (from === undefined || !mayConnect(from) || ofOne >= MAX_CONNECTIONS_OF_ONE) {
        socket.destroy();
        return;
      }
      connections.add(socket);
      socket.once('close', () => connections.delete(socket));
      serveConnection(socket, from, answer);
    });
    server.maxConnections = MAX_CONNECTIONS;
    server.once('error', reject);
    server.listen(
      { host: formatAddress(address), port, ipv6Only: address.family === 6, exclusive: true },
      () => {
        server.off('error', reject);
        server.on('error', () => {});
        resolve({
          close: () => {
            const closed = new Promise<void>((done) => server.close(() => done()));
            for (const socket of connections) socket.destroy();
            return closed;
          },
        });
      },
    );
  });
}

/** Messages follow each other, each behind two bytes that say its length (RFC 1035, section 4.2.2; RFC 7766). */
function serveConnection(socket: Socket, from: IpAddress, answer: Answerer): void {
  /** Less than one message. */
  let rest: Buffer = Buffer.alloc(0);
  let pending = 0;
  /** Whoever asked says nothing more, and waits for the answers. */
  let isEnded = false;
  const read = (): void => {
    while (pending < MAX_PENDING_OF_ONE && rest.length >= LENGTH_BYTES) {
      const length = rest.readUInt16BE(0);
      if (length > MAX_QUERY_BYTES) {
        socket.destroy();
        return;
      }
      if (rest.length < LENGTH_BYTES + length) break;
      const message = rest.subarray(LENGTH_BYTES, LENGTH_BYTES + length);
      rest = rest.subarray(LENGTH_BYTES + length);
      pending++;
      answer(message, { from, via: 'tcp' })
        .then((reply) => {
          if (reply && !socket.destroyed) socket.write(framed(reply));
        })
        .catch(() => {})
        .finally(() => {
          pending--;
          if (!socket.destroyed) read();
        });
    }
    // A reader that takes nothing gets nothing more.
    const isBusy = pending >= MAX_PENDING_OF_ONE || socket.writableNeedDrain;
    if (isBusy) socket.pause();
    else socket.resume();
    if (isEnded && pending === 0) socket.end();
  };
  socket.setTimeout(IDLE_MS, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  socket.on('drain', read);
  socket.on('end', () => {
    isEnded = true;
    read();
  });
  socket.on('data', (bytes) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    read();
  });
}

/** As it goes over TCP. */
export function framed(message: Uint8Array): Uint8Array {
  const whole = Buffer.alloc(LENGTH_BYTES + message.length);
  whole.writeUInt16BE(message.length, 0);
  whole.set(message, LENGTH_BYTES);
  return whole;
}

/** The message that `bytes` begin with; undefined: it is not whole yet. */
export function unframed(bytes: Buffer): Uint8Array | undefined {
  if (bytes.length < LENGTH_BYTES) return undefined;
  const length = bytes.readUInt16BE(0);
  return bytes.length >= LENGTH_BYTES + length
    ? bytes.subarray(LENGTH_BYTES, LENGTH_BYTES + length)
    : undefined;
}

function sourceOf(text: string | undefined): IpAddress | undefined {
  const [plain = ''] = text?.split('%') ?? [];
  return isIP(plain) === 0 ? undefined : parseAddress(plain);
}
