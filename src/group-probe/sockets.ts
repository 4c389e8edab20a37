/** The UDP sockets of group probes, on this node's own overlay addresses. On Linux linux-sockets.ts has them. */
import type { IpAddress } from '../ip/address.ts';
import type { Endpoint } from '../ip/endpoint.ts';

export interface ProbeSockets {
  /** Port 0: any. Throws where the address is not there, or the port is taken. */
  openSender(from: IpAddress, port: number): ProbeSender;
  /** Rejects where the address is not there. `onDatagram` may keep what it is given. */
  openReceiver(
    at: IpAddress,
    onDatagram: (bytes: Uint8Array, from: IpAddress) => void,
  ): Promise<ProbeReceiver>;
}

export interface ProbeSender {
  readonly port: number;
  /**
   * Datagrams of one size, but for a shorter last one: at once, as one superpacket where the kernel does that. False if
   * they are not sent, above all because they are too long for the path.
   */
  send(to: Endpoint, datagrams: readonly Uint8Array[]): boolean;
  close(): void;
}

export interface ProbeReceiver {
  readonly port: number;
  close(): void;
}
