/**
 * What a packet path thread tells the thread that makes sessions. Each is one message of a socket pair, which bounds what is
 * under way; numbers are native:
 *
 *     0 kind   4 two numbers, 4 bytes each   12 port, 4 bytes   16 address, 16 bytes   32 what is to be sent or was received
 *
 *   waiting     a packet to a VTEP (its number and serial) that there is no session with
 *   confirmed   something opened with a session that nothing had opened with before
 *   roamed      something opened with a session, and came from another address than the peer was at
 *   handshake   a datagram of types 1 to 3 that came to a packet path thread
 */
import { Arena } from '../../sys/arena.ts';

export const NOTICE = { waiting: 1, confirmed: 2, roamed: 3, handshake: 4 } as const;

export const NOTICE_HEADER_BYTES = 32;
/** The longest packet or datagram behind a header. */
export const MAX_NOTICE_BYTES = NOTICE_HEADER_BYTES + 65_536;

export type Notice =
  | { readonly kind: 'waiting'; readonly vtep: number; readonly serial: number; readonly packet: Buffer }
  | { readonly kind: 'confirmed'; readonly localIndex: number }
  | { readonly kind: 'roamed'; readonly localIndex: number; readonly from: Uint8Array }
  | { readonly kind: 'handshake'; readonly datagram: Buffer; readonly from: Uint8Array };

/** Takes `bytes` bytes of `memory` to the other thread; false: there is no room, and they are lost. */
export type SendNotice = (memory: Arena, bytes: number) => boolean;

/** Lays a notice out and sends it. `address` is 4 or 16 bytes in network order. */
export class NoticeWriter {
  readonly #memory = new Arena(MAX_NOTICE_BYTES);
  readonly #send: SendNotice;

  constructor(send: SendNotice) {
    this.#send = send;
  }

  /** `bytes` bytes at `at` of `source` are the packet. */
  waiting(vtep: number, serial: number, source: Arena, at: number, bytes: number): boolean {
    this.#header(NOTICE.waiting, vtep, serial);
    return this.#withBody(source, at, bytes);
  }

  confirmed(localIndex: number): boolean {
    this.#header(NOTICE.confirmed, localIndex, 0);
    return this.#send(this.#memory, NOTICE_HEADER_BYTES);
  }

  roamed(localIndex: number, from: Uint8Array): boolean {
    this.#header(NOTICE.roamed, localIndex, from.length);
    this.#memory.bytes.set(from, 12);
    return this.#send(this.#memory, NOTICE_HEADER_BYTES);
  }

  handshake(from: Uint8Array, source: Arena, at: number, bytes: number): boolean {
    this.#header(NOTICE.handshake, 0, from.length);
    this.#memory.bytes.set(from, 12);
    return this.#withBody(source, at, bytes);
  }

  #header(kind: number, first: number, second: number): void {
    const { view } = this.#memory;
    view.setUint32(0, kind, true);
    view.setUint32(4, first, true);
    view.setInt32(8, second, true);
  }

  #withBody(source: Arena, at: number, bytes: number): boolean {
    this.#memory.bytes.set(source.bytes.subarray(at, at + bytes), NOTICE_HEADER_BYTES);
    return this.#send(this.#memory, NOTICE_HEADER_BYTES + bytes);
  }
}

/** `message` may be read into again afterwards: what is kept of it is copied. */
export function readNotice(message: Buffer): Notice | undefined {
  const first = message.readUInt32LE(4);
  const second = message.readInt32LE(8);
  const body = () => Buffer.from(message.subarray(NOTICE_HEADER_BYTES));
  const from = () => new Uint8Array(message.subarray(12, 12 + second));
  switch (message.readUInt32LE(0)) {
    case NOTICE.waiting:
      return { kind: 'waiting', vtep: first, serial: second, packet: body() };
    case NOTICE.confirmed:
      return { kind: 'confirmed', localIndex: first };
    case NOTICE.roamed:
      return { kind: 'roamed', localIndex: first, from: from() };
    case NOTICE.handshake:
      return { kind: 'handshake', datagram: body(), from: from() };
    default:
      return undefined;
  }
}
