/**
 * Where a peer is, as the protocol machine takes it (bytes that are only compared) and as the configuration protocol writes it:
 *
 *     IPv4          address (4)   port (2)                       192.0.2.1:51820
 *     IPv6          address (16)  port (2)                       [2001:db8::1]:51820
 *     IPv6, scoped  address (16)  interface (4)   port (2)       [fe80::1%eth0]:51820
 *
 * Numbers are in network order. A scope is there where the address means nothing without its interface.
 */
import { networkInterfaces } from 'node:os';
import { addressBytes, addressFromBytes, formatAddress, parseAddress } from '../ip/address.ts';

const PORT_BYTES = 2;
const IPV4_BYTES = 4;
const IPV6_BYTES = 16;
const SCOPE_BYTES = 4;
const WRITTEN = /^(?:\[([^\]%]+)(?:%([^\]]+))?\]|([^:[\]]+)):(\d{1,5})$/;

/** Names and numbers of interfaces; the host's own, but for tests. */
export interface InterfaceNames {
  numberOf(name: string): number | undefined;
  nameOf(number: number): string | undefined;
}

export interface EndpointParts {
  /** One int32 (IPv4) or four (IPv6). */
  readonly words: Int32Array;
  readonly port: number;
  /** 0: none. */
  readonly scope: number;
}

/** Undefined: it is none. */
export function parseUapiEndpoint(
  text: string,
  names: InterfaceNames = hostInterfaces,
): Uint8Array | undefined {
  const match = WRITTEN.exec(text);
  const port = Number(match?.[4]);
  if (!match || port < 1 || port > 65_535) return undefined;
  let scope = 0;
  if (match[2] !== undefined) {
    const number = /^\d+$/.test(match[2]) ? Number(match[2]) : names.numberOf(match[2]);
    if (number === undefined || number < 1 || number > 0x7fff_ffff) return undefined;
    scope = number;
  }
  try {
    return endpointBytes(addressBytes(parseAddress((match[1] ?? match[3])!)), port, scope);
  } catch {
    return undefined;
  }
}

export function formatUapiEndpoint(endpoint: Uint8Array, names: InterfaceNames = hostInterfaces): string {
  const view = viewOf(endpoint);
  const port = view.getUint16(endpoint.length - PORT_BYTES);
  if (endpoint.length === IPV4_BYTES + PORT_BYTES) {
    return `${formatAddress(addressFromBytes(endpoint.subarray(0, IPV4_BYTES)))}:${port}`;
  }
  const address = formatAddress(addressFromBytes(endpoint.subarray(0, IPV6_BYTES)));
  const { scope } = endpointParts(endpoint);
  return `[${address}${scope === 0 ? '' : `%${names.nameOf(scope) ?? scope}`}]:${port}`;
}

/** `address` is 4 or 16 bytes. */
export function endpointBytes(address: Uint8Array, port: number, scope: number): Uint8Array {
  const scopeBytes = scope === 0 ? 0 : SCOPE_BYTES;
  const endpoint = new Uint8Array(address.length + scopeBytes + PORT_BYTES);
  endpoint.set(address);
  const view = viewOf(endpoint);
  if (scopeBytes > 0) view.setUint32(address.length, scope);
  view.setUint16(address.length + scopeBytes, port);
  return endpoint;
}

export function endpointParts(endpoint: Uint8Array): EndpointParts {
  const view = viewOf(endpoint);
  const isV4 = endpoint.length === IPV4_BYTES + PORT_BYTES;
  const hasScope = endpoint.length === IPV6_BYTES + SCOPE_BYTES + PORT_BYTES;
  return {
    words: Int32Array.from({ length: isV4 ? 1 : 4 }, (_, i) => view.getInt32(4 * i)),
    port: view.getUint16(endpoint.length - PORT_BYTES),
    scope: hasScope ? view.getUint32(IPV6_BYTES) : 0,
  };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The kernel gives a scope with each link-local address, which every interface of IPv6 has. */
const hostInterfaces: InterfaceNames = {
  numberOf: (name) => scopes().find(([known]) => known === name)?.[1],
  nameOf: (number) => scopes().find(([, known]) => known === number)?.[0],
};

function scopes(): [string, number][] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
    addresses.flatMap((address): [string, number][] =>
      address.family === 'IPv6' && address.scopeid > 0 ? [[name, address.scopeid]] : [],
    ),
  );
}
