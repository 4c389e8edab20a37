/**
 * UDP in bulk, for probe-program.mjs: datagrams that say which flow they are of, which number they have there and
 * how long they are, with content that follows from all three; and a receiver that checks every byte.
 *
 *     | flow (4) | number (4) | bytes (4) | content ...
 *
 * The sender stays `window` datagrams ahead of what the receiver has acknowledged, in the same flow the other way:
 * so the receiver's buffer never overflows, and whatever is lost was lost on the way. System calls go straight to
 * the C library, for Node's own take too long per datagram; both loops block their process until they are done.
 */

import { createCipheriv, createHash } from 'node:crypto';
import koffi from 'koffi';
import { datagramHandle } from './datagram-handle.mjs';

const HEADER_BYTES = 12;
const POOL_BYTES = 1 << 18;
const LONGEST_BYTES = 1500;
/** Of one send: 60,000 bytes or 44 segments, the most that reaches a TUN of warren as one packet. */
const SUPERPACKET_BYTES = 60_000;
const SUPERPACKET_SEGMENTS = 44;

const BATCH = 64;
/** The receiver answers at least after so many datagrams of a flow. */
const ACKNOWLEDGE_EVERY = 64;
const FIRST_WAIT_MS = 15_000;
const RECEIVE_BUFFER_BYTES = 32 << 20;

/** asm-generic/socket.h, linux/udp.h, asm-generic/poll.h, asm-generic/errno-base.h */
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const MSG_DONTWAIT = 0x40;
const POLLIN = 1;
const POLLOUT = 4;
const EAGAIN = 11;

/** struct mmsghdr, struct iovec, struct sockaddr_in6. */
const MMSGHDR_BYTES = 64;
const MESSAGE_LENGTH = 56;
const IOVEC_BYTES = 16;
const SOCKADDR_BYTES = 28;

const library = koffi.load(null);
const send = library.func('long send(int, void *, size_t, int)');
const recv = library.func('long recv(int, void *, size_t, int)');
const sendto = library.func('long sendto(int, void *, size_t, int, void *, unsigned int)');
const recvmmsg = library.func('int recvmmsg(int, void *, unsigned int, int, void *)');
const poll = library.func('int poll(void *, unsigned long, int)');
const setsockopt = library.func('int setsockopt(int, int, int, void *, unsigned int)');

/** Random bytes that depend on `seed` alone; a datagram's content is a slice of them. */
function poolOf(seed) {
  const key = createHash('sha256').update(seed).digest();
  const cipher = createCipheriv('aes-128-ctr', key.subarray(0, 16), key.subarray(16));
  return cipher.update(Buffer.alloc(POOL_BYTES));
}

function contentAt(flow, number) {
  return (flow * 7919 + number * 31) % (POOL_BYTES - LONGEST_BYTES);
}

/**
 * Sends `datagrams` datagrams in each of the flows of `sockets` (dgram sockets, connected), turn by turn. Sizes
 * change from send to send through `sizes`; `segments` datagrams go out as one superpacket (UDP_SEGMENT), or each by
 * itself if that is 1. Where no acknowledgment comes for `patienceMs`, what is on the way is taken for lost. Answers
 * how often that was.
 */
export function streamDatagrams(sockets, options) {
  const { sizes, datagrams, segments, window, patienceMs, seed } = options;
  const pool = poolOf(seed);
  const buffer = Buffer.alloc(SUPERPACKET_BYTES + LONGEST_BYTES);
  const flows = sockets.map((socket, flow) => ({
    flow,
    fd: datagramHandle(socket).fd,
    next: 0,
    acknowledged: 0,
    segmentBytes: 0,
  }));
  let lostPatience = 0;
  for (let turn = 0; flows.some(({ next }) => next < datagrams); turn++) {
    for (const one of flows) {
      if (one.next === datagrams) continue;
      const bytes = sizes[turn % sizes.length];
      const most = Math.min(segments, SUPERPACKET_SEGMENTS, Math.floor(SUPERPACKET_BYTES / bytes));
      const count = Math.min(most, datagrams - one.next);
      while (one.next + count - one.acknowledged > window) {
        if (readAcknowledgments(one) || (isReady(one.fd, POLLIN, patienceMs) && readAcknowledgments(one)))
          continue;
        lostPatience++;
        one.acknowledged = one.next;
      }
      if (segments > 1 && one.segmentBytes !== bytes) setSegmentBytes(one, bytes);
      for (let i = 0; i < count; i++) writeDatagram(buffer, i * bytes, pool, one.flow, one.next + i, bytes);
      sendWhole(one.fd, buffer, count * bytes);
      one.next += count;
    }
  }
  return { lostPatience };
}

/** Sends `datagrams` datagrams of one flow, numbered from `first` on, of 12 to 211 bytes; waits for no acknowledgment. */
export function floodDatagrams(socket, { first, datagrams, seed }) {
  const pool = poolOf(seed);
  const { fd } = datagramHandle(socket);
  const buffer = Buffer.alloc(LONGEST_BYTES);
  for (let number = first; number < first + datagrams; number++) {
    const bytes = HEADER_BYTES + (number % 200);
    writeDatagram(buffer, 0, pool, 0, number, bytes);
    sendWhole(fd, buffer, bytes);
  }
}

function setSegmentBytes(one, bytes) {
  const size = Buffer.alloc(4);
  size.writeInt32LE(bytes);
  if (setsockopt(one.fd, SOL_UDP, UDP_SEGMENT, size, 4) !== 0) throw new Error('no UDP_SEGMENT');
  one.segmentBytes = bytes;
}

function writeDatagram(buffer, at, pool, flow, number, bytes) {
  buffer.writeUInt32BE(flow, at);
  buffer.writeUInt32BE(number, at + 4);
  buffer.writeUInt32BE(bytes, at + 8);
  const content = contentAt(flow, number);
  pool.copy(buffer, at + HEADER_BYTES, content, content + bytes - HEADER_BYTES);
}

function sendWhole(fd, buffer, bytes) {
  while (send(fd, buffer, bytes, MSG_DONTWAIT) < 0) {
    if (koffi.errno() !== EAGAIN) throw new Error(`send: errno ${koffi.errno()}`);
    isReady(fd, POLLOUT, 1000);
  }
}

/** Takes the acknowledgments that are there; whether there was news. */
function readAcknowledgments(one) {
  const message = Buffer.alloc(4);
  const before = one.acknowledged;
  while (recv(one.fd, message, 4, MSG_DONTWAIT) === 4) {
    one.acknowledged = Math.max(one.acknowledged, message.readUInt32BE());
  }
  return one.acknowledged > before;
}

function isReady(fd, events, timeoutMs) {
  const polled = Buffer.alloc(8);
  polled.writeInt32LE(fd);
  polled.writeInt16LE(events, 4);
  return poll(polled, 1, timeoutMs) > 0;
}

/** Makes room for all that senders may have on the way to `socket`. */
export function growReceiveBuffer(socket) {
  const value = Buffer.alloc(4);
  value.writeInt32LE(RECEIVE_BUFFER_BYTES);
  if (setsockopt(datagramHandle(socket).fd, SOL_SOCKET, SO_RCVBUFFORCE, value, 4) !== 0)
    throw new Error('no SO_RCVBUFFORCE');
}

/**
 * Takes the flows 0 to `flows` - 1 from `socket` until each has had its last datagram, or nothing came for `idleMs`.
 * Answers of each how many datagrams and bytes came, and of those how many were not as they were sent, came after
 * a later one, or came twice. `isSilent`: it acknowledges nothing.
 */
export function collectDatagrams(socket, { flows, datagrams, idleMs, seed, isSilent = false }) {
  const pool = poolOf(seed);
  const fd = datagramHandle(socket).fd;
  const vector = new ReceiveVector();
  const reports = Array.from({ length: flows }, () => ({
    received: 0,
    bytes: 0,
    wrong: 0,
    disordered: 0,
    repeated: 0,
  }));
  const states = Array.from({ length: flows }, () => ({
    next: 0,
    acknowledged: 0,
    sender: undefined,
    seen: new Uint8Array(datagrams),
  }));
  let stray = 0;
  const acknowledge = (state) => {
    if (isSilent) return;
    const message = Buffer.alloc(4);
    message.writeUInt32BE(state.next);
    sendto(fd, message, 4, MSG_DONTWAIT, state.sender, state.sender.length);
    state.acknowledged = state.next;
  };
  let waitMs = FIRST_WAIT_MS;
  while (states.some(({ next }) => next < datagrams)) {
    const count = recvmmsg(fd, vector.headers, BATCH, MSG_DONTWAIT, null);
    if (count < 0) {
      if (koffi.errno() !== EAGAIN) throw new Error(`recvmmsg: errno ${koffi.errno()}`);
      for (const state of states) if (state.acknowledged < state.next) acknowledge(state);
      if (!isReady(fd, POLLIN, waitMs)) break;
      continue;
    }
    waitMs = idleMs;
    for (let i = 0; i < count; i++) {
      const datagram = vector.datagram(i);
      const flow = datagram.length >= HEADER_BYTES ? datagram.readUInt32BE(0) : flows;
      const number = flow < flows ? datagram.readUInt32BE(4) : datagrams;
      if (number >= datagrams) {
        stray++;
        continue;
      }
      const report = reports[flow];
      const state = states[flow];
      report.received++;
      report.bytes += datagram.length;
      if (!isAsSent(datagram, pool, flow, number)) report.wrong++;
      if (state.seen[number] === 1) report.repeated++;
      else if (number < state.next) report.disordered++;
      state.seen[number] = 1;
      state.next = Math.max(state.next, number + 1);
      state.sender ??= vector.sender(i);
      if (state.next - state.acknowledged >= ACKNOWLEDGE_EVERY) acknowledge(state);
    }
  }
  for (const state of states) if (state.sender !== undefined) acknowledge(state);
  return { flows: reports, stray };
}

function isAsSent(datagram, pool, flow, number) {
  if (datagram.readUInt32BE(8) !== datagram.length) return false;
  const content = contentAt(flow, number);
  const end = content + datagram.length - HEADER_BYTES;
  return datagram.compare(pool, content, end, HEADER_BYTES) === 0;
}

/** What recvmmsg(2) fills: BATCH messages with room for a datagram and its sender each. */
class ReceiveVector {
  headers = Buffer.alloc(BATCH * MMSGHDR_BYTES);
  #iovecs = Buffer.alloc(BATCH * IOVEC_BYTES);
  #senders = Buffer.alloc(BATCH * SOCKADDR_BYTES);
  #data = Buffer.alloc(BATCH * LONGEST_BYTES);

  constructor() {
    for (let i = 0; i < BATCH; i++) {
      const header = i * MMSGHDR_BYTES;
      const iovec = i * IOVEC_BYTES;
      this.#iovecs.writeBigUInt64LE(koffi.address(this.#data) + BigInt(i * LONGEST_BYTES), iovec);
      this.#iovecs.writeBigUInt64LE(BigInt(LONGEST_BYTES), iovec + 8);
      this.headers.writeBigUInt64LE(koffi.address(this.#senders) + BigInt(i * SOCKADDR_BYTES), header);
      this.headers.writeUInt32LE(SOCKADDR_BYTES, header + 8);
      this.headers.writeBigUInt64LE(koffi.address(this.#iovecs) + BigInt(iovec), header + 16);
      this.headers.writeBigUInt64LE(1n, header + 24);
    }
  }

  /** Valid until the next call. */
  datagram(i) {
    const bytes = this.headers.readUInt32LE(i * MMSGHDR_BYTES + MESSAGE_LENGTH);
    return this.#data.subarray(i * LONGEST_BYTES, i * LONGEST_BYTES + bytes);
  }

  /** A copy of the sender's address. All senders are of one family, so the length stays as the kernel wrote it. */
  sender(i) {
    const bytes = this.headers.readUInt32LE(i * MMSGHDR_BYTES + 8);
    return Buffer.from(this.#senders.subarray(i * SOCKADDR_BYTES, i * SOCKADDR_BYTES + bytes));
  }
}
