/**
 * The two things a packet path thread talks to: a queue of the TUN device and the underlay's UDP socket.
 * src/tun and src/underlay have the real ones; unit tests have fakes that live in the same arena.
 *
 * Addresses are absolute (an arena's `address(offset)`). Every call returns what C would, but with a negative
 * errno in place of -1, so that nothing is thrown on the packet path.
 */

export interface TunQueue {
  /** Reads one packet, virtio header first; returns its bytes. */
  read(address: number, capacityBytes: number): number;
  /** Writes one packet, virtio header first. */
  write(address: number, bytes: number): number;
  /** Writes one packet from `count` iovecs, the virtio header first. */
  writev(iovecs: number, count: number): number;
}

export interface UnderlaySocket {
  readonly fd: number;
  /** sendmmsg(2): returns how many of `count` messages went out. */
  send(vector: number, count: number): number;
  /** recvmmsg(2), never waiting: returns how many of `count` messages were filled. */
  receive(vector: number, count: number): number;
  /**
   * Whether outer datagrams over the path MTU may be fragmented (by default they are refused); false if the
   * kernel would not have it.
   */
  allowFragmentation(allowed: boolean): boolean;
  /** Bytes of the longest packet that the link towards a socket address takes; 0 if that cannot be told. */
  linkMtu(sockaddr: number, sockaddrBytes: number): number;
}
