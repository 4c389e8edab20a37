/** Answers of the configuration protocol (uapi-request.ts): what a device is and does now, and how a request went. */
import { formatPrefix, type Prefix } from '../ip/prefix.ts';
import { formatUapiEndpoint } from './uapi-endpoint.ts';

const KEY_BYTES = 32;

export interface PeerReport {
  readonly publicKey: Buffer;
  readonly presharedKey: Buffer | undefined;
  /** As uapi-endpoint.ts has it; undefined: nobody knows yet. */
  readonly endpoint: Uint8Array | undefined;
  /** Milliseconds since 1970; 0: there was none. */
  readonly lastHandshakeMs: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly persistentKeepaliveS: number;
  readonly allowedIps: Iterable<Prefix>;
}

export interface DeviceReport {
  readonly privateKey: Buffer | undefined;
  readonly listenPort: number;
  readonly fwmark: number;
  readonly peers: readonly PeerReport[];
}

/** `errno` is positive; 0: all is done. */
export function statusText(errno: number): string {
  return `errno=${errno === 0 ? 0 : -errno}\n\n`;
}

/** With its status. */
export function reportText(device: DeviceReport): string {
  const lines: string[] = [];
  if (device.privateKey !== undefined) lines.push(`private_key=${device.privateKey.toString('hex')}`);
  if (device.listenPort !== 0) lines.push(`listen_port=${device.listenPort}`);
  if (device.fwmark !== 0) lines.push(`fwmark=${device.fwmark}`);
  for (const peer of device.peers) peerLines(peer, lines);
  return `${lines.map((line) => `${line}\n`).join('')}${statusText(0)}`;
}

function peerLines(peer: PeerReport, lines: string[]): void {
  const { presharedKey = Buffer.alloc(KEY_BYTES), lastHandshakeMs } = peer;
  lines.push(`public_key=${peer.publicKey.toString('hex')}`);
  lines.push(`preshared_key=${presharedKey.toString('hex')}`);
  lines.push('protocol_version=1');
  if (peer.endpoint !== undefined) lines.push(`endpoint=${formatUapiEndpoint(peer.endpoint)}`);
  lines.push(`last_handshake_time_sec=${Math.floor(lastHandshakeMs / 1_000)}`);
  lines.push(`last_handshake_time_nsec=${Math.floor(lastHandshakeMs % 1_000) * 1_000_000}`);
  lines.push(`tx_bytes=${peer.sentBytes}`);
  lines.push(`rx_bytes=${peer.receivedBytes}`);
  lines.push(`persistent_keepalive_interval=${peer.persistentKeepaliveS}`);
  for (const prefix of peer.allowedIps) lines.push(`allowed_ip=${formatPrefix(prefix)}`);
}
