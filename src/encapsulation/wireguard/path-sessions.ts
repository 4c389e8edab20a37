/**
 * What the packet path asks of whoever holds a node's sessions, and tells. Nothing here may allocate for each packet: `opened`
 * is called for each datagram, the others once for a run of them or for what is rare.
 */
import type { Session } from './session.ts';

export interface ReceivingSession {
  readonly session: Session;
  /** Whose it is. */
  readonly vtep: number;
}

export interface PathSessions {
  /** What datagrams to `vtep` are sealed with, if it may still send; undefined: a handshake has to come first. */
  sendingTo(vtep: number): Session | undefined;
  /** What this node gave that index to, if it has not expired. */
  receivingAt(index: number): ReceivingSession | undefined;
  /** A datagram of the peer opened, a packet or an empty one; `sockaddr` is where its source stands in the memory. */
  opened(by: ReceivingSession, isData: boolean, sockaddr: number): void;
  /** A message of types 1 to 3, to be copied. */
  handshake(datagram: number, datagramBytes: number, sockaddr: number): void;
}
