/** What makes sessions for packet paths in memory: KeyExchange as it is, in the test's own thread and time. */
import type { Clock } from '../../src/clock.ts';
import {
  type KeyExchangeThreadOptions,
  endpointOf as movedEndpoint,
  type RunningKeyExchange,
} from '../../src/dataplane/key-exchange-thread.ts';
import { chooseAead } from '../../src/encapsulation/wireguard/choose-aead.ts';
import {
  KeyExchange,
  type KeyedPeer,
  type PairKeys,
} from '../../src/encapsulation/wireguard/key-exchange.ts';
import { readNotice, type SendNotice } from '../../src/encapsulation/wireguard/notices.ts';
import { SharedSessions } from '../../src/encapsulation/wireguard/shared-sessions.ts';
import { Timestamps } from '../../src/encapsulation/wireguard/tai64n.ts';
import { addressFromBytes } from '../../src/ip/address.ts';
import type { Endpoint } from '../../src/ip/endpoint.ts';
import type { MemorySocket } from './memory-sockets.ts';

/** By the number that stands for a descriptor; each stops with its agent. */
const running = new Map<number, MemoryKeyExchange>();
let nextNoticesFd = 1_000_000;

/** For a packet path that was given `noticesFd`. */
export function sendNoticeTo(noticesFd: number): SendNotice {
  return (memory, bytes) => running.get(noticesFd)?.take(Buffer.from(memory.bytes.slice(0, bytes))) ?? false;
}

export class MemoryKeyExchange implements RunningKeyExchange {
  readonly cipher = { name: 'in memory', fallback: undefined };
  readonly #shared = new SharedSessions();
  readonly #noticesFd = nextNoticesFd++;
  readonly #clock: Clock;
  readonly #socketOf: (fd: number) => MemorySocket;
  readonly exchange: KeyExchange;
  #socket: MemorySocket | undefined;

  /** `ceilings`: the file of the highest timestamp, as its disk has it. */
  constructor(
    { own, ceilingFile, workers, counters, onFailed, onPairKeyWanted }: KeyExchangeThreadOptions,
    clock: Clock,
    ceilings: Map<string, number>,
    socketOf: (fd: number) => MemorySocket,
  ) {
    this.#clock = clock;
    this.#socketOf = socketOf;
    running.set(this.#noticesFd, this);
    this.exchange = new KeyExchange({
      own,
      clock,
      timestamps: new Timestamps(() => clock.wallTime(), {
        load: () => ceilings.get(ceilingFile),
        save: (us) => void ceilings.set(ceilingFile, us),
      }),
      engine: chooseAead().engine,
      shared: this.#shared,
      workers,
      counters,
      send: (datagram, to) => this.#socket?.sendTo(endpointOf(to), datagram),
      failed: (error) => onFailed(String(error)),
      pairKeyWanted: onPairKeyWanted,
    });
  }

  get sessions() {
    return { shared: this.#shared.shared, noticesFd: this.#noticesFd };
  }

  take(message: Buffer): boolean {
    const notice = readNotice(message);
    // Not within the packet path, which is in the middle of something.
    if (notice) this.#clock.after(0, () => this.exchange.take(notice));
    return true;
  }

  async update(peers: readonly KeyedPeer[], mtu: number): Promise<void> {
    this.exchange.update(peers, mtu);
  }

  setPairKeys(vtep: number, keys: PairKeys | undefined): void {
    this.exchange.setPairKeys(vtep, keys);
  }

  async useSocket(fd: number): Promise<void> {
    if (this.#socket) this.#socket.onReadable = () => {};
    const socket = this.#socketOf(fd);
    this.#socket = socket;
    socket.onReadable = () => {
      for (let next = socket.take(); next; next = socket.take())
        this.exchange.receive(Buffer.from(next.bytes), bytesOf(next.from));
    };
  }

  sessionAgeMs(vtep: number): number | undefined {
    if (this.#shared.sendingTo(vtep) === 0) return undefined;
    return this.#clock.now() - this.#shared.agreedAtMs(vtep);
  }

  handshakeAgeMs(vtep: number): number | undefined {
    const agreedAtMs = this.#shared.agreedAtMs(vtep);
    return agreedAtMs === 0 ? undefined : this.#clock.now() - agreedAtMs;
  }

  movedTo(vtep: number, family: 4 | 6): Endpoint | undefined {
    return movedEndpoint(this.#shared.movedTo(vtep, family));
  }

  async stop(): Promise<void> {
    running.delete(this.#noticesFd);
    this.exchange.close();
  }
}

function endpointOf(bytes: Uint8Array): Endpoint {
  const buffer = Buffer.from(bytes);
  const address = addressFromBytes(buffer.subarray(0, -2));
  return { address, port: buffer.readUInt16BE(buffer.length - 2) };
}

function bytesOf({ address, port }: Endpoint): Uint8Array {
  const { family, value } = address;
  const length = family === 4 ? 4 : 16;
  const hex = value.toString(16).padStart(2 * length, '0');
  const bytes = Buffer.concat([Buffer.from(hex, 'hex'), Buffer.alloc(2)]);
  bytes.writeUInt16BE(port, length);
  return new Uint8Array(bytes);
}
