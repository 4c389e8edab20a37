/*
 * The roofline of encrypted tunnels: bench/roofline.c with datagrams as WireGuard has them, sealed by the same EVP functions of
 * OpenSSL that src/encapsulation/wireguard calls.
 *
 * What goes over the wire is WireGuard's transport data (its paper, section 5.4.6), with complete inner checksums and padding,
 * so that any peer that has the keys could read it. There is no handshake, timer, replay window or peer table: each
 * direction has one key, which is handed over, and one counter. Like the other it checks nothing of what is inside, and
 * carries inner IPv4 over outer IPv4. A run with the same keys as an earlier one uses nonces again: never use it for
 * traffic that matters.
 *
 *     cc -O2 -pthread -o sealed-roofline sealed-roofline.c -lcrypto
 *     ./sealed-roofline DEVICE LOCAL_IPV4 REMOTE_IPV4 PORT MTU SEND_KEY RECEIVE_KEY    (keys: 64 hexadecimal digits)
 *
 * Outbound: read of a (super)packet from the TUN -> each segment's headers are written just before its payload, over what
 * is sealed already -> sealed into one piece of memory, datagram behind datagram -> one sendmmsg of UDP_SEGMENT messages.
 * Inbound:  recvmmsg with UDP_GRO -> opened where it lies -> writev of virtio header, headers and payload slices. What was
 * opened is as it was sent, so its checksum is not verified again.
 */
#define _GNU_SOURCE
#include <openssl/evp.h>

/* A datagram lies in one piece, and right behind the one before it. */
enum { PIECES = 1, COMPLETE_SUMS = 1 };
#include "roofline-common.h"

/*
 *  0                   1                   2                   3
 * |     type = 4  |                  zero                         |
 * |                     receiver index                            |
 * |                     counter, 64 bits, little-endian           |
 * |                                                               |
 * |  sealed: inner packet, zeros up to a multiple of 16; tag (16) |
 */
enum { DATA_BYTES = 16, COUNTER = 8, TAG_BYTES = 16, KEY_BYTES = 32, NONCE_BYTES = 12, PADDED_TO = 16, DATA = 4 };
enum { SEALED_BYTES = 4 * 65536, MAX_HEADER = 20 + 60 };
static const uint32_t RECEIVER_INDEX = 1;

static EVP_CIPHER_CTX *sealing, *opening;
static uint64_t counter;
static unsigned mtu;
static uint8_t sealed[SEALED_BYTES] __attribute__((aligned(64)));

static void broken(const char *what) {
  fprintf(stderr, "%s failed\n", what);
  exit(1);
}

static void nonce_of(uint8_t *nonce, uint64_t number) {
  memset(nonce, 0, NONCE_BYTES - sizeof number);
  memcpy(nonce + NONCE_BYTES - sizeof number, &number, sizeof number); /* x86-64 and arm64 are little-endian */
}

/* Up to a multiple of 16, no further than the MTU. */
static unsigned padding_of(unsigned bytes) {
  unsigned padded = (bytes + PADDED_TO - 1) & -PADDED_TO;
  if (padded > mtu) padded = bytes > mtu ? bytes : mtu;
  return padded - bytes;
}

/* Seals a packet and queues it. */
static void add(const uint8_t *packet, unsigned bytes) {
  static const uint8_t zeros[PADDED_TO];
  unsigned padding = padding_of(bytes);
  if (queued_bytes + DATA_BYTES + bytes + padding + TAG_BYTES > SEALED_BYTES) flush();
  uint8_t *at = sealed + queued_bytes, nonce[NONCE_BYTES], *content = at + DATA_BYTES;
  uint32_t type = DATA;
  memcpy(at, &type, 4);
  memcpy(at + 4, &RECEIVER_INDEX, 4);
  memcpy(at + COUNTER, &counter, 8);
  nonce_of(nonce, counter++);
  int length;
  if (!EVP_EncryptInit_ex(sealing, NULL, NULL, NULL, nonce) ||
      !EVP_EncryptUpdate(sealing, content, &length, packet, bytes) ||
      (padding > 0 && !EVP_EncryptUpdate(sealing, content + bytes, &length, zeros, padding)) ||
      !EVP_EncryptFinal_ex(sealing, content + bytes + padding, &length) ||
      !EVP_CIPHER_CTX_ctrl(sealing, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, content + bytes + padding))
    broken("sealing");
  unsigned total = DATA_BYTES + bytes + padding + TAG_BYTES;
  pieces[queued][0] = (struct iovec){at, total};
  datagram_bytes[queued++] = total;
  queued_bytes += total;
}

/* As sum16, eight bytes at a time: this one runs over the payload. */
static uint64_t sum_all(const uint8_t *at, unsigned bytes) {
  uint64_t a = 0, b = 0, c = 0, d = 0;
  uint32_t words[4];
  for (; bytes >= sizeof words; at += sizeof words, bytes -= sizeof words) {
    memcpy(words, at, sizeof words);
    a += words[0];
    b += words[1];
    c += words[2];
    d += words[3];
  }
  uint8_t rest[16] = {0};
  memcpy(rest, at, bytes);
  return a + b + c + d + sum16(rest, sizeof rest);
}

/* The transport checksum, whose field holds the sum of the pseudo-header. */
static void complete(uint8_t *packet, unsigned bytes, unsigned start, unsigned field) {
  uint16_t checksum = ~fold(sum_all(packet + start, bytes - start));
  if (checksum == 0 && field == 6) checksum = 0xffff; /* UDP: 0 means none */
  memcpy(packet + start + field, &checksum, 2);
}

static void queue_packet(uint8_t *packet, unsigned bytes, const struct virtio *virtio) {
  if (virtio->flags & NEEDS_CHECKSUM) complete(packet, bytes, virtio->checksum_start, virtio->checksum_offset);
  add(packet, bytes);
}

static void queue_segments(uint8_t *packet, unsigned bytes, const struct virtio *virtio) {
  int is_udp = virtio->gso_type == GSO_UDP_L4;
  unsigned transport = virtio->checksum_start, size = virtio->gso_bytes;
  unsigned header_bytes = transport + (is_udp ? 8 : 4 * ((struct tcphdr *)(packet + transport))->doff);
  uint8_t first[MAX_HEADER];
  if (header_bytes > sizeof first) return;
  memcpy(first, packet, header_bytes);
  const struct iphdr *from = (struct iphdr *)first;
  uint16_t pseudo = pseudo_sum(from, 0);
  uint64_t ip_sum = sum16(first, transport) - from->tot_len - from->id - from->check;
  unsigned index = 0;
  for (unsigned at = header_bytes; at < bytes; at += size, index++) {
    if (queued == MAX_DATAGRAMS) flush();
    unsigned payload = bytes - at < size ? bytes - at : size;
    uint8_t *inner = packet + at - header_bytes;
    memcpy(inner, first, header_bytes);
    struct iphdr *ip = (struct iphdr *)inner;
    ip->tot_len = htons(header_bytes + payload);
    ip->id = htons(ntohs(from->id) + index);
    ip->check = ~fold(ip_sum + ip->tot_len + ip->id);
    unsigned transport_bytes = header_bytes - transport + payload;
    uint16_t partial = fold((uint64_t)pseudo + htons(transport_bytes));
    if (is_udp) {
      struct udphdr *udp = (struct udphdr *)(inner + transport);
      udp->len = htons(transport_bytes);
      udp->check = partial;
    } else {
      struct tcphdr *tcp = (struct tcphdr *)(inner + transport);
      tcp->seq = htonl(ntohl(tcp->seq) + index * size);
      uint8_t *flags = (uint8_t *)tcp + 13;
      if (index > 0) *flags &= ~0x80;         /* CWR */
      if (at + size < bytes) *flags &= ~0x09; /* FIN, PSH */
      tcp->check = partial;
    }
    complete(inner, header_bytes + payload, transport, virtio->checksum_offset);
    add(inner, header_bytes + payload);
  }
}

/* Opens a datagram where it lies; the bytes of its packet without padding, 0: there is none. */
static unsigned open_datagram(uint8_t *at, unsigned bytes) {
  uint8_t nonce[NONCE_BYTES], *content = at + DATA_BYTES;
  uint64_t number;
  int length;
  if (bytes < DATA_BYTES + 20 + TAG_BYTES || at[0] != DATA) return 0;
  unsigned sealed_bytes = bytes - DATA_BYTES - TAG_BYTES;
  memcpy(&number, at + COUNTER, sizeof number);
  nonce_of(nonce, number);
  if (!EVP_DecryptInit_ex(opening, NULL, NULL, NULL, nonce) ||
      !EVP_CIPHER_CTX_ctrl(opening, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, content + sealed_bytes) ||
      !EVP_DecryptUpdate(opening, content, &length, content, sealed_bytes) ||
      EVP_DecryptFinal_ex(opening, content + sealed_bytes, &length) <= 0)
    return 0;
  unsigned packet_bytes = ntohs(((struct iphdr *)content)->tot_len);
  return packet_bytes <= sealed_bytes ? packet_bytes : 0;
}

/* TCP and UDP, whole, without options: what may become part of a superpacket. */
static int may_merge(const uint8_t *packet) {
  int is_fragment = ((packet[6] & 0x3f) | packet[7]) != 0;
  return packet[0] == 0x45 && !is_fragment && (packet[9] == IPPROTO_TCP || packet[9] == IPPROTO_UDP);
}

/* Opens a datagram, and takes what it holds. */
static void deliver(uint8_t *datagram, unsigned bytes) {
  unsigned packet_bytes = open_datagram(datagram, bytes);
  uint8_t *packet = datagram + DATA_BYTES;
  if (packet_bytes > 0) take(packet, packet_bytes, may_merge(packet));
}

/* ---- set-up ---- */

static void read_key(const char *text, uint8_t *key) {
  if (strlen(text) != 2 * KEY_BYTES || strspn(text, "0123456789abcdef") != 2 * KEY_BYTES) {
    fprintf(stderr, "not a key: 64 hexadecimal digits, 0 to f\n");
    exit(2);
  }
  for (int i = 0; i < KEY_BYTES; i++) {
    char digits[3] = {text[2 * i], text[2 * i + 1], 0};
    key[i] = strtoul(digits, NULL, 16);
  }
}

static void prepare_ciphers(const char *send_key, const char *receive_key) {
  uint8_t key[KEY_BYTES];
  sealing = EVP_CIPHER_CTX_new();
  opening = EVP_CIPHER_CTX_new();
  read_key(send_key, key);
  if (!sealing || !EVP_EncryptInit_ex(sealing, EVP_chacha20_poly1305(), NULL, key, NULL)) broken("ChaCha20-Poly1305");
  read_key(receive_key, key);
  if (!opening || !EVP_DecryptInit_ex(opening, EVP_chacha20_poly1305(), NULL, key, NULL)) broken("ChaCha20-Poly1305");
}

int main(int argc, char **argv) {
  if (argc != 8) {
    fprintf(stderr, "usage: sealed-roofline DEVICE LOCAL_IPV4 REMOTE_IPV4 PORT MTU SEND_KEY RECEIVE_KEY\n");
    return 2;
  }
  mtu = atoi(argv[5]);
  prepare_ciphers(argv[6], argv[7]);
  open_tun(argv[1]);
  open_socket(argv[2], argv[3], atoi(argv[4]));
  prepare_messages(DATA_BYTES);
  puts("ready");
  fflush(stdout);
  pthread_t thread;
  errno = pthread_create(&thread, NULL, outbound, NULL);
  if (errno != 0) die("pthread_create");
  for (;;) inbound_turn();
}
