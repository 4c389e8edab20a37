/*
 * The roofline of `warren bench`: the best that was found for a packet path in user space, and the program to beat.
 * It is written for speed and not to resemble src/datapath: where another order of system calls is faster, it has that
 * one. Buffers are of the same shape, and what goes over the wire is the same.
 *
 * Between the system calls it does only what TCP at the far side cannot do without: per-segment headers, the
 * VXLAN-GPE header, and the header of the superpacket that consecutive segments become again. No FDB, no check of
 * any kind, no counter, no fallback, one peer, inner IPv4 over outer IPv4. Never use it for traffic that matters.
 *
 *     cc -O2 -pthread -o roofline roofline.c          (beside it: roofline-common.h)
 *     ./roofline DEVICE LOCAL_IPV4 REMOTE_IPV4 PORT      (root; prints "ready", ends with SIGTERM)
 *
 * One thread per direction, each blocked in the call that brings its next packets; they share nothing.
 *
 * Outbound: read of a (super)packet from the TUN -> one sendmmsg of UDP_SEGMENT messages, header and payload iovecs.
 * Inbound:  recvmmsg with UDP_GRO -> writev of virtio header, headers and payload slices.
 *
 * What else was tried is in docs/benchmarks.md, "The roofline".
 */
#define _GNU_SOURCE

/* A datagram is its header slot and what was read from the TUN. */
enum { PIECES = 2, COMPLETE_SUMS = 0 };
#include "roofline-common.h"

/* src/wire/vxlan-gpe.ts */
enum { GPE_BYTES = 8, GPE_PARTIAL = 0x00200000, GPE_UDP = 0x80 };
static const uint32_t GPE_IPV4 = 0x0c000001, GPE_VNI = 42 << 8;

enum { HEADER_STRIDE = 192 };
static uint8_t headers[MAX_DATAGRAMS][HEADER_STRIDE] __attribute__((aligned(64)));

/* Queues a datagram: `head_bytes` of its header slot, then what was read from the TUN. */
static void add(size_t head_bytes, void *tail, size_t tail_bytes) {
  pieces[queued][0] = (struct iovec){headers[queued], head_bytes};
  pieces[queued][1] = (struct iovec){tail, tail_bytes};
  datagram_bytes[queued++] = head_bytes + tail_bytes;
  queued_bytes += head_bytes + tail_bytes;
}

static void write_gpe(uint8_t *at, int partial, unsigned transport, int is_udp) {
  uint32_t first = htonl(GPE_IPV4 | (partial ? GPE_PARTIAL : 0));
  uint32_t second = htonl(GPE_VNI | (partial ? transport >> 1 | (is_udp ? GPE_UDP : 0) : 0));
  memcpy(at, &first, 4);
  memcpy(at + 4, &second, 4);
}

static void queue_packet(uint8_t *packet, unsigned bytes, const struct virtio *virtio) {
  int partial = virtio->flags & NEEDS_CHECKSUM;
  write_gpe(headers[queued], partial, virtio->checksum_start, virtio->checksum_offset == 6);
  add(GPE_BYTES, packet, bytes);
}

static void queue_segments(uint8_t *packet, unsigned bytes, const struct virtio *virtio) {
  int is_udp = virtio->gso_type == GSO_UDP_L4;
  unsigned transport = virtio->checksum_start, size = virtio->gso_bytes;
  unsigned header_bytes = transport + (is_udp ? 8 : 4 * ((struct tcphdr *)(packet + transport))->doff);
  const struct iphdr *from = (struct iphdr *)packet;
  uint16_t pseudo = pseudo_sum(from, 0);
  uint64_t ip_sum = sum16(packet, transport) - from->tot_len - from->id - from->check;
  unsigned index = 0;
  for (unsigned at = header_bytes; at < bytes; at += size, index++) {
    if (queued == MAX_DATAGRAMS) flush();
    unsigned payload = bytes - at < size ? bytes - at : size;
    uint8_t *slot = headers[queued];
    write_gpe(slot, 1, transport, is_udp);
    memcpy(slot + GPE_BYTES, packet, header_bytes);
    struct iphdr *ip = (struct iphdr *)(slot + GPE_BYTES);
    ip->tot_len = htons(header_bytes + payload);
    ip->id = htons(ntohs(from->id) + index);
    ip->check = ~fold(ip_sum + ip->tot_len + ip->id);
    unsigned transport_bytes = header_bytes - transport + payload;
    uint16_t checksum = fold((uint64_t)pseudo + htons(transport_bytes));
    if (is_udp) {
      struct udphdr *udp = (struct udphdr *)((uint8_t *)ip + transport);
      udp->len = htons(transport_bytes);
      udp->check = checksum;
    } else {
      struct tcphdr *tcp = (struct tcphdr *)((uint8_t *)ip + transport);
      tcp->seq = htonl(ntohl(tcp->seq) + index * size);
      uint8_t *flags = (uint8_t *)tcp + 13;
      if (index > 0) *flags &= ~0x80;            /* CWR */
      if (at + size < bytes) *flags &= ~0x09;    /* FIN, PSH */
      tcp->check = checksum;
    }
    add(GPE_BYTES + header_bytes, packet + at, payload);
  }
}

/* Takes what a datagram holds. */
static void deliver(uint8_t *datagram, unsigned bytes) {
  uint32_t first_word;
  memcpy(&first_word, datagram, 4);
  take(datagram + GPE_BYTES, bytes - GPE_BYTES, ntohl(first_word) & GPE_PARTIAL);
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: roofline DEVICE LOCAL_IPV4 REMOTE_IPV4 PORT\n");
    return 2;
  }
  open_tun(argv[1]);
  open_socket(argv[2], argv[3], atoi(argv[4]));
  prepare_messages(GPE_BYTES);
  puts("ready");
  fflush(stdout);
  pthread_t thread;
  errno = pthread_create(&thread, NULL, outbound, NULL);
  if (errno != 0) die("pthread_create");
  for (;;) inbound_turn();
}
