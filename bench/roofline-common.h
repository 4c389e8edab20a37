/*
 * What the two rooflines of `warren bench` have in common: the TUN, the socket, how packets are read in turns and sent in
 * groups, and how consecutive segments become a superpacket again. The program that includes it has the encapsulation:
 *
 *     COMPLETE_SUMS                  whether transport checksums on the wire are complete, or those of the pseudo-header
 *     queue_packet, queue_segments   a packet, or a superpacket, becomes datagrams in `pieces`
 *
 * What each of them is, and that neither is for traffic that matters, stands at its own beginning.
 */
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
/* Datagrams that wait, PIECES iovecs each. */
static struct iovec pieces[MAX_DATAGRAMS][PIECES];
static uint32_t datagram_bytes[MAX_DATAGRAMS];
static struct mmsghdr out[MAX_MESSAGES];
static char out_control[MAX_MESSAGES][CMSG_SPACE(sizeof(uint16_t))] __attribute__((aligned(8)));
static int queued;
static uint32_t queued_bytes, cursor = HEADROOM;

/* Takes what a datagram holds. */
static void deliver(uint8_t *datagram, unsigned bytes);
/* Each queues what a packet becomes: one datagram, or one for each segment of a superpacket. */
static void queue_packet(uint8_t *packet, unsigned bytes, const struct virtio *virtio);
static void queue_segments(uint8_t *packet, unsigned bytes, const struct virtio *virtio);

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
      message->msg_iovlen = PIECES * (next - first);
      if (PIECES == 1) { /* one behind the other in memory */
        pieces[first][0].iov_len = total;
        message->msg_iovlen = 1;
      }
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
    queue_packet(packet, bytes, &virtio);
  } else {
    queue_segments(packet, bytes, &virtio);
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
  uint16_t transport_bytes = head_header - 20 + merged_payload;
  if (merged > 1) {
    super.gso_type = is_udp ? GSO_UDP_L4 : GSO_TCPV4;
    super.header_bytes = head_header;
    super.gso_bytes = head_segment;
    ip->tot_len = htons(head_header + merged_payload);
    ip->check = 0;
    ip->check = ~fold(sum16(ip, 20));
    if (is_udp) ((struct udphdr *)transport)->len = htons(transport_bytes);
    else transport[13] |= last_flags;
  }
  if (merged > 1 || COMPLETE_SUMS) {
    uint16_t checksum = pseudo_sum(ip, transport_bytes);
    if (is_udp) ((struct udphdr *)transport)->check = checksum;
    else ((struct tcphdr *)transport)->check = checksum;
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
    for (unsigned at = 0; at < bytes; at += size) deliver(start + at, bytes - at < size ? bytes - at : size);
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

/* `header_bytes`: of the encapsulation, so that inner packets lie aligned. */
static void prepare_messages(unsigned header_bytes) {
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
    receive_iovecs[i] = (struct iovec){received[i] + HEADROOM - header_bytes, RECEIVE_BYTES};
    message->msg_name = &sources[i];
    message->msg_namelen = sizeof sources[i];
    message->msg_iov = &receive_iovecs[i];
    message->msg_iovlen = 1;
    message->msg_control = in_control[i];
  }
}

