/** One question to one of the host's resolvers, over a socket of its own: the kernel chooses its port. */
import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import { MAX_MESSAGE_BYTES } from './constants.ts';
import type { Exchange, ExchangeRequest } from './forwarder.ts';
import { framed, unframed } from './listener.ts';

const PORT = 53;

export function exchangeOverSockets(port = PORT): Exchange {
  return (request) => (request.via === 'udp' ? overUdp(request, port) : overTcp(request, port));
}

function overUdp({ resolver, query, isAnswer, timeoutMs, signal }: ExchangeRequest, port: number) {
  const socket = createSocket(isIPv6(resolver) ? 'udp6' : 'udp4');
  return settled(
    timeoutMs,
    signal,
    () => socket.close(),
    (done, failed, isOver) => {
      socket.on('error', failed);
      // Others may send to the port before it is connected, and forged answers come from the right address.
      socket.on('message', (bytes) => {
        if (isAnswer(bytes)) done(bytes);
      });
      // A resolver that is not there says so to a connected socket at once.
      socket.connect(port, resolver, () => {
        if (!isOver()) socket.send(query);
      });
    },
  );
}

function overTcp({ resolver, query, isAnswer, timeoutMs, signal }: ExchangeRequest, port: number) {
  const socket = connect({ host: resolver, port, noDelay: true });
  return settled(
    timeoutMs,
    signal,
    () => socket.destroy(),
    (done, failed) => {
      let received = Buffer.alloc(0);
      socket.on('error', failed);
      socket.on('end', () => failed(new Error(`${resolver} closed the connection`)));
      socket.on('data', (bytes) => {
        received = Buffer.concat([received, bytes]);
        const message = unframed(received);
        if (message && isAnswer(message)) done(message);
        else if (message || received.length > MAX_MESSAGE_BYTES)
          failed(new Error(`${resolver} answered something else`));
      });
      socket.write(framed(query));
    },
  );
}

function settled(
  timeoutMs: number,
  signal: AbortSignal,
  close: () => void,
  work: (done: (bytes: Uint8Array) => void, failed: (error: Error) => void, isOver: () => boolean) => void,
): Promise<Uint8Array> {
  return new Promise<Uint8Array>((resolve, reject) => {
    const timer = setTimeout(() => failed(new Error('no answer in time')), timeoutMs);
    const aborted = () => failed(new Error('the agent stops'));
    let isOver = false;
    const end = (): boolean => {
      if (isOver) return false;
      isOver = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', aborted);
      close();
      return true;
    };
    const failed = (error: Error) => {
      if (end()) reject(error);
    };
    signal.addEventListener('abort', aborted);
    work(
      (bytes) => {
        if (end()) resolve(Uint8Array.from(bytes));
      },
      failed,
      () => isOver,
    );
    if (signal.aborted) aborted();
  });
}
