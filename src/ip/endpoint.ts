/** Address and port pairs: `192.0.2.1:4790`, `[2001:db8::1]:4790`, and `host:7946` where names may stand. */
import { WarrenError } from '../errors.ts';
import { formatAddress, type IpAddress, parseAddress, sameAddress } from './address.ts';

export interface Endpoint {
  readonly address: IpAddress;
  readonly port: number;
}

/** A host that may still be a name (seeds are resolved each time they are tried). */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

export function parseHostPort(text: string, defaultPort?: number): HostPort {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text);
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (!match || port === undefined || port < 1 || port > 65_535) {
    throw new WarrenError(
      'ENDPOINT_INVALID',
      `"${text}" is not host:port (an IPv6 address stands in brackets)`,
    );
  }
  return { host: (match[1] ?? match[2])!, port };
}

export function parseEndpoint(text: string, defaultPort?: number): Endpoint {
  const { host, port } = parseHostPort(text, defaultPort);
  return { address: parseAddress(host), port };
}

export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

export function formatEndpoint(endpoint: Endpoint): string {
  return formatHostPort({ host: formatAddress(endpoint.address), port: endpoint.port });
}

export function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && sameAddress(a.address, b.address);
}
