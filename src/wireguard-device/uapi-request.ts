/**
 * Requests of WireGuard's cross-platform configuration protocol (https://www.wireguard.com/xplatform/), which `wg` speaks over
 * a unix socket: lines of `key=value` up to an empty one. The first line is the operation, `get=1` or `set=1`.
 *
 *     set=1
 *     private_key=HEX         of the device; zeros: none any more. Also listen_port, fwmark, replace_peers
 *     public_key=HEX          a peer begins; what follows is the peer's, up to the next public_key
 *     endpoint=...            also preshared_key, persistent_keepalive_interval, allowed_ip, replace_allowed_ips, remove, ...
 *
 * A request is read as a whole before any of it is done: one that is refused changes nothing.
 */
import { parseAddress } from '../ip/address.ts';
import { type Prefix, prefixOf } from '../ip/prefix.ts';
import { EINVAL, EPROTO } from '../sys/constants.ts';
import { parseUapiEndpoint } from './uapi-endpoint.ts';

const KEY_BYTES = 32;
const MAX_PORT = 0xffff;
const MAX_MARK = 0xffff_ffff;
const MAX_INTERVAL_S = 0xffff;

export interface AllowedIpChange {
  readonly prefix: Prefix;
  /** It is taken from the peer, if the peer has it. */
  readonly remove: boolean;
}

/** What a request says of one peer. What is undefined stays as it is. */
export interface PeerChange {
  readonly publicKey: Buffer;
  updateOnly: boolean;
  remove: boolean;
  /** Zeros: none. */
  presharedKey?: Buffer;
  /** As uapi-endpoint.ts has it. */
  endpoint?: Uint8Array;
  persistentKeepaliveS?: number;
  replaceAllowedIps: boolean;
  readonly allowedIps: AllowedIpChange[];
}

export interface SetRequest {
  readonly operation: 'set';
  /** Zeros: none. */
  privateKey?: Buffer;
  /** 0: any. */
  listenPort?: number;
  /** 0: none. */
  fwmark?: number;
  replacePeers: boolean;
  readonly peers: PeerChange[];
}

export type Request = { readonly operation: 'get' } | SetRequest;

/** Why a request is refused: a number of errno. */
export class UapiError extends Error {
  readonly errno: number;

  constructor(errno: number, message: string) {
    super(message);
    this.errno = errno;
  }
}

/** `lines` are without the empty one at the end. Throws a UapiError. */
export function parseRequest(lines: readonly string[]): Request {
  const [operation, ...rest] = lines;
  if (operation === 'get=1') {
    if (rest.length > 0) throw invalid('something follows get=1');
    return { operation: 'get' };
  }
  if (operation !== 'set=1') throw new UapiError(EPROTO, `"${operation}" is no operation`);
  const request: SetRequest = { operation: 'set', replacePeers: false, peers: [] };
  let peer: PeerChange | undefined;
  for (const line of rest) {
    const at = line.indexOf('=');
    if (at < 0) throw new UapiError(EPROTO, `"${line}" is not key=value`);
    const [key, value] = [line.slice(0, at), line.slice(at + 1)];
    if (key === 'public_key') {
      peer = {
        publicKey: keyOf(key, value),
        updateOnly: false,
        remove: false,
        replaceAllowedIps: false,
        allowedIps: [],
      };
      request.peers.push(peer);
    } else if (peer === undefined) deviceLine(request, key, value);
    else peerLine(peer, key, value);
  }
  return request;
}

function deviceLine(request: SetRequest, key: string, value: string): void {
  switch (key) {
    case 'private_key':
      request.privateKey = keyOf(key, value);
      return;
    case 'listen_port':
      request.listenPort = numberOf(key, value, MAX_PORT);
      return;
    case 'fwmark':
      request.fwmark = numberOf(key, value, MAX_MARK);
      return;
    case 'replace_peers':
      request.replacePeers = trueOf(key, value);
      return;
    default:
      throw invalid(`a device has no "${key}"`);
  }
}

function peerLine(peer: PeerChange, key: string, value: string): void {
  switch (key) {
    case 'update_only':
      peer.updateOnly = trueOf(key, value);
      return;
    case 'remove':
      peer.remove = trueOf(key, value);
      return;
    case 'preshared_key':
      peer.presharedKey = keyOf(key, value);
      return;
    case 'endpoint': {
      const endpoint = parseUapiEndpoint(value);
      if (endpoint === undefined) throw invalid(`"${value}" is no endpoint`);
      peer.endpoint = endpoint;
      return;
    }
    case 'persistent_keepalive_interval':
      peer.persistentKeepaliveS = numberOf(key, value, MAX_INTERVAL_S);
      return;
    case 'replace_allowed_ips':
      peer.replaceAllowedIps = trueOf(key, value);
      peer.allowedIps.length = 0;
      return;
    case 'allowed_ip':
      peer.allowedIps.push(allowedIp(value));
      return;
    case 'protocol_version':
      if (value !== '1') throw invalid(`protocol version ${value} is not spoken here`);
      return;
    default:
      throw invalid(`a peer has no "${key}"`);
  }
}

/** Bits beyond the length do not count. `-` in front: it is taken away. */
function allowedIp(value: string): AllowedIpChange {
  const match = /^([+-]?)([^/]+)\/(\d{1,3})$/.exec(value);
  if (!match) throw invalid(`"${value}" is no prefix`);
  const length = Number(match[3]);
  try {
    const address = parseAddress(match[2]!);
    if (length > (address.family === 4 ? 32 : 128)) throw invalid(`"${value}" is too long a prefix`);
    return { prefix: prefixOf(address, length), remove: match[1] === '-' };
  } catch (error) {
    throw error instanceof UapiError ? error : invalid(`"${value}" is no prefix`);
  }
}

function keyOf(key: string, value: string): Buffer {
  if (!/^[0-9a-fA-F]{64}$/.test(value)) throw invalid(`${key} is not ${KEY_BYTES} bytes in hexadecimal`);
  return Buffer.from(value, 'hex');
}

function numberOf(key: string, value: string, most: number): number {
  const number = Number(value);
  if (!/^\d{1,10}$/.test(value) || number > most) throw invalid(`${key}=${value} is not from 0 to ${most}`);
  return number;
}

function trueOf(key: string, value: string): true {
  if (value !== 'true') throw invalid(`${key} can only be true`);
  return true;
}

function invalid(message: string): UapiError {
  return new UapiError(EINVAL, message);
}
