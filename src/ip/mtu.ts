/** How long IP packets may be, whatever carries them. */

/** The least that a link with IPv4 takes (RFC 791). IPv6 needs more: `IPV6_MIN_MTU` of src/wire/ipv6.ts. */
export const MIN_MTU = 68;
/** The most that a packet can have (its length has 16 bits), and a TUN device takes. */
export const MAX_MTU = 65_535;
