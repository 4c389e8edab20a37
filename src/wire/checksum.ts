/**
 * The Internet checksum (RFC 1071): the one's complement of the one's complement sum of 16-bit words.
 *
 * A running sum here is a plain number that is folded late: float64 adds exactly up to 2^53.
 */
import { IPV4_SOURCE } from './ipv4.ts';
import { IPV6_SOURCE } from './ipv6.ts';

/** Adds `bytes` bytes at `offset` to a running sum; an odd last byte is padded with zero (RFC 1071, 1). */
export function checksumAdd(sum: number, view: DataView, offset: number, bytes: number): number {
  const end = offset + (bytes & ~1);
  let total = sum;
  for (let at = offset; at < end; at += 2) total += view.getUint16(at);
  if (bytes & 1) total += view.getUint8(end) << 8;
  return total;
}

/** Folds a running sum to 16 bits: what a partial checksum field holds for a pseudo-header. */
export function checksumFold(sum: number): number {
  // Headers stay far below 2^31, where this is integer arithmetic; the sum over a superpacket does not.
  const small =
    sum <= 0x7fffffff
      ? sum
      : (((sum % 0x1_0000_0000) >>> 0) % 0xffff) + (Math.floor(sum / 0x1_0000_0000) % 0xffff);
  const once = (small & 0xffff) + (small >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** Folds and complements: what stands in a header's checksum field. */
export function checksumFinish(sum: number): number {
  return ~checksumFold(sum) & 0xffff;
}

export function checksum(view: DataView, offset: number, bytes: number): number {
  return checksumFinish(checksumAdd(0, view, offset, bytes));
}

/** The pseudo-header's sum (RFC 9293, section 3.1) but for the length: addresses of the IPv4 packet, protocol. */
export function pseudoHeaderSum4(view: DataView, packet: number, protocol: number): number {
  return checksumAdd(protocol, view, packet + IPV4_SOURCE, 8);
}

/** The IPv6 pseudo-header's sum (RFC 8200, section 8.1) but for the length. */
export function pseudoHeaderSum6(view: DataView, packet: number, protocol: number): number {
  return checksumAdd(protocol, view, packet + IPV6_SOURCE, 32);
}
