/*
 * The roofline of `warren bench`: the best that was found for a packet path in user space, and the program to beat.
 * It is written for speed and not to resemble src/datapath: where another order of system calls is faster, it has that
 * one. Buffers are of the same shape, and what goes over the wire is the same.
 *
 * Between the system calls it does only what TCP at the far side cannot do without: per-segment headers, the
 * VXLAN-GPE header, and the header of the superpacket that consecutive segments become again. No FDB, no check of
 * any kind, no counter, no fallback, one peer, inner IPv4 over outer IPv4. Never use it for traffic that matters.
 *
 *     cc -O2 -pthread -o roofline roofline.c
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
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Headers of older C libraries and kernels lack these. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* linux/virtio_net.h */
struct virtio {
  uint8_t flags, gso_type;
  uint16_t header_bytes, gso_bytes, checksum_start, checksum_offset;
};
enum { VIRTIO_BYTES = 10, NEEDS_CHECKSUM = 1, GSO_NONE = 0, GSO_TCPV4 = 1, GSO_UDP_L4 = 5 };

/* src/wire/vxlan-gpe.ts */
enum { GPE_BYTES = 8, GPE_PARTIAL = 0x00200000, GPE_UDP = 0x80 };
static const uint32_t GPE_IPV4 = 0x0c000001, GPE_VNI = 42 << 8;

/* Outbound. A turn is what is read before it is sent. */
enum {
  TURN_PACKETS = 64,
  LARGE_PACKET = 8192, /* sent at once: a superpacket fills a send by itself */
  YIELD_PACKETS = 4,   /* as many waiting small packets are a burst, of which more may be to come */
  FLUSH_BYTES = 60 * 1024,
  MAX_PACKET = 65535,
  HEADROOM = 64,
  PACKETS_BYTES = 4 * 65536,
  MAX_DATAGRAMS = 1024,
  MAX_MESSAGES = 64,
  HEADER_STRIDE = 192,
  MAX_SEGMENTS_PER_SEND = 64,
  MAX_SEND_BYTES = 65507
};

/* Inbound. */
enum {
  RECEIVE_MESSAGES = 16,
  RECEIVE_BYTES = 65535,
  RECEIVE_STRIDE = 65536 + 4 * 64,
  LARGE_MESSAGE = 8192, /* after one the next is received alone, so that it is written while still in the cache */
  MAX_MERGED = 128,
  MAX_MERGED_UDP = 64,
  BUFFER_BYTES = 4 * 1024 * 1024
};

static int tun, sock;
static struct sockaddr_in peer;

/* ---- outbound ---- */

static uint8_t packets[PACKETS_BYTES] __attribute__((aligned(64)));
static uint8_t headers[MAX_DATAGRAMS][HEADER_STRIDE] __attribute__((aligned(64)));
static struct iovec pieces[MAX_DATAGRAMS][2];
static uint32_t datagram_bytes[MAX_DATAGRAMS];
static struct mmsghdr out[MAX_MESSAGES];
static char out_control[MAX_MESSAGES][CMSG_SPACE(sizeof(uint16_t))] __attribute__((aligned(8)));
static int queued;
static uint32_t queued_bytes, cursor = HEADROOM;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static uint16_t fold(uint64_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

/* Sums of 16-bit words in memory order: a one's complement sum does not mind the byte order. */
static uint64_t sum16(const void *at, int bytes) {
  const uint16_t *words = at;
  uint64_t sum = 0;
  for (int i = 0; i < bytes / 2; i++) sum += words[i];
  return sum;
}

static uint16_t pseudo_sum(const struct iphdr *ip, uint16_t transport_bytes) {
  return fold(sum16(&ip->saddr, 8) + htons(ip->protocol) + htons(transport_bytes));
}

static void flush(void) {
  int next = 0;
  while (next < queued) {
    int messages = 0;
    while (messages < MAX_MESSAGES && next < queued) {
      int first = next++;
      uint32_t size = datagram_bytes[first], total = size;
      while (next < queued && next - first < MAX_SEGMENTS_PER_SEND) {
        uint32_t bytes = datagram_bytes[next];
        if (bytes > size || total + bytes > MAX_SEND_BYTES) break;
        total += bytes;
        next++;
        if (bytes < size) break;
      }
      struct msghdr *message = &out[messages].msg_hdr;
      message->msg_iov = pieces[first];
      message->msg_iovlen = 2 * (next - first);
      message->msg_controllen = next - first > 1 ? sizeof out_control[0] : 0;
      *(uint16_t *)CMSG_DATA((struct cmsghdr *)out_control[messages]) = size;
      messages++;
    }
    for (int sent = 0; sent < messages;) {
      int n = sendmmsg(sock, out + sent, messages - sent, 0);
      if (n > 0) sent += n;
      else if (errno != EINTR) sent++;
    }
  }
  queued = 0;
  queued_bytes = 0;
  cursor = HEADROOM;
}

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

static void segment(uint8_t *packet, unsigned bytes, const struct virtio *virtio) {
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

/* Reads a packet and queues what it becomes; returns its bytes, 0 if there is none. */
static size_t take_packet(int flags) {
  uint8_t *packet = packets + cursor;
  struct iovec whole = {packet - VIRTIO_BYTES, VIRTIO_BYTES + MAX_PACKET};
  ssize_t n = preadv2(tun, &whole, 1, -1, flags);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) die("TUN");
    return 0;
  }
  if (packet[0] >> 4 != 4) return n;
  struct virtio virtio;
  memcpy(&virtio, packet - VIRTIO_BYTES, VIRTIO_BYTES);
  unsigned bytes = n - VIRTIO_BYTES;
  if (virtio.gso_type == GSO_NONE) {
    int partial = virtio.flags & NEEDS_CHECKSUM;
    write_gpe(headers[queued], partial, virtio.checksum_start, virtio.checksum_offset == 6);
    add(GPE_BYTES, packet, bytes);
  } else {
    segment(packet, bytes, &virtio);
  }
  cursor = (cursor + n + 2 * HEADROOM - 1) & -HEADROOM;
  if (queued_bytes >= FLUSH_BYTES || queued == MAX_DATAGRAMS || cursor + MAX_PACKET > PACKETS_BYTES) flush();
  return n;
}

/*
 * One turn. A superpacket is sent at once, and so is a small packet where the turn before had no more than one. In a
 * burst all that is there is sent together, and a sender that waits for this core may first add to it: the fewer and
 * larger the messages are, the more of both cores is left to those at the two ends.
 */
static void outbound_turn(void) {
  static int was_lone = 1;
  int count = 1, may_yield = 1;
  size_t bytes = take_packet(0);
  if (was_lone) flush();
  while (bytes < LARGE_PACKET && count < TURN_PACKETS) {
    bytes = take_packet(RWF_NOWAIT);
    if (bytes > 0) {
      count++;
    } else if (may_yield && count >= YIELD_PACKETS) {
      may_yield = 0;
      sched_yield();
    } else {
      break;
    }
  }
  flush();
  was_lone = count == 1 && bytes < LARGE_PACKET;
}

static void *outbound(void *unused) {
  for (;;) outbound_turn();
  return unused;
}

/* ---- inbound ---- */

static uint8_t received[RECEIVE_MESSAGES][RECEIVE_STRIDE] __attribute__((aligned(64)));
static struct iovec receive_iovecs[RECEIVE_MESSAGES];
static struct sockaddr_in sources[RECEIVE_MESSAGES];
static char in_control[RECEIVE_MESSAGES][CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
static struct mmsghdr in[RECEIVE_MESSAGES];
static int batch = RECEIVE_MESSAGES;

/* The superpacket that is being put together; `merged` segments, 0: none. */
static uint8_t *head;
static unsigned merged, head_header, head_segment, merged_payload;
static uint32_t next_sequence;
static uint8_t last_flags;
static struct iovec slices[MAX_MERGED + 1];
static struct virtio super;

static void write_slices(int count) {
  while (writev(tun, slices, count) < 0 && errno == EINTR);
}

static void write_merged(void) {
  if (merged == 0) return;
  struct iphdr *ip = (struct iphdr *)head;
  int is_udp = ip->protocol == IPPROTO_UDP;
  uint8_t *transport = head + 20;
  super = (struct virtio){.flags = NEEDS_CHECKSUM, .checksum_start = 20, .checksum_offset = is_udp ? 6 : 16};
  if (merged > 1) {
    super.gso_type = is_udp ? GSO_UDP_L4 : GSO_TCPV4;
    super.header_bytes = head_header;
    super.gso_bytes = head_segment;
    ip->tot_len = htons(head_header + merged_payload);
    ip->check = 0;
    ip->check = ~fold(sum16(ip, 20));
    uint16_t transport_bytes = head_header - 20 + merged_payload;
    uint16_t checksum = pseudo_sum(ip, transport_bytes);
    if (is_udp) {
      ((struct udphdr *)transport)->len = htons(transport_bytes);
      ((struct udphdr *)transport)->check = checksum;
    } else {
      transport[13] |= last_flags;
      ((struct tcphdr *)transport)->check = checksum;
    }
  }
  slices[0] = (struct iovec){&super, VIRTIO_BYTES};
  slices[1] = (struct iovec){head, head_header + head_segment};
  write_slices(merged + 1);
  merged = 0;
}

/* Whether the packet goes on where the superpacket ends. */
static int follows(const uint8_t *packet, unsigned header_bytes, unsigned payload) {
  if (merged == 0 || header_bytes != head_header || payload > head_segment || payload == 0) return 0;
  if (head_header + merged_payload + payload > MAX_PACKET) return 0;
  if (memcmp(packet + 12, head + 12, 12) != 0 || packet[9] != head[9]) return 0; /* addresses, ports, protocol */
  if (packet[9] == IPPROTO_UDP) return merged < MAX_MERGED_UDP;
  const struct tcphdr *tcp = (struct tcphdr *)(packet + 20), *first = (struct tcphdr *)(head + 20);
  return merged < MAX_MERGED && ntohl(tcp->seq) == next_sequence && tcp->ack_seq == first->ack_seq &&
         tcp->window == first->window && memcmp(tcp + 1, first + 1, header_bytes - 40) == 0;
}

static void take(uint8_t *packet, unsigned bytes, int partial) {
  int is_udp = packet[9] == IPPROTO_UDP;
  if (!partial || packet[0] != 0x45) { /* ICMP, and what else has no partial checksum: as it came */
    write_merged();
    super = (struct virtio){0};
    slices[0] = (struct iovec){&super, VIRTIO_BYTES};
    slices[1] = (struct iovec){packet, bytes};
    write_slices(2);
    return;
  }
  unsigned header_bytes = 20 + (is_udp ? 8 : 4 * ((struct tcphdr *)(packet + 20))->doff);
  unsigned payload = bytes - header_bytes;
  uint8_t flags = is_udp ? 0 : packet[33] & 0x0f; /* FIN, SYN, RST, PSH */
  if (follows(packet, header_bytes, payload)) {
    slices[1 + merged++] = (struct iovec){packet + header_bytes, payload};
    merged_payload += payload;
    next_sequence += payload;
    last_flags = flags & 0x09;
    if (flags != 0 || payload < head_segment) write_merged();
    return;
  }
  write_merged();
  head = packet;
  merged = 1;
  head_header = header_bytes;
  head_segment = merged_payload = payload;
  last_flags = 0;
  if (!is_udp) next_sequence = ntohl(((struct tcphdr *)(packet + 20))->seq) + payload;
  if (payload == 0 || flags != 0) write_merged();
}

/* Blocks until something comes, and writes it and what came with it. */
static void inbound_turn(void) {
  for (int i = 0; i < batch; i++) in[i].msg_hdr.msg_controllen = sizeof in_control[0];
  int n = recvmmsg(sock, in, batch, MSG_WAITFORONE, NULL);
  for (int i = 0; i < n; i++) {
    unsigned bytes = in[i].msg_len, size = bytes;
    struct cmsghdr *control = CMSG_FIRSTHDR(&in[i].msg_hdr);
    if (control && control->cmsg_type == UDP_GRO) size = *(int *)CMSG_DATA(control);
    uint8_t *start = receive_iovecs[i].iov_base;
    for (unsigned at = 0; at < bytes; at += size) {
      unsigned datagram = bytes - at < size ? bytes - at : size;
      uint32_t first_word;
      memcpy(&first_word, start + at, 4);
      take(start + at + GPE_BYTES, datagram - GPE_BYTES, ntohl(first_word) & GPE_PARTIAL);
    }
    batch = bytes >= LARGE_MESSAGE ? 1 : RECEIVE_MESSAGES;
  }
  write_merged();
}

/* ---- set-up ---- */

static void open_tun(const char *name) {
  tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (tun < 0) die("/dev/net/tun");
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE | IFF_VNET_HDR};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (ioctl(tun, TUNSETIFF, &request) < 0) die("TUNSETIFF");
  int bytes = VIRTIO_BYTES;
  if (ioctl(tun, TUNSETVNETHDRSZ, &bytes) < 0) die("TUNSETVNETHDRSZ");
  unsigned long offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  if (ioctl(tun, TUNSETOFFLOAD, offloads | TUN_F_USO4 | TUN_F_USO6) < 0 && ioctl(tun, TUNSETOFFLOAD, offloads) < 0)
    die("TUNSETOFFLOAD");
}

static void set(int level, int option, int value) {
  if (setsockopt(sock, level, option, &value, sizeof value) < 0) die("setsockopt");
}

static void open_socket(const char *local, const char *remote, int port) {
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(port)};
  peer = own;
  if (!inet_aton(local, &own.sin_addr) || !inet_aton(remote, &peer.sin_addr)) {
    fprintf(stderr, "not an IPv4 address: %s or %s\n", local, remote);
    exit(2);
  }
  sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (sock < 0) die("socket");
  set(SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES);
  set(SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES);
  set(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
  set(IPPROTO_UDP, UDP_GRO, 1);
  if (bind(sock, (struct sockaddr *)&own, sizeof own) < 0) die("bind");
}

static void prepare_messages(void) {
  for (int i = 0; i < MAX_MESSAGES; i++) {
    struct msghdr *message = &out[i].msg_hdr;
    message->msg_name = &peer;
    message->msg_namelen = sizeof peer;
    message->msg_control = out_control[i];
    struct cmsghdr *control = (struct cmsghdr *)out_control[i];
    control->cmsg_level = IPPROTO_UDP;
    control->cmsg_type = UDP_SEGMENT;
    control->cmsg_len = CMSG_LEN(sizeof(uint16_t));
  }
  for (int i = 0; i < RECEIVE_MESSAGES; i++) {
    struct msghdr *message = &in[i].msg_hdr;
    receive_iovecs[i] = (struct iovec){received[i] + HEADROOM - GPE_BYTES, RECEIVE_BYTES};
    message->msg_name = &sources[i];
    message->msg_namelen = sizeof sources[i];
    message->msg_iov = &receive_iovecs[i];
    message->msg_iovlen = 1;
    message->msg_control = in_control[i];
  }
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: roofline DEVICE LOCAL_IPV4 REMOTE_IPV4 PORT\n");
    return 2;
  }
  open_tun(argv[1]);
  open_socket(argv[2], argv[3], atoi(argv[4]));
  prepare_messages();
  puts("ready");
  fflush(stdout);
  pthread_t thread;
  errno = pthread_create(&thread, NULL, outbound, NULL);
  if (errno != 0) die("pthread_create");
  for (;;) inbound_turn();
}
