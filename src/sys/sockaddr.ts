/** sockaddr_in and sockaddr_in6 in an arena. */
import { AF_INET, AF_INET6 } from './constants.ts';
import { SOCKADDR_IN, SOCKADDR_IN6 } from './structs.ts';

/** From one socket address to the next in a row of them: room for either family, aligned. */
export const SOCKADDR_STRIDE = 32;

/**
 * Writes a socket address at `offset`. `words` is one int32 (IPv4) or four (IPv6), big-endian as numbers; `scope` the number of
 * the interface that a link-local one belongs to.
 * Returns its length: 16 or 28 bytes.
 */
export function writeSockaddr(
  view: DataView,
  offset: number,
  words: Int32Array,
  port: number,
  scope = 0,
): number {
  if (words.length === 1) {
    view.setUint16(offset + SOCKADDR_IN.family, AF_INET, true);
    view.setUint16(offset + SOCKADDR_IN.port, port);
    view.setInt32(offset + SOCKADDR_IN.address, words[0]!);
    view.setFloat64(offset + SOCKADDR_IN.address + 4, 0); // sin_zero
    return SOCKADDR_IN.bytes;
  }
  view.setUint16(offset + SOCKADDR_IN6.family, AF_INET6, true);
  view.setUint16(offset + SOCKADDR_IN6.port, port);
  view.setUint32(offset + SOCKADDR_IN6.flowInfo, 0);
  for (let i = 0; i < 4; i++) view.setInt32(offset + SOCKADDR_IN6.address + 4 * i, words[i]!);
  view.setUint32(offset + SOCKADDR_IN6.scopeId, scope, true);
  return SOCKADDR_IN6.bytes;
}

/** The port of the socket address at `offset`, which lies at the same place in both families. */
export function sockaddrPort(view: DataView, offset: number): number {
  return view.getUint16(offset + SOCKADDR_IN.port);
}
