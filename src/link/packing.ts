/**
 * Several messages in one frame: each is preceded by its length, 16 bits, network byte order.
 *
 *     | length (2) | message | length (2) | message | ...
 */
export const LENGTH_BYTES = 2;

/** The bytes `messages` take together. */
export function packedBytes(messages: readonly Uint8Array[]): number {
  let total = 0;
  for (const message of messages) total += LENGTH_BYTES + message.length;
  return total;
}

export function pack(messages: readonly Uint8Array[]): Uint8Array {
  const packed = Buffer.allocUnsafe(packedBytes(messages));
  let offset = 0;
  for (const message of messages) {
    packed.writeUInt16BE(message.length, offset);
    packed.set(message, offset + LENGTH_BYTES);
    offset += LENGTH_BYTES + message.length;
  }
  return packed;
}

/** Groups of messages, in order, each group at most `limitBytes` when packed; at least one group. */
export function packGroups(messages: readonly Uint8Array[], limitBytes: number): Uint8Array[] {
  const groups: Uint8Array[] = [];
  let group: Uint8Array[] = [];
  let groupBytes = 0;
  for (const message of messages) {
    if (group.length > 0 && groupBytes + LENGTH_BYTES + message.length > limitBytes) {
      groups.push(pack(group));
      group = [];
      groupBytes = 0;
    }
    group.push(message);
    groupBytes += LENGTH_BYTES + message.length;
  }
  groups.push(pack(group));
  return groups;
}

/** Calls `receive` for each message; false when the last one is cut short. Views of `packed`, not copies. */
export function unpack(packed: Uint8Array, receive: (message: Uint8Array) => void): boolean {
  let offset = 0;
  while (offset < packed.length) {
    if (offset + LENGTH_BYTES > packed.length) return false;
    const length = (packed[offset]! << 8) | packed[offset + 1]!;
    const end = offset + LENGTH_BYTES + length;
    if (end > packed.length) return false;
    receive(packed.subarray(offset + LENGTH_BYTES, end));
    offset = end;
  }
  return true;
}
