/** The configuration of a guest, as wg-quick and the WireGuard apps take it. */
import type { IpAddress } from '../ip/address.ts';
import { formatPrefix, hostPrefix, type Prefix } from '../ip/prefix.ts';

/** Of inner packets: what WireGuard's own tools take, and what fits a link of 1,500 bytes over IPv6. */
export const GUEST_MTU = 1_420;
/** Translators of addresses forget a UDP flow after 30 s of silence, the impatient ones. */
const KEEPALIVE_SECONDS = 25;

export interface QuickFile {
  readonly name: string;
  readonly nodeName: string;
  readonly clusterName: string;
  /** As `wg` writes it; undefined: it is not known here. */
  readonly privateKey: string | undefined;
  /** Why not. */
  readonly isKeyMadeHere: boolean;
  readonly publicKey: string;
  readonly presharedKey: string | undefined;
  readonly addresses: readonly IpAddress[];
  readonly dns: readonly string[];
  readonly mtu: number;
  readonly nodePublicKey: string;
  /** Host and port. */
  readonly nodeEndpoint: string;
  readonly podRanges: readonly Prefix[];
}

export function quickFile(of: QuickFile): string {
  const families = new Set(of.addresses.map(({ family }) => family));
  const ranges = of.podRanges.filter(({ family }) => families.has(family));
  return lines(
    `# ${of.name}, a WireGuard peer of node ${of.nodeName} in cluster ${of.clusterName}`,
    '[Interface]',
    privateKeyLine(of),
    `Address = ${of.addresses.map((one) => formatPrefix(hostPrefix(one))).join(', ')}`,
    of.dns.length > 0 && `DNS = ${of.dns.join(', ')}`,
    `MTU = ${of.mtu}`,
    '',
    '[Peer]',
    `PublicKey = ${of.nodePublicKey}`,
    of.presharedKey !== undefined && `PresharedKey = ${of.presharedKey}`,
    `AllowedIPs = ${ranges.map(formatPrefix).join(', ')}`,
    `Endpoint = ${of.nodeEndpoint}`,
    `PersistentKeepalive = ${KEEPALIVE_SECONDS}`,
  );
}

function privateKeyLine({ name, privateKey, isKeyMadeHere, publicKey }: QuickFile): string {
  if (privateKey !== undefined) return `PrivateKey = ${privateKey}`;
  return isKeyMadeHere
    ? `# PrivateKey = the one that was shown when ${name} was added; it is kept nowhere`
    : `# PrivateKey = the one of the public key ${publicKey}`;
}

function lines(...some: readonly (string | false)[]): string {
  return `${some.filter((line) => line !== false).join('\n')}\n`;
}
