/** What encapsulation costs, in bytes: the MTU of the overlay is the underlay's less this. */
import { IPV4_MIN_HEADER_BYTES } from '../wire/ipv4.ts';
import { IPV6_HEADER_BYTES } from '../wire/ipv6.ts';
import { UDP_HEADER_BYTES } from '../wire/udp.ts';
import { VXLAN_GPE_BYTES } from '../wire/vxlan-gpe.ts';

/** Outer IP, UDP and VXLAN-GPE headers on an underlay of `family`: 36 (IPv4) or 56 (IPv6). */
export function vxlanGpeOverheadBytes(family: 4 | 6): number {
  const ipBytes = family === 4 ? IPV4_MIN_HEADER_BYTES : IPV6_HEADER_BYTES;
  return ipBytes + UDP_HEADER_BYTES + VXLAN_GPE_BYTES;
}
