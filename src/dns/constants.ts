/** Numbers of the DNS (RFC 1035, RFC 6891), and this zone's own. */

export const HEADER_BYTES = 12;
/** What a UDP answer may have where the asker says nothing else (RFC 1035, section 4.2.1). */
export const PLAIN_UDP_BYTES = 512;
/** The most that is sent in one UDP datagram, or asked for: it passes an IPv6 path of 1280 bytes whole. */
export const UDP_BYTES = 1232;
/** Of a query, also over TCP: a question and options have no use for more. */
export const MAX_QUERY_BYTES = 4096;
/** The most that the two bytes of length before a message over TCP can say. */
export const MAX_MESSAGE_BYTES = 65_535;

export const RCODE = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
  /** In the OPT record's upper eight bits and the header's lower four. */
  badVersion: 16,
} as const;

export const TYPE = {
  A: 1,
  NS: 2,
  SOA: 6,
  PTR: 12,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const;

export const CLASS_IN = 1;

/** Bits of the header's second word. */
export const FLAG = { qr: 0x8000, aa: 0x0400, tc: 0x0200, rd: 0x0100, ra: 0x0080, cd: 0x0010 } as const;
export const OPCODE_MASK = 0x7800;

/** All names of the overlay end with this label. */
export const ZONE = 'warren';
/** Of a name that is there: short, for whatever asks keeps it for so long after its node's death. */
export const TTL_SECONDS = 5;
/** Of a name that is not there: what is attached now is to be found within a second. */
export const NEGATIVE_TTL_SECONDS = 1;
