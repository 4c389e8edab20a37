/**
 * What the packet path asks of whoever holds a node's sessions, and tells. Nothing here may allocate for each packet:
 * `opened` is called for each datagram, the others once for a run of them or for what is rare.
 */
import type { Arena } from '../../sys/arena.ts';
import type { Session } from './session.ts';

export interface ReceivingSession {
  readonly session: Session;
  /** Whose it is. */
  readonly vtep: number;
}

export interface PathSessions {
  /** `memory` is what datagrams and the addresses of their senders are received into. */
  receivesInto(memory: Arena): void;
  /**
   * Datagrams are about to be sealed, or a message to be opened: what time it is, is looked up once for them.
   * `packetInfo`: where in the memory the address stands that the message came to (ReceivedControls).
   */
  begin(packetInfo?: number): void;
  /** What datagrams to `vtep` are sealed with, if it may still send; undefined: a handshake has to come first. */
  sendingTo(vtep: number): Session | undefined;
  /** Packets to `vtep` are sealed, to datagrams of `bytes` bytes in all. */
  sent(vtep: number, bytes: number): void;
  /** A packet of `bytes` bytes at `at` has to wait for a session, and is copied; false: it cannot. */
  wait(vtep: number, memory: Arena, at: number, bytes: number): boolean;
  /** What this node gave that index to, if it has not expired. */
  receivingAt(index: number): ReceivingSession | undefined;
  /**
   * A datagram of the peer of `bytes` bytes opened, a packet or an empty one; `sockaddr` is where its source stands in the
   * memory.
   */
  opened(by: ReceivingSession, isData: boolean, sockaddr: number, bytes: number): void;
  /** A message of types 1 to 3, to be copied. */
  handshake(datagram: number, datagramBytes: number, sockaddr: number): void;
}
