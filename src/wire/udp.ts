/**
 * UDP header (RFC 768), 8 bytes:
 *
 *     0                   1                   2                   3
 *     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *    |          Source Port          |       Destination Port        |
 *    |            Length             |           Checksum            |
 *    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * A checksum of zero means that there is none (IPv4 only); one that comes out as zero is sent as 0xffff.
 */

export const PROTOCOL_UDP = 17;
export const UDP_HEADER_BYTES = 8;

export const UDP_LENGTH = 4;
export const UDP_CHECKSUM = 6;
