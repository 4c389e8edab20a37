/** What encapsulation costs, in bytes: the MTU of the overlay is the underlay's less this. */
import { IPV4_MIN_HEADER_BYTES } from '../wire/ipv4.ts';
import { IPV6_HEADER_BYTES } from '../wire/ipv6.ts';
import { UDP_HEADER_BYTES } from '../wire/udp.ts';
import type { EncapsulationForm } from './encapsulation.ts';

/** Outer IP and UDP headers on an underlay of `family`, and what the encapsulation adds: 36 (IPv4) or 56 with VXLAN-GPE. */
export function overheadBytes(family: 4 | 6, { addedBytes }: EncapsulationForm): number {
  const ipBytes = family === 4 ? IPV4_MIN_HEADER_BYTES : IPV6_HEADER_BYTES;
  return ipBytes + UDP_HEADER_BYTES + addedBytes;
}
