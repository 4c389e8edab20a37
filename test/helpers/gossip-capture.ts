/**
 * What warren agents said to one another, out of a capture of their gossip port: datagrams as they are, TCP streams
 * put together again. A capture with a hole in it is an error.
 */
import { FrameReader } from '../../src/link/frame-stream.ts';
import { readIp, readPcap } from './pcap.ts';

/** Frames of proto/wire.md, nothing opened yet. */
export interface GossipCapture {
  readonly datagrams: readonly Uint8Array[];
  readonly streams: readonly GossipStream[];
}

/** One TCP connection: what the side that opened it sent, and what the other answered. */
export interface GossipStream {
  readonly requests: readonly Uint8Array[];
  readonly responses: readonly Uint8Array[];
}

const PROTOCOL_TCP = 6;
const PROTOCOL_UDP = 17;
const TCP_SYN = 0x02;
const TCP_ACK = 0x10;
const UDP_HEADER_BYTES = 8;

export function readGossipCapture(pcap: Buffer): GossipCapture {
  const datagrams: Uint8Array[] = [];
  const connections: { there: OneWay; back: OneWay }[] = [];
  /** By the ends of the connection, sender first; the latest one between them. */
  const open = new Map<string, OneWay>();
  for (const frame of readPcap(pcap)) {
    const ip = readIp(frame.subarray(14));
    if (ip.protocol === PROTOCOL_UDP) {
      if (ip.payload.readUInt16BE(4) !== ip.payload.length)
        throw new Error('not as long as its UDP header says');
      datagrams.push(ip.payload.subarray(UDP_HEADER_BYTES));
      continue;
    }
    if (ip.protocol !== PROTOCOL_TCP) throw new Error(`IP protocol ${ip.protocol}`);
    const [from, to] = [ip.payload.readUInt16BE(0), ip.payload.readUInt16BE(2)];
    const way = `${ip.source} ${from} ${ip.destination} ${to}`;
    const flags = ip.payload[13]!;
    const sequence = ip.payload.readUInt32BE(4);
    if ((flags & (TCP_SYN | TCP_ACK)) === TCP_SYN) {
      const [there, back] = [new OneWay(), new OneWay()];
      connections.push({ there, back });
      open.set(way, there);
      open.set(`${ip.destination} ${to} ${ip.source} ${from}`, back);
    }
    const oneWay = open.get(way);
    if (oneWay === undefined) throw new Error('a connection whose begin was not captured');
    if ((flags & TCP_SYN) !== 0) oneWay.begin(sequence);
    else oneWay.add(sequence, ip.payload.subarray((ip.payload[12]! >> 4) * 4));
  }
  const streams = connections.map(({ there, back }) => ({
    requests: there.frames(),
    responses: back.frames(),
  }));
  // Nobody listened, or a node ended in the middle.
  return { datagrams, streams: streams.filter(({ responses }) => responses.length > 0) };
}

/** The bytes of one direction of a connection. Bounded by the capture. */
class OneWay {
  #first: number | undefined;
  readonly #segments: { readonly at: number; readonly bytes: Buffer }[] = [];

  /** `sequence`: of the SYN. */
  begin(sequence: number): void {
    this.#first = (sequence + 1) >>> 0;
  }

  add(sequence: number, bytes: Buffer): void {
    if (bytes.length === 0) return;
    if (this.#first === undefined) throw new Error('data before its SYN');
    this.#segments.push({ at: (sequence - this.#first) >>> 0, bytes });
  }

  frames(): Uint8Array[] {
    const frames: Uint8Array[] = [];
    const reader = new FrameReader();
    let end = 0;
    for (const { at, bytes } of this.#segments.sort((a, b) => a.at - b.at)) {
      if (at > end) throw new Error('a segment of a connection was not captured');
      const fresh = bytes.subarray(Math.min(bytes.length, end - at));
      end += fresh.length;
      reader.read(fresh, (frame) => frames.push(Buffer.from(frame)) > 0);
    }
    return frames;
  }
}
