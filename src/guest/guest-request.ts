/** What whoever adds a guest may ask for: all of it is text that people wrote, and is checked here. */
import { randomBytes } from 'node:crypto';
import { generateKeyPair, privateKeyBytes, sharedSecret } from '../encapsulation/wireguard/x25519.ts';
import { errorMessage, WarrenError } from '../errors.ts';
import type { Family } from '../ip/address.ts';
import { type Endpoint, formatHostPort, parseEndpoint, parseHostPort } from '../ip/endpoint.ts';
import { NODE_NAME, POD_NAME, POD_NAME_RULE } from '../names.ts';

export interface GuestRequest {
  readonly name: string;
  /** As `wg pubkey` writes it; default: a key pair is made here. */
  readonly publicKey?: string | undefined;
  /** Where it always is; default: it comes from anywhere. */
  readonly endpoint?: string | undefined;
  /** Of its file: where it reaches this node; default: the underlay's address and the tunnel's port. */
  readonly nodeEndpoint?: string | undefined;
  /** Of its file: addresses of name servers, and search domains. */
  readonly dns?: readonly string[] | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

export interface CheckedRequest {
  readonly name: string;
  readonly publicKey: Uint8Array | undefined;
  readonly endpoint: Endpoint | undefined;
  readonly nodeEndpoint: string | undefined;
  readonly dns: readonly string[];
}

const MAX_DNS = 8;
const MAX_HOST_LENGTH = 253;
const DNS = /^[0-9A-Za-z:._-]+$/;

/** `port`: of this node's tunnel. Throws PEER_NAME_INVALID, PEER_KEY_INVALID, PEER_OPTION_INVALID. */
export function checkedRequest(request: GuestRequest, underlay: Family, port: number): CheckedRequest {
  const { name, publicKey, endpoint, nodeEndpoint, dns = [] } = request;
  if (!POD_NAME.test(name)) {
    throw new WarrenError(
      'PEER_NAME_INVALID',
      `"${name.slice(0, 64)}" cannot be a peer's name: it must be ${POD_NAME_RULE}`,
    );
  }
  if (dns.length > MAX_DNS) throw invalid(`there are ${dns.length} name servers, and ${MAX_DNS} is the most`);
  for (const one of dns) {
    if (one.length > MAX_HOST_LENGTH || !DNS.test(one))
      throw invalid(`"${one.slice(0, 64)}" is neither the address of a name server nor a search domain`);
  }
  return {
    name,
    publicKey: publicKey === undefined ? undefined : publicKeyOf(publicKey),
    endpoint: endpoint === undefined ? undefined : endpointOf(endpoint, underlay),
    nodeEndpoint: nodeEndpoint === undefined ? undefined : nodeEndpointOf(nodeEndpoint, port),
    dns,
  };
}

export interface MadeKeys {
  readonly privateKey: Uint8Array;
  readonly publicKey: Uint8Array;
  /** Whoever records traffic today needs it to read that with a quantum computer. */
  readonly presharedKey: Uint8Array;
}

/** For a guest that brings none. */
export function makeKeys(): MadeKeys {
  const pair = generateKeyPair();
  return {
    privateKey: new Uint8Array(privateKeyBytes(pair)),
    publicKey: new Uint8Array(pair.publicKey),
    presharedKey: new Uint8Array(randomBytes(32)),
  };
}

/** Whatever has the form of a key and no secret with anybody is refused, too: 32 zeros, for instance. */
function publicKeyOf(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64');
  const isKey = bytes.length === 32 && bytes.toString('base64') === text;
  if (isKey && sharedSecret(generateKeyPair().privateKey, bytes) !== undefined) return new Uint8Array(bytes);
  throw new WarrenError(
    'PEER_KEY_INVALID',
    `"${text.slice(0, 64)}" is not the public key of a WireGuard peer`,
    {
      hint: '`wg pubkey < PRIVATE_KEY_FILE` writes it: 44 characters of base64.',
    },
  );
}

function endpointOf(text: string, underlay: Family): Endpoint {
  let endpoint: Endpoint;
  try {
    endpoint = parseEndpoint(text);
  } catch (error) {
    throw invalid(`the peer's endpoint must be an address and a port: ${errorMessage(error)}`);
  }
  if (endpoint.address.family === underlay) return endpoint;
  throw invalid(`${text} is IPv${endpoint.address.family}, and this node's underlay is IPv${underlay}`);
}

function nodeEndpointOf(text: string, port: number): string {
  try {
    const { host, port: own } = parseHostPort(text, port);
    if (host.includes(':')) return formatHostPort(parsedAddress(host, own));
    if (host.length <= MAX_HOST_LENGTH && host.split('.').every((label) => NODE_NAME.test(label)))
      return formatHostPort({ host, port: own });
    throw invalid(`"${host.slice(0, 64)}" is no host name`);
  } catch (error) {
    throw invalid(`this node's endpoint must be a host and perhaps a port: ${errorMessage(error)}`);
  }
}

function parsedAddress(host: string, port: number): { readonly host: string; readonly port: number } {
  parseEndpoint(`[${host}]:${port}`);
  return { host, port };
}

function invalid(message: string): WarrenError {
  return new WarrenError('PEER_OPTION_INVALID', message);
}
