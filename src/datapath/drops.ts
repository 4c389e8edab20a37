/**
 * Why a packet was dropped. On the packet path a reason is a number that indexes a counter; `warren status`
 * shows the names. Every exit of the packet path is a send or one of these: the functions on it return a verdict.
 */
export const DROP = {
  /** Read from the TUN, but not an IPv4 or IPv6 packet, or shorter than its header says. */
  outboundMalformed: 0,
  /** Multicast, broadcast or link-local: an overlay of routed subnets carries unicast only. */
  outboundNotUnicast: 1,
  /** The inner source is not in this node's subnets; the receiver would have to refuse it. */
  outboundForeignSource: 2,
  /** No node owns the destination. Answered with ICMP "network unreachable" / ICMPv6 "no route". */
  outboundNoRoute: 3,
  /** Longer than the path to the peer carries, with DF. Answered with "fragmentation needed" / "too big". */
  outboundTooBig: 4,
  /** The kernel refused the datagram (no route to the peer, a firewall, no buffers). */
  outboundSendFailed: 5,

  /** Outer source is not the underlay address of a known VTEP. */
  inboundUnknownSource: 6,
  /** Shorter than an encapsulation header. */
  inboundTruncated: 7,
  /** Encapsulation flags that must be set are clear, or reserved, version or O bits are set. */
  inboundBadHeader: 8,
  inboundWrongVni: 9,
  /** The next protocol is neither IPv4 nor IPv6. */
  inboundUnknownProtocol: 10,
  /** The inner packet is not what the next protocol says, or shorter than its header says. */
  inboundMalformed: 11,
  /** The inner source is not in the subnets of the node that sent it. */
  inboundForeignSource: 12,
  /** The inner destination is not in this node's subnets. */
  inboundNotLocal: 13,
  /** The kernel reported an error on receive. */
  inboundReceiveFailed: 14,
  /** The TUN device refused the packet. */
  inboundWriteFailed: 15,
  /** Congestion was met on the way (outer CE), and the inner packet's sender does not understand ECN (RFC 6040). */
  inboundCongestion: 16,
  /** There are no keys for the peer yet, or none any more. */
  outboundNoSession: 17,
  /** Sealed for a session that this node does not have. */
  inboundNoSession: 18,
  /** It came before, or is older than the window reaches back. */
  inboundReplayed: 19,
  /** It was not sealed with the keys of the session that it names. */
  inboundForged: 20,
  /** A handshake message that nothing came of: it shows no key, no known key, or too late or too often. */
  inboundHandshakeRefused: 21,
} as const;

/** The packet was not dropped. */
export const PASSED = -1;

/** It was dropped and answered, and counted before the answer: who sees the answer sees the count. */
export const ANSWERED = -2;

/** It was no packet but a message of the encapsulation itself, which has taken it. */
export const CONSUMED = -3;

/** How a step of the packet path ended: each function on the path returns one, and one place counts it. */
export type Verdict = DropReason | typeof PASSED | typeof ANSWERED | typeof CONSUMED;

export type DropReason = (typeof DROP)[keyof typeof DROP];

/** `outbound-no-route`, by reason number. */
export const DROP_NAMES: readonly string[] = Object.keys(DROP).map((key) =>
  key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
);

/**
 * What the kernel drops and counts before the packet path has it; `src/dataplane/kernel-losses.ts` reads its counts.
 * A superpacket, or a group of datagrams that the kernel has merged, counts once there.
 */
export const KERNEL_DROP_NAMES = [
  /** A queue of the TUN had no room for what pods or the node sent: the packet path does not keep up. */
  'outbound-queue-overflow',
  /** A socket had no room for a datagram; what comes with a broken checksum is in the same count. */
  'inbound-socket-overflow',
] as const;

export type KernelDropName = (typeof KERNEL_DROP_NAMES)[number];
