/**
 * Copies of dropped packets on their way from a packet path thread to a capture: a ring in shared memory, one writer, one
 * reader, made only while a capture runs.
 *
 *     int32   0: slots written   1: slots read   2: packets that found no room
 *     then SLOTS slots, each
 *       0  uint16 reason    2  uint8 kind     3  uint8 family of the sender, 0 if it is not told
 *       4  int32 bytes      8  int32 bytes that are here
 *      16  float64 CLOCK_MONOTONIC, milliseconds
 *      24  uint16 the sender's port          28  its address, 4 or 16 bytes
 *      64  the packet, as much of it as there is room for
 */
import type { DropReason } from './drops.ts';

/** What lies in a slot. */
export const DROPPED = {
  /** An inner packet that was to leave. */
  outbound: 0,
  /** What a datagram held, as it came: the encapsulation's header first. */
  datagram: 1,
  /** An inner packet that had come. */
  inbound: 2,
} as const;
export type DroppedKind = (typeof DROPPED)[keyof typeof DROPPED];

export const DROPPED_BYTES = 1984;
const SLOTS = 128;
const SLOT = {
  ...{ bytes: 64 + DROPPED_BYTES, reason: 0, kind: 2, family: 3, length: 4, kept: 8, atMs: 16, port: 24 },
  ...{ address: 28, packet: 64 },
} as const;
const HEADER_BYTES = 64;
const WRITTEN = 0;
const READ = 1;
const LOST = 2;

/** A packet that was dropped. */
export interface DroppedPacket {
  readonly reason: DropReason;
  readonly kind: DroppedKind;
  /** Of `monotonicMs`. */
  readonly atMs: number;
  /** How long it was. */
  readonly length: number;
  readonly bytes: Uint8Array;
  /** Of `datagram`: who sent it. */
  readonly from: { readonly address: Uint8Array; readonly port: number } | undefined;
}

export class DropRing {
  readonly shared: SharedArrayBuffer;
  readonly #header: Int32Array;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;

  constructor(shared = new SharedArrayBuffer(HEADER_BYTES + SLOTS * SLOT.bytes)) {
    this.shared = shared;
    this.#header = new Int32Array(shared, 0, HEADER_BYTES / 4);
    this.#view = new DataView(shared);
    this.#bytes = new Uint8Array(shared);
  }

  /** Packets that found no room. */
  get lost(): number {
    return Atomics.load(this.#header, LOST);
  }

  /**
   * The writer's: copies `length` bytes at `at` of `memory`, or as many as there is room for. `sender`: where its socket
   * address lies, and the length of an address there; or none.
   */
  put(
    packet: Pick<DroppedPacket, 'reason' | 'kind' | 'atMs' | 'length'>,
    memory: Uint8Array,
    at: number,
    sender?: { readonly port: number; readonly addressAt: number; readonly family: 4 | 6 },
  ): void {
    const written = this.#header[WRITTEN]!;
    if (((written - Atomics.load(this.#header, READ)) | 0) >= SLOTS) {
      Atomics.add(this.#header, LOST, 1);
      return;
    }
    const slot = this.#slot(written);
    const kept = Math.max(0, Math.min(packet.length, DROPPED_BYTES, memory.length - at));
    this.#view.setUint16(slot + SLOT.reason, packet.reason, true);
    this.#view.setUint8(slot + SLOT.kind, packet.kind);
    this.#view.setUint8(slot + SLOT.family, sender?.family ?? 0);
    this.#view.setInt32(slot + SLOT.length, packet.length, true);
    this.#view.setInt32(slot + SLOT.kept, kept, true);
    this.#view.setFloat64(slot + SLOT.atMs, packet.atMs, true);
    if (sender) {
      this.#view.setUint16(slot + SLOT.port, sender.port, true);
      const { addressAt, family } = sender;
      this.#bytes.set(memory.subarray(addressAt, addressAt + (family === 4 ? 4 : 16)), slot + SLOT.address);
    }
    this.#bytes.set(memory.subarray(at, at + kept), slot + SLOT.packet);
    Atomics.store(this.#header, WRITTEN, (written + 1) | 0);
  }

  /** The reader's: the oldest one, in memory of its own. */
  take(): DroppedPacket | undefined {
    const read = this.#header[READ]!;
    if (read === Atomics.load(this.#header, WRITTEN)) return undefined;
    const slot = this.#slot(read);
    const family = this.#view.getUint8(slot + SLOT.family);
    const addressAt = slot + SLOT.address;
    const packetAt = slot + SLOT.packet;
    const packet: DroppedPacket = {
      reason: this.#view.getUint16(slot + SLOT.reason, true) as DropReason,
      kind: this.#view.getUint8(slot + SLOT.kind) as DroppedKind,
      atMs: this.#view.getFloat64(slot + SLOT.atMs, true),
      length: this.#view.getInt32(slot + SLOT.length, true),
      bytes: this.#bytes.slice(packetAt, packetAt + this.#view.getInt32(slot + SLOT.kept, true)),
      from:
        family === 0
          ? undefined
          : {
              address: this.#bytes.slice(addressAt, addressAt + (family === 4 ? 4 : 16)),
              port: this.#view.getUint16(slot + SLOT.port, true),
            },
    };
    Atomics.store(this.#header, READ, (read + 1) | 0);
    return packet;
  }

  #slot(count: number): number {
    return HEADER_BYTES + ((count >>> 0) % SLOTS) * SLOT.bytes;
  }
}
