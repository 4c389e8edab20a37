/**
 * Forges an ICMP "fragmentation needed" or ICMPv6 "packet too big" about a tunnel datagram, as anybody can who knows two
 * addresses and a port:
 *
 *     node forged-icmp.mjs FAMILY FROM VICTIM PEER PORT MTU
 *
 * FROM is an address of this host; the victim is to believe that its datagrams to the peer are too big.
 */
import koffi from 'koffi';

const [family, from, victim, peer, port, mtu] = process.argv.slice(2);
const isV4 = family === '4';
const libc = koffi.load(null);
const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, const void *address, uint32_t length)');
const sendto = libc.func(
  'long sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t bytes)',
);
const inet_pton = libc.func('int inet_pton(int family, const char *text, _Out_ uint8_t *address)');
const [AF, SOCK_RAW, PROTOCOL] = isV4 ? [2, 3, 1] : [10, 3, 58];

function addressOf(text) {
  const bytes = Buffer.alloc(isV4 ? 4 : 16);
  if (inet_pton(AF, text, bytes) !== 1) throw new Error(`no address: ${text}`);
  return bytes;
}

function sockaddr(text) {
  const bytes = Buffer.alloc(isV4 ? 16 : 28);
  bytes.writeUInt16LE(AF, 0);
  addressOf(text).copy(bytes, isV4 ? 4 : 8);
  return bytes;
}

function sum(bytes) {
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2) total += bytes.readUInt16BE(i);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
}

const udp = Buffer.alloc(8);
udp.writeUInt16BE(Number(port), 0);
udp.writeUInt16BE(Number(port), 2);
udp.writeUInt16BE(1472, 4);
const ip = Buffer.alloc(isV4 ? 20 : 40);
if (isV4) {
  ip.writeUInt16BE(0x4500, 0);
  ip.writeUInt16BE(1500, 2);
  ip.writeUInt16BE(0x4000, 6);
  ip.writeUInt16BE(0x4011, 8);
  addressOf(victim).copy(ip, 12);
  addressOf(peer).copy(ip, 16);
  ip.writeUInt16BE(sum(ip), 10);
} else {
  ip.writeUInt32BE(0x60000000, 0);
  ip.writeUInt16BE(1460, 4);
  ip.writeUInt16BE(0x1140, 6);
  addressOf(victim).copy(ip, 8);
  addressOf(peer).copy(ip, 24);
}
const icmp = Buffer.concat([Buffer.alloc(8), ip, udp]);
icmp.writeUInt16BE(isV4 ? 0x0304 : 0x0200, 0);
icmp.writeUInt32BE(Number(mtu), 4);
// Of ICMPv6 the kernel computes it.
if (isV4) icmp.writeUInt16BE(sum(icmp), 2);

const fd = socket(AF, SOCK_RAW, PROTOCOL);
const [own, target] = [sockaddr(from), sockaddr(victim)];
if (fd < 0 || bind(fd, own, own.length) !== 0) throw new Error(`cannot send as ${from}`);
if (sendto(fd, icmp, icmp.length, 0, target, target.length) !== icmp.length)
  throw new Error('could not be sent');
