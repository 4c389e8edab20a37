/** The messages of `groups.probe` (proto/group-probe.proto), every field checked. */
import { addressBytes, type IpAddress } from '../ip/address.ts';
import {
  addressField,
  bytesField,
  type Decoded,
  guarded,
  idBytesField,
  integerField,
  listField,
  type Raw,
  rawId,
  UINT32_MAX,
} from '../protobuf/fields.ts';
import { messageTypeOf } from '../protobuf/message-type.ts';
import { PROBE_ID_BYTES } from './datagram.ts';
import { MAX_SLOTS } from './plan.ts';
import type { Received } from './verdict.ts';

const type = (name: string) => messageTypeOf('group-probe.proto', `warren.groupprobe.v1.${name}`);
const announcementType = type('Announcement');
const readyType = type('Ready');
const resultType = type('Result');

const MAX_ANNOUNCEMENT_BYTES = 128;
const MAX_ROUNDS = 8;
const BITMAP_BYTES = MAX_SLOTS / 8;

export interface Announcement {
  /** Hexadecimal. */
  readonly id: string;
  readonly to: IpAddress;
  readonly from: IpAddress;
  readonly rounds: number;
  readonly datagrams: number;
}

export interface Result {
  readonly received: readonly Received[];
  readonly damaged: number;
}

export function encodeAnnouncement({ id, to, from, rounds, datagrams }: Announcement): Uint8Array {
  const raw = { id: rawId(id), to: addressBytes(to), from: addressBytes(from), rounds, datagrams };
  return new Uint8Array(announcementType.encode(raw).finish());
}

export function decodeAnnouncement(bytes: Uint8Array): Decoded<Announcement> {
  return guarded(() => {
    const raw = announcementType.decode(bytesField(bytes, 1, MAX_ANNOUNCEMENT_BYTES)) as unknown as Raw;
    return {
      id: idBytesField(raw.id, PROBE_ID_BYTES),
      to: addressField(raw.to),
      from: addressField(raw.from),
      rounds: integerField(raw.rounds, 1, MAX_ROUNDS),
      datagrams: integerField(raw.datagrams, 1, MAX_SLOTS),
    };
  });
}

export function encodeReady(port: number): Uint8Array {
  return new Uint8Array(readyType.encode({ port }).finish());
}

export function decodeReady(bytes: Uint8Array): Decoded<number> {
  return guarded(() => integerField((readyType.decode(bytes) as unknown as Raw).port, 1, 65_535));
}

export function encodeResult({ received, damaged }: Result): Uint8Array {
  const bitmaps = received.map((slots) => {
    const bitmap = new Uint8Array(BITMAP_BYTES);
    for (const slot of slots) bitmap[slot >> 3]! |= 1 << (slot & 7);
    return bitmap;
  });
  return new Uint8Array(resultType.encode({ received: bitmaps, damaged }).finish());
}

export function decodeResult(bytes: Uint8Array): Decoded<Result> {
  return guarded(() => {
    const raw = resultType.decode(bytes) as unknown as Raw;
    const received = listField(raw.received, MAX_ROUNDS).map((item) => {
      const bitmap = bytesField(item, BITMAP_BYTES, BITMAP_BYTES);
      const slots = Array.from({ length: MAX_SLOTS }, (_, slot) => slot);
      return new Set(slots.filter((slot) => (bitmap[slot >> 3]! & (1 << (slot & 7))) !== 0));
    });
    return { received, damaged: integerField(raw.damaged, 0, UINT32_MAX) };
  });
}
