/*
 * Sends datagrams from many forged addresses, for `warren bench flood`: handshakes that a host under attack has to look at.
 *
 *     cc -O2 -o handshake-flood handshake-flood.c
 *     ./handshake-flood IPV4 PORT PER_SECOND COUNT BYTES FILE     (prints how many were sent)
 *
 * The file is datagrams of BYTES bytes one behind the other, of which COUNT are sent, again and again, each from another
 * address of 198.18.0.0/15 (RFC 2544: for benchmarks). Needs CAP_NET_RAW.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { MAX_DATAGRAM = 1400, MAX_DATAGRAMS = 4096, BATCH = 32, HEADERS = sizeof(struct iphdr) + sizeof(struct udphdr) };

static uint8_t datagrams[MAX_DATAGRAMS * MAX_DATAGRAM];
static uint8_t packets[BATCH][HEADERS + MAX_DATAGRAM];

static void die(const char *what) {
  perror(what);
  exit(1);
}

static double now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
  if (argc != 7) {
    fprintf(stderr, "usage: %s IPV4 PORT PER_SECOND COUNT BYTES FILE\n", argv[0]);
    return 2;
  }
  struct sockaddr_in to = {.sin_family = AF_INET};
  if (!inet_aton(argv[1], &to.sin_addr)) die(argv[1]);
  uint16_t port = htons(atoi(argv[2]));
  double per_second = atof(argv[3]);
  uint64_t wanted = strtoull(argv[4], NULL, 10);
  size_t bytes = atoi(argv[5]);
  if (bytes < 1 || bytes > MAX_DATAGRAM) {
    fprintf(stderr, "BYTES is from 1 to %d\n", MAX_DATAGRAM);
    return 2;
  }
  FILE *file = fopen(argv[6], "r");
  if (file == NULL) die(argv[6]);
  size_t count = fread(datagrams, bytes, MAX_DATAGRAMS, file);
  if (count == 0) die("no datagrams");
  int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
  if (fd < 0) die("socket");

  struct mmsghdr messages[BATCH] = {0};
  struct iovec pieces[BATCH];
  for (int i = 0; i < BATCH; i++) {
    struct iphdr *ip = (struct iphdr *)packets[i];
    struct udphdr *udp = (struct udphdr *)(packets[i] + sizeof *ip);
    *ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP, .daddr = to.sin_addr.s_addr};
    ip->tot_len = htons(HEADERS + bytes);
    /* A checksum of zero says that there is none (RFC 768). */
    *udp = (struct udphdr){.dest = port, .len = htons(sizeof *udp + bytes)};
    pieces[i] = (struct iovec){packets[i], HEADERS + bytes};
    messages[i].msg_hdr = (struct msghdr){.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &pieces[i], .msg_iovlen = 1};
  }

  double start = now_s();
  uint64_t sent = 0;
  uint32_t random = 1;
  while (sent < wanted) {
    int64_t due = (int64_t)((now_s() - start) * per_second) - (int64_t)sent;
    if (due > (int64_t)(wanted - sent)) due = wanted - sent;
    if (due < 1) {
      struct timespec pause = {0, 200 * 1000};
      nanosleep(&pause, NULL);
      continue;
    }
    int batch = due < BATCH ? (int)due : BATCH;
    for (int i = 0; i < batch; i++) {
      random = random * 1664525 + 1013904223;
      ((struct iphdr *)packets[i])->saddr = htonl(0xc6120000u | (random >> 8 & 0x1ffff));
      ((struct udphdr *)(packets[i] + sizeof(struct iphdr)))->source = htons(1024 + (random >> 16) % 60000);
      memcpy(packets[i] + HEADERS, datagrams + (sent + i) % count * bytes, bytes);
    }
    int done = sendmmsg(fd, messages, batch, 0);
    if (done < 0) die("sendmmsg");
    sent += done;
  }
  printf("%llu\n", (unsigned long long)sent);
  return 0;
}
