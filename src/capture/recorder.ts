/**
 * What a node captures, as pcapng blocks in the order of their times: packets from the TUN and the underlay as the kernel
 * shows them, and those that the packet path has dropped. It knows no sockets and no clock.
 */
import { DROPPED, type DroppedPacket } from '../datapath/drop-ring.ts';
import { DROP_NAMES } from '../datapath/drops.ts';
import type { CaptureFilter } from './filter.ts';
import { PacketFilter } from './filter.ts';
import { datagramsOf, innerAt, outerHeaderBytes, type UdpEnd, withOuterHeaders } from './outer.ts';
import { interfaceBlock, LINK_TYPE, packetBlock, statisticsBlock } from './pcapng.ts';

/** Interfaces of a node's capture, by number. */
const INNER = 0;
const OUTER = 1;
const DROPS = 2;
/** What waits for its time to come; more is lost, and counted. */
const MAX_HELD_BYTES = 2 * 1024 * 1024;

export interface RecorderOptions {
  readonly filter: CaptureFilter;
  /** Of each packet, at most. */
  readonly snapBytes: number;
  readonly tunName: string;
  readonly underlayName: string;
  /** This node's end of the tunnel. */
  readonly own: UdpEnd;
}

/** A packet as the kernel shows it. */
export interface SeenPacket {
  readonly atUs: number;
  readonly isOutbound: boolean;
  /** Borrowed: what is kept of it is copied. */
  readonly bytes: Uint8Array;
  /** Of `bytes`: where the IP header begins. */
  readonly ip: number;
  /** How long it was. */
  readonly length: number;
  /** Payload of each datagram of a group; 0: it is none. */
  readonly segmentBytes: number;
  /** Whether `bytes` begin with an Ethernet header. */
  readonly isEthernet: boolean;
}

interface Held {
  readonly atUs: number;
  readonly bytes: Uint8Array;
}

export class Recorder {
  readonly #options: RecorderOptions;
  readonly #filter: PacketFilter;
  /** Bounded by MAX_HELD_BYTES. */
  #held: Held[] = [];
  #heldBytes = 0;
  readonly #received = [0, 0, 0];
  readonly #lost = [0, 0, 0];

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#filter = new PacketFilter(options.filter);
  }

  /** What comes before any packet. */
  head(outerLinkType: number = LINK_TYPE.ethernet): Uint8Array {
    const { tunName, underlayName } = this.#options;
    return Buffer.concat([
      interfaceBlock({
        name: tunName,
        linkType: LINK_TYPE.raw,
        description: 'inner: what pods send and get',
      }),
      interfaceBlock({
        name: underlayName,
        linkType: outerLinkType,
        description: 'outer: datagrams of the tunnel',
      }),
      interfaceBlock({
        name: `${tunName}-dropped`,
        linkType: LINK_TYPE.raw,
        description: 'what the packet path has dropped, with the reason as comment',
      }),
    ]);
  }

  inner(seen: SeenPacket): void {
    this.#received[INNER]!++;
    const { bytes, ip, length } = seen;
    if (!this.#filter.takesInner(viewOf(bytes), ip, bytes.length - ip)) return;
    this.#hold(INNER, seen, bytes.subarray(ip), length - ip);
  }

  outer(seen: SeenPacket): void {
    const { ip, segmentBytes } = seen;
    for (const bytes of datagramsOf(seen.bytes, ip, segmentBytes)) {
      this.#received[OUTER]!++;
      const view = viewOf(bytes);
      const headerBytes = outerHeaderBytes(view, ip, bytes.length - ip);
      if (headerBytes === 0) continue;
      const payload = ip + headerBytes;
      const inner = innerAt(view, payload, bytes.length - payload);
      if (!this.#filter.takesOuter(view, ip, bytes.length - ip, inner)) continue;
      const from = seen.isEthernet ? 0 : ip;
      const length = bytes === seen.bytes ? seen.length : bytes.length;
      this.#hold(OUTER, seen, bytes.subarray(from), length - from);
    }
  }

  /** `atUs`: since the epoch. */
  dropped(packet: DroppedPacket, atUs: number): void {
    this.#received[DROPS]!++;
    const name = DROP_NAMES[packet.reason] ?? `reason ${packet.reason}`;
    if (!this.#filter.takesReason(name)) return;
    const shown = this.#shownDrop(packet);
    if (shown === undefined) return;
    const isOutbound = packet.kind === DROPPED.outbound;
    this.#hold(DROPS, { atUs, isOutbound }, shown.bytes, shown.length, `dropped: ${name}`);
  }

  /** Blocks of what happened up to `untilUs`, one behind the other, in memory of their own. */
  take(untilUs: number): Uint8Array {
    if (this.#held.length === 0) return new Uint8Array();
    this.#held.sort((a, b) => a.atUs - b.atUs);
    let count = 0;
    while (count < this.#held.length && this.#held[count]!.atUs <= untilUs) count++;
    const taken = this.#held.slice(0, count).map(({ bytes }) => bytes);
    this.#held = this.#held.slice(count);
    const all = new Uint8Array(taken.reduce((sum, bytes) => sum + bytes.length, 0));
    let at = 0;
    for (const bytes of taken) {
      all.set(bytes, at);
      at += bytes.length;
    }
    this.#heldBytes -= at;
    return all;
  }

  /** At the end. `kernelLost`, `ringLost`: packets that were not seen at all. */
  tail(
    atUs: number,
    lost: { readonly inner: number; readonly outer: number; readonly dropped: number },
  ): Uint8Array {
    const missed = [lost.inner, lost.outer, lost.dropped];
    return Buffer.concat(
      missed.map((count, i) =>
        statisticsBlock(i, atUs, {
          received: this.#received[i]! + count,
          dropped: this.#lost[i]! + count,
        }),
      ),
    );
  }

  #shownDrop({
    kind,
    bytes,
    length,
    from,
  }: DroppedPacket): { bytes: Uint8Array; length: number } | undefined {
    const view = viewOf(bytes);
    if (kind !== DROPPED.datagram || from === undefined) {
      return this.#filter.takesInner(view, 0, bytes.length) ? { bytes, length } : undefined;
    }
    const whole = withOuterHeaders(from, this.#options.own, bytes, length);
    const wholeView = viewOf(whole);
    const headerBytes = whole.length - bytes.length;
    const inner = innerAt(wholeView, headerBytes, bytes.length);
    if (!this.#filter.takesOuter(wholeView, 0, whole.length, inner)) return undefined;
    return { bytes: whole, length: headerBytes + length };
  }

  #hold(
    interfaceId: number,
    { atUs, isOutbound }: Pick<SeenPacket, 'atUs' | 'isOutbound'>,
    bytes: Uint8Array,
    length: number,
    comment?: string,
  ): void {
    if (this.#heldBytes > MAX_HELD_BYTES) {
      this.#lost[interfaceId]!++;
      return;
    }
    const block = packetBlock({
      ...{ interfaceId, atUs, length, comment },
      bytes: bytes.subarray(0, this.#options.snapBytes),
      direction: isOutbound ? 'outbound' : 'inbound',
    });
    this.#held.push({ atUs, bytes: block });
    this.#heldBytes += block.length;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
