/**
 * Packets of one peer that wait for a handshake. The oldest goes first when there are too many: what has waited longest is
 * most likely sent again by then. They are copied, since what they lie in is read into again.
 */
const MAX_PACKETS = 128;
const MAX_BYTES = 256 * 1024;

export class WaitingPackets {
  readonly #packets: Buffer[] = [];
  #bytes = 0;

  /** How many had to go to make room; 1 for the packet itself where it is longer than all that may wait. */
  add(packet: Uint8Array): number {
    if (packet.length > MAX_BYTES) return 1;
    this.#packets.push(Buffer.from(packet));
    this.#bytes += packet.length;
    let dropped = 0;
    while (this.#packets.length > MAX_PACKETS || this.#bytes > MAX_BYTES) {
      this.#bytes -= this.#packets.shift()!.length;
      dropped++;
    }
    return dropped;
  }

  /** All of them, oldest first; none waits any more. */
  take(): Buffer[] {
    this.#bytes = 0;
    return this.#packets.splice(0);
  }

  get size(): number {
    return this.#packets.length;
  }
}
