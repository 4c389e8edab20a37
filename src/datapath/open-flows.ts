/**
 * The flows that have a superpacket open, one slot each: what the superpacket holds so far, and what may come next.
 * Arrays by slot rather than objects, so that nothing is allocated once a worker runs.
 *
 *     slots   | 3 | 0 | 2 | 1 | 4 | ...      the first `open` are in use, oldest first but for holes that were
 *               open = 3 ---^                filled by the last one
 */

/** Flows that are open at once; one more closes them all. */
export const MAX_FLOWS = 16;
/** Segments of one superpacket: UDP_GRO_CNT_MAX for UDP, bounded by the iovecs for TCP. */
export const MAX_UDP_SEGMENTS = 64;
export const MAX_SEGMENTS = 128;

/** Identifications of consecutive packets: not known yet, all the same, or counting. */
export const ID_UNKNOWN = 0;
export const ID_FIXED = 1;
export const ID_COUNTING = 2;

export class OpenFlows {
  readonly slots = Int32Array.from({ length: MAX_FLOWS }, (_, slot) => slot);
  open = 0;

  // By slot. Offsets are those of the arena that packets lie in, but for `transport`: from the head.
  /** The first packet, whose headers become the superpacket's. */
  readonly head = new Int32Array(MAX_FLOWS);
  readonly isIpv4 = new Uint8Array(MAX_FLOWS);
  readonly isUdp = new Uint8Array(MAX_FLOWS);
  readonly transport = new Int32Array(MAX_FLOWS);
  readonly headerBytes = new Int32Array(MAX_FLOWS);
  /** Payload of the first segment, which no other exceeds; and of all together. */
  readonly segmentBytes = new Int32Array(MAX_FLOWS);
  readonly payloadBytes = new Int32Array(MAX_FLOWS);
  readonly segments = new Int32Array(MAX_FLOWS);
  readonly nextSequence = new Int32Array(MAX_FLOWS);
  readonly idMode = new Uint8Array(MAX_FLOWS);
  /** FIN and PSH of the last segment. */
  readonly flags = new Uint8Array(MAX_FLOWS);
  /** Whether the checksums came partial; whether the head's was found good, or need not be. */
  readonly partial = new Uint8Array(MAX_FLOWS);
  readonly verified = new Uint8Array(MAX_FLOWS);
  readonly vtep = new Int32Array(MAX_FLOWS);
  /** By `pieceAt`: offset and length of a segment's payload. */
  readonly pieceOffset = new Int32Array(MAX_FLOWS * MAX_SEGMENTS);
  readonly pieceBytes = new Int32Array(MAX_FLOWS * MAX_SEGMENTS);

  /** Opens a flow with the packet as its head, in the last position; there must be room. Returns its slot. */
  add(
    packet: number,
    bytes: number,
    isIpv4: boolean,
    isUdp: boolean,
    transport: number,
    headerBytes: number,
    partial: boolean,
    vtep: number,
  ): number {
    const flow = this.slots[this.open++]!;
    const payloadBytes = bytes - headerBytes;
    this.head[flow] = packet;
    this.isIpv4[flow] = isIpv4 ? 1 : 0;
    this.isUdp[flow] = isUdp ? 1 : 0;
    this.transport[flow] = transport;
    this.headerBytes[flow] = headerBytes;
    this.segmentBytes[flow] = payloadBytes;
    this.payloadBytes[flow] = 0;
    this.segments[flow] = 0;
    this.nextSequence[flow] = 0;
    this.idMode[flow] = ID_UNKNOWN;
    this.partial[flow] = partial ? 1 : 0;
    this.verified[flow] = partial ? 1 : 0;
    this.vtep[flow] = vtep;
    this.append(flow, packet + headerBytes, payloadBytes, 0);
    return flow;
  }

  /** Adds a segment's payload. */
  append(flow: number, offset: number, payloadBytes: number, flags: number): void {
    const segment = this.segments[flow]!;
    const piece = pieceAt(flow, segment);
    this.pieceOffset[piece] = offset;
    this.pieceBytes[piece] = payloadBytes;
    this.segments[flow] = segment + 1;
    this.payloadBytes[flow] = this.payloadBytes[flow]! + payloadBytes;
    this.nextSequence[flow] = this.nextSequence[flow]! + payloadBytes;
    this.flags[flow] = flags;
  }

  /** Frees the slot at a position; the last position's takes its place. */
  remove(position: number): void {
    const flow = this.slots[position]!;
    const last = --this.open;
    this.slots[position] = this.slots[last]!;
    this.slots[last] = flow;
  }
}

export function pieceAt(flow: number, segment: number): number {
  return flow * MAX_SEGMENTS + segment;
}
