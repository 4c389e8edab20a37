/**
 * A program that runs inside a network namespace (a pod, a node, a foreign host) and does there, with sockets
 * like any other program's, what a test asks for over Node's IPC channel; see probe.ts. It ends with its test.
 */
import { createCipheriv, createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createServer, connect as tcpConnect } from 'node:net';
import koffi from 'koffi';
import { datagramHandle } from './datagram-handle.mjs';
import { collectDatagrams, floodDatagrams, growReceiveBuffer, streamDatagrams } from './udp-bulk.mjs';

const CHUNK_BYTES = 64 * 1024;
const ZEROS = Buffer.alloc(CHUNK_BYTES);

/** linux/udp.h */
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
/** linux/sockios.h, linux/ethtool.h, linux/if.h */
const SIOCETHTOOL = 0x8946;
const ETHTOOL_STXCSUM = 0x17;
const IFNAMSIZ = 16;

/** Connections that stay open between requests, by number; bounded by what one test opens. */
const connections = new Map();
/** Sockets that wait for their datagrams to be collected, by port; the same bound. */
const sinks = new Map();

/** A stream of bytes that looks random and depends on `seed` alone. */
function contentOf(seed) {
  const key = createHash('sha256').update(seed).digest();
  const cipher = createCipheriv('aes-128-ctr', key.subarray(0, 16), key.subarray(16));
  return (bytes) => cipher.update(ZEROS.subarray(0, bytes));
}

/** A function of the C library; koffi finds those of the running program. */
function libc(prototype) {
  return koffi.load(null).func(prototype);
}

function listening(server, host) {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port: 0 }, () => resolve({ port: server.address().port }));
  });
}

function connected({ host, port }) {
  return new Promise((resolve, reject) => {
    const socket = tcpConnect({ host, port, noDelay: true });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

function drained(socket) {
  return new Promise((resolve, reject) => {
    const onDrain = () => {
      socket.off('close', onClose);
      resolve();
    };
    const onClose = () => reject(new Error('the connection was closed while there was more to send'));
    socket.once('drain', onDrain);
    socket.once('close', onClose);
  });
}

/** Writes `bytes` bytes of `content` without piling them up; answers their SHA-256. */
async function writeContent(socket, bytes, content) {
  const hash = createHash('sha256');
  for (let left = bytes; left > 0; ) {
    const chunk = content(Math.min(left, CHUNK_BYTES));
    left -= chunk.length;
    hash.update(chunk);
    if (!socket.write(chunk)) await drained(socket);
  }
  return hash.digest('hex');
}

/** Binds a UDP socket; `onMessage` hears what it receives. */
function udpSocket({ address, port }, onMessage) {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  if (onMessage) socket.on('message', onMessage);
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ address, port, exclusive: true }, () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

function sendTo(socket, payload, host, port) {
  return new Promise((resolve, reject) => {
    socket.send(payload, port, host, (error) => (error ? reject(error) : resolve()));
  });
}

/** Resolves once `isDone()` holds after some call of the function it hands out, or after `timeoutMs`. */
function until(isDone, timeoutMs) {
  let check;
  const done = new Promise((resolve) => {
    const timer = setTimeout(resolve, timeoutMs);
    check = () => {
      if (!isDone()) return;
      clearTimeout(timer);
      resolve();
    };
  });
  return { done, check };
}

const operations = {
  /** Takes whole streams: answers each, when it has ended, with what arrived and from whom. */
  receiver({ host }) {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      const hash = createHash('sha256');
      let bytes = 0;
      socket.on('data', (chunk) => {
        hash.update(chunk);
        bytes += chunk.length;
      });
      const from = socket.remoteAddress;
      socket.on('end', () => socket.end(JSON.stringify({ bytes, sha256: hash.digest('hex'), from })));
      socket.on('error', () => socket.destroy());
    });
    return listening(server, host);
  },

  /** Sends a stream to a `receiver`; answers what was sent and the receiver's receipt. */
  async transfer({ host, port, bytes, seed }) {
    const socket = await connected({ host, port });
    const from = socket.localAddress;
    const reply = [];
    const closed = new Promise((resolve, reject) => {
      socket.on('data', (chunk) => reply.push(chunk));
      socket.on('end', resolve);
      socket.on('error', reject);
    });
    const [sha256] = await Promise.all([
      writeContent(socket, bytes, contentOf(seed)).finally(() => socket.end()),
      closed,
    ]);
    return { bytes, sha256, from, receipt: JSON.parse(Buffer.concat(reply)) };
  },

  /** Sends every byte back. */
  echo({ host }) {
    const server = createServer({ noDelay: true }, (socket) => {
      socket.on('error', () => socket.destroy());
      socket.pipe(socket);
    });
    return listening(server, host);
  },

  /** Opens a connection that stays open: to an `echo`. */
  async open({ host, port }) {
    const socket = await connected({ host, port });
    const connection = connections.size + 1;
    let failure;
    socket.on('error', (error) => {
      failure = error;
    });
    connections.set(connection, { socket, failure: () => failure });
    return { connection, localPort: socket.localPort };
  },

  /** Sends over an open connection and reads the same back. */
  async exchange({ connection, bytes, seed }) {
    const { socket, failure } = connections.get(connection);
    const hash = createHash('sha256');
    let received = 0;
    const closed = () => new Error(`the connection is closed (${failure()?.message ?? 'by the other side'})`);
    if (socket.closed || socket.readableEnded) throw closed();
    const echoed = new Promise((resolve, reject) => {
      const onData = (chunk) => {
        hash.update(chunk);
        received += chunk.length;
        if (received < bytes) return;
        socket.off('data', onData);
        socket.off('close', onClose);
        resolve(hash.digest('hex'));
      };
      const onClose = () => reject(closed());
      socket.on('data', onData);
      socket.on('close', onClose);
    });
    const [sha256, echoedSha256] = await Promise.all([writeContent(socket, bytes, contentOf(seed)), echoed]);
    return { bytes: received, sha256, echoedSha256 };
  },

  /** Sends every datagram back. */
  async udpEcho({ host }) {
    const socket = await udpSocket({ address: host, port: 0 }, (message, from) =>
      socket.send(message, from.port, from.address),
    );
    return { port: socket.address().port };
  },

  /**
   * Sends a datagram of each size, `window` of them at a time, to a `udpEcho`. `sizes` are all different, for
   * the answer's size says which it belongs to. Answers the sizes that did not come back, or not as they were.
   */
  async udpExchange({ localAddress, host, port, sizes, window, seed, timeoutMs }) {
    const content = contentOf(seed);
    const expected = new Map();
    const wrong = [];
    let batch;
    const socket = await udpSocket({ address: localAddress, port: 0 }, (message) => {
      if (!expected.get(message.length)?.equals(message)) wrong.push(message.length);
      expected.delete(message.length);
      batch?.check();
    });
    const lost = [];
    for (let next = 0; next < sizes.length; next += window) {
      const due = sizes.slice(next, next + window).map((bytes) => Buffer.from(content(bytes)));
      for (const payload of due) expected.set(payload.length, payload);
      batch = until(() => expected.size === 0, timeoutMs);
      for (const payload of due) await sendTo(socket, payload, host, port);
      batch.check();
      await batch.done;
      lost.push(...expected.keys());
      expected.clear();
    }
    socket.close();
    return { wrong, lost };
  },

  /**
   * Sends one UDP superpacket (UDP_SEGMENT, udp(7)) of `segments` datagrams, the last one shorter, to a
   * `udpEcho`. Answers how many came back as they were.
   */
  async udpSegments({ localAddress, host, port, segments, segmentBytes, seed, timeoutMs }) {
    const setsockopt = libc('int setsockopt(int, int, int, void *, unsigned int)');
    const content = contentOf(seed);
    const expected = Array.from({ length: segments }, (_, index) => {
      const payload = Buffer.from(content(index < segments - 1 ? segmentBytes : segmentBytes / 2));
      payload.writeUInt32BE(index);
      return payload;
    });
    const returned = new Set();
    const batch = until(() => returned.size === segments, timeoutMs);
    const socket = await udpSocket({ address: localAddress, port: 0 }, (message) => {
      const index = message.readUInt32BE();
      if (expected[index]?.equals(message)) returned.add(index);
      batch.check();
    });
    const size = Buffer.alloc(4);
    size.writeInt32LE(segmentBytes);
    if (setsockopt(datagramHandle(socket).fd, SOL_UDP, UDP_SEGMENT, size, 4) !== 0) {
      throw new Error('this kernel has no UDP_SEGMENT');
    }
    await sendTo(socket, Buffer.concat(expected), host, port);
    await batch.done;
    socket.close();
    return { returned: returned.size };
  },

  /** Binds a socket for `udpCollect`. */
  async udpSink({ host }) {
    const socket = await udpSocket({ address: host, port: 0 });
    // What comes before `udpCollect` waits in the socket: Node would take it out, and nobody would hear of it.
    datagramHandle(socket).recvStop();
    growReceiveBuffer(socket);
    const { port } = socket.address();
    sinks.set(port, socket);
    return { port };
  },

  /** Takes what `udpStream` sends to a sink, see udp-bulk.mjs; nothing else runs here meanwhile. */
  udpCollect({ port, ...request }) {
    const socket = sinks.get(port);
    const report = collectDatagrams(socket, request);
    sinks.delete(port);
    socket.close();
    return report;
  },

  /** Sends `datagrams` datagrams of 12 to 211 bytes to a sink as fast as it can, whatever becomes of them. */
  async udpFlood({ localAddress, host, port, ...request }) {
    const socket = await udpSocket({ address: localAddress, port: 0 });
    await new Promise((resolve) => socket.connect(port, host, resolve));
    floodDatagrams(socket, request);
    socket.close();
    return {};
  },

  /** Sends `flows` flows to a sink, from a port each; nothing else runs here meanwhile. */
  async udpStream({ localAddress, host, port, flows, ...request }) {
    const sockets = [];
    for (let i = 0; i < flows; i++) {
      const socket = await udpSocket({ address: localAddress, port: 0 });
      await new Promise((resolve) => socket.connect(port, host, resolve));
      sockets.push(socket);
    }
    const report = streamDatagrams(sockets, request);
    for (const socket of sockets) socket.close();
    return report;
  },

  /** Makes the kernel compute checksums, and segment, before it hands packets to `device`. */
  async disableTransmitOffload({ device }) {
    const ioctl = libc('int ioctl(int, unsigned long, void *)');
    const socket = await udpSocket({ address: '127.0.0.1', port: 0 });
    const value = Buffer.alloc(8);
    value.writeUInt32LE(ETHTOOL_STXCSUM);
    const request = Buffer.alloc(IFNAMSIZ + 24);
    request.write(device);
    request.writeBigUInt64LE(koffi.address(value), IFNAMSIZ);
    const result = ioctl(datagramHandle(socket).fd, SIOCETHTOOL, request);
    socket.close();
    if (result !== 0) throw new Error(`${device} does not let its offloads be turned off`);
    return {};
  },

  /** Sends datagrams from one socket as they are given, in order: `payloads` in base64. */
  async udpSend({ localAddress, localPort, host, port, payloads }) {
    const socket = await udpSocket({ address: localAddress, port: localPort });
    for (const payload of payloads) await sendTo(socket, Buffer.from(payload, 'base64'), host, port);
    socket.close();
    return {};
  },
};

process.on('message', async ({ id, operation, request }) => {
  try {
    process.send({ id, answer: await operations[operation](request) });
  } catch (error) {
    process.send({ id, error: error.stack });
  }
});
process.on('disconnect', () => process.exit());
