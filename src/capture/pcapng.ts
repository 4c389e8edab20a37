/**
 * Blocks of pcapng (draft-ietf-opsawg-pcapng), which Wireshark, tshark and tcpdump read. Each is
 *
 *     0                   1                   2                   3
 *     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *    +---------------------------------------------------------------+
 *    |                          Block Type                           |
 *    |                      Block Total Length                       |
 *    |                       Block Body, padded                      |
 *    |                      Block Total Length                       |
 *    +---------------------------------------------------------------+
 *
 * in little-endian order here. Times are whole microseconds since the epoch, which fit a number.
 */
import { WarrenError } from '../errors.ts';

export const BLOCK = { section: 0x0a0d0d0a, interface: 1, statistics: 5, packet: 6 } as const;
/** https://www.tcpdump.org/linktypes.html */
export const LINK_TYPE = { ethernet: 1, raw: 101 } as const;

const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
/** Block type and the two lengths. */
const FRAME_BYTES = 12;
/** Where the body begins. */
const BODY = 8;
/** The least that a block of each kind is. */
const PACKET_FIXED_BYTES = 20;
/** What a reader takes; a packet of 64 KB with its options is less. */
export const MAX_BLOCK_BYTES = 256 * 1024;

const OPTION = {
  comment: 1,
  name: 2,
  description: 3,
  flags: 2,
  application: 4,
  received: 4,
  dropped: 5,
} as const;
const WORD_SPAN = 0x1_0000_0000;

type Option = readonly [code: number, value: Uint8Array];

export interface CapturedPacket {
  readonly interfaceId: number;
  readonly atUs: number;
  /** As much of it as is kept, the link's header first. */
  readonly bytes: Uint8Array;
  /** How long it was. */
  readonly length: number;
  /** Absent: not known. */
  readonly direction?: 'inbound' | 'outbound' | undefined;
  readonly comment?: string | undefined;
}

export interface CaptureInterface {
  readonly name: string;
  readonly linkType: number;
  readonly description?: string | undefined;
}

/** The head of a file. */
export function sectionBlock(application: string, comments: readonly string[] = []): Uint8Array {
  const write = (view: DataView) => {
    view.setUint32(BODY, BYTE_ORDER_MAGIC, true);
    view.setUint16(BODY + 4, 1, true);
    // Its length is not known beforehand.
    view.setUint32(BODY + 8, 0xffff_ffff, true);
    view.setUint32(BODY + 12, 0xffff_ffff, true);
  };
  return block(BLOCK.section, 16, write, [
    ...comments.map((comment): Option => [OPTION.comment, text(comment)]),
    [OPTION.application, text(application)],
  ]);
}

export function interfaceBlock({ name, linkType, description }: CaptureInterface): Uint8Array {
  return block(BLOCK.interface, 8, (view) => view.setUint16(BODY, linkType, true), [
    [OPTION.name, text(name)],
    ...(description === undefined ? [] : [[OPTION.description, text(description)] as const]),
  ]);
}

export function packetBlock(packet: CapturedPacket): Uint8Array {
  const { interfaceId, atUs, bytes, length, direction, comment } = packet;
  const write = (view: DataView, into: Uint8Array) => {
    view.setUint32(BODY, interfaceId, true);
    setTime(view, BODY + 4, atUs);
    view.setUint32(BODY + 12, bytes.length, true);
    view.setUint32(BODY + 16, length, true);
    into.set(bytes, BODY + PACKET_FIXED_BYTES);
  };
  const options: Option[] = [];
  if (direction !== undefined) {
    options.push([OPTION.flags, new Uint8Array([direction === 'inbound' ? 1 : 2, 0, 0, 0])]);
  }
  if (comment !== undefined) options.push([OPTION.comment, text(comment)]);
  return block(BLOCK.packet, PACKET_FIXED_BYTES + padded(bytes.length), write, options);
}

/** What became of an interface's packets in all. */
export function statisticsBlock(
  interfaceId: number,
  atUs: number,
  counts: { readonly received: number; readonly dropped: number },
): Uint8Array {
  const write = (view: DataView) => {
    view.setUint32(BODY, interfaceId, true);
    setTime(view, BODY + 4, atUs);
  };
  return block(BLOCK.statistics, 12, write, [
    [OPTION.received, uint64(counts.received)],
    [OPTION.dropped, uint64(counts.dropped)],
  ]);
}

export interface Block {
  readonly type: number;
  /** The whole of it. */
  readonly bytes: Uint8Array;
}

/** Blocks one behind the other, another node's perhaps. Throws CAPTURE_MALFORMED. */
export function* blocksOf(bytes: Uint8Array): Generator<Block> {
  const view = viewOf(bytes);
  let at = 0;
  while (at < bytes.length) {
    if (at + FRAME_BYTES > bytes.length) throw malformed('it ends within a block');
    const length = view.getUint32(at + 4, true);
    if (length < FRAME_BYTES || length % 4 !== 0 || length > MAX_BLOCK_BYTES || at + length > bytes.length) {
      throw malformed(`a block of ${length} bytes`);
    }
    if (view.getUint32(at + length - 4, true) !== length) throw malformed('a block has two lengths');
    yield { type: view.getUint32(at, true), bytes: bytes.subarray(at, at + length) };
    at += length;
  }
}

/** Of a file that comes piece by piece: only whole blocks, so that it can be cut off at any time and stays a file. */
export class WholeBlocks {
  #rest = Buffer.alloc(0);

  /** What is whole by now. */
  push(piece: Uint8Array): Uint8Array {
    const bytes = Buffer.concat([this.#rest, piece]);
    let at = 0;
    while (at + FRAME_BYTES <= bytes.length) {
      const length = bytes.readUInt32LE(at + 4);
      if (length < FRAME_BYTES || length > MAX_BLOCK_BYTES) throw malformed(`a block of ${length} bytes`);
      if (at + length > bytes.length) break;
      at += length;
    }
    this.#rest = bytes.subarray(at);
    return bytes.subarray(0, at);
  }
}

/** Interface and time of a packet's block, or of a statistics block. Throws CAPTURE_MALFORMED. */
export function placeOf({ type, bytes }: Block): { readonly interfaceId: number; readonly atUs: number } {
  const least = FRAME_BYTES + (type === BLOCK.packet ? PACKET_FIXED_BYTES : 12);
  if (bytes.length < least) throw malformed('a block is cut short');
  const view = viewOf(bytes);
  if (type === BLOCK.packet && least + padded(view.getUint32(20, true)) > bytes.length) {
    throw malformed('a packet is longer than its block');
  }
  return {
    interfaceId: view.getUint32(8, true),
    atUs: view.getUint32(12, true) * WORD_SPAN + view.getUint32(16, true),
  };
}

/** The same block for another interface. */
export function movedTo({ bytes }: Block, interfaceId: number): Uint8Array {
  const moved = bytes.slice();
  viewOf(moved).setUint32(8, interfaceId, true);
  return moved;
}

/** What an interface's block says. Throws CAPTURE_MALFORMED. */
export function interfaceOf({ bytes }: Block): CaptureInterface {
  if (bytes.length < FRAME_BYTES + 8) throw malformed('an interface is cut short');
  const view = viewOf(bytes);
  const texts = new Map<number, string>();
  const end = bytes.length - 4;
  for (let at = 16; at + 4 <= end; ) {
    const code = view.getUint16(at, true);
    const length = view.getUint16(at + 2, true);
    if (code === 0) break;
    if (at + 4 + length > end) throw malformed('an option is longer than its block');
    texts.set(code, Buffer.from(bytes.subarray(at + 4, at + 4 + length)).toString('utf8'));
    at += 4 + padded(length);
  }
  return {
    name: texts.get(OPTION.name) ?? '',
    linkType: view.getUint16(8, true),
    description: texts.get(OPTION.description),
  };
}

/** `bodyBytes`: of what `write` writes from offset 8 on, padded. */
function block(
  type: number,
  bodyBytes: number,
  write: (view: DataView, bytes: Uint8Array) => void,
  options: readonly Option[],
): Uint8Array {
  const optionBytes = options.reduce((sum, [, value]) => sum + 4 + padded(value.length), 0);
  const length = FRAME_BYTES + bodyBytes + (options.length > 0 ? optionBytes + 4 : 0);
  const bytes = new Uint8Array(length);
  const view = viewOf(bytes);
  view.setUint32(0, type, true);
  view.setUint32(4, length, true);
  write(view, bytes);
  let at = BODY + bodyBytes;
  for (const [code, value] of options) {
    view.setUint16(at, code, true);
    view.setUint16(at + 2, value.length, true);
    bytes.set(value, at + 4);
    at += 4 + padded(value.length);
  }
  view.setUint32(length - 4, length, true);
  return bytes;
}

function setTime(view: DataView, at: number, atUs: number): void {
  view.setUint32(at, Math.floor(atUs / WORD_SPAN), true);
  view.setUint32(at + 4, atUs % WORD_SPAN, true);
}

function uint64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value.slice(0, 1000));
}

function padded(bytes: number): number {
  return (bytes + 3) & ~3;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function malformed(what: string): WarrenError {
  return new WarrenError('CAPTURE_MALFORMED', `what was captured makes no sense: ${what}`);
}
