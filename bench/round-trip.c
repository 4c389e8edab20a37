/*
 * Request and response over UDP, for `warren bench`: how long one small datagram takes there and back. In C, so that
 * what is measured is the network and not a runtime.
 *
 *     cc -O2 -o round-trip round-trip.c
 *     ./round-trip server IPV4 PORT                        (prints "ready", ends with SIGTERM)
 *     ./round-trip client IPV4 PORT SECONDS BYTES          (prints one line of JSON)
 *
 * One request is under way at a time. One that is not answered within 200 ms counts as lost; late answers are
 * told apart by the number that each carries. Client and server stay on one CPU: left to the scheduler they are now
 * together and now apart, and waking a CPU that sleeps takes longer than most overlays do.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

enum { MAX_SAMPLES = 4 * 1024 * 1024, MAX_BYTES = 1400, WARM_UP = 200, TIMEOUT_US = 200 * 1000 };

static char buffer[MAX_BYTES];
static float samples[MAX_SAMPLES];

static void die(const char *what) {
  perror(what);
  exit(1);
}

static double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* To the first of the CPUs that this process may use; stays where it is if that fails. */
static void stay_on_one_cpu(void) {
  cpu_set_t allowed, one;
  int cpu = 0;
  if (sched_getaffinity(0, sizeof allowed, &allowed) < 0) return;
  while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, &allowed)) cpu++;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  sched_setaffinity(0, sizeof one, &one);
}

static struct sockaddr_in parse(const char *address, const char *port) {
  struct sockaddr_in parsed = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  if (!inet_aton(address, &parsed.sin_addr)) {
    fprintf(stderr, "not an IPv4 address: %s\n", address);
    exit(2);
  }
  return parsed;
}

static void serve(int fd, struct sockaddr_in own) {
  if (bind(fd, (struct sockaddr *)&own, sizeof own) < 0) die("bind");
  puts("ready");
  fflush(stdout);
  for (;;) {
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ssize_t bytes = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &length);
    if (bytes >= 0) sendto(fd, buffer, bytes, 0, (struct sockaddr *)&from, length);
  }
}

/* The answer to request `number`; 0 if it did not come in time. */
static int await(int fd, uint64_t number, double sent_us) {
  for (;;) {
    uint64_t got;
    ssize_t bytes = recv(fd, buffer, sizeof buffer, 0);
    if (bytes >= (ssize_t)sizeof got) {
      memcpy(&got, buffer, sizeof got);
      if (got == number) return 1;
    }
    if (now_us() - sent_us > TIMEOUT_US) return 0;
  }
}

static int ask(int fd, struct sockaddr_in server, double seconds, int bytes) {
  struct timeval timeout = {.tv_usec = TIMEOUT_US};
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0) die("SO_RCVTIMEO");
  if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0) die("connect");
  unsigned count = 0, lost = 0;
  double end_us = now_us() + seconds * 1e6;
  for (uint64_t number = 0; count < MAX_SAMPLES; number++) {
    memcpy(buffer, &number, sizeof number);
    double sent_us = now_us();
    if (sent_us > end_us) break;
    if (send(fd, buffer, bytes, 0) < 0 && errno != ECONNREFUSED && errno != ENOBUFS) die("send");
    int answered = await(fd, number, sent_us);
    double took_us = now_us() - sent_us;
    if (number < WARM_UP) continue;
    if (answered) samples[count++] = took_us;
    else lost++;
  }
  if (count == 0) {
    fprintf(stderr, "no request was answered\n");
    return 1;
  }
  qsort(samples, count, sizeof samples[0], ascending);
  printf("{\"answered\":%u,\"lost\":%u,\"p50Us\":%.2f,\"p99Us\":%.2f}\n", count, lost, samples[count / 2],
         samples[(uint64_t)count * 99 / 100]);
  return 0;
}

int main(int argc, char **argv) {
  stay_on_one_cpu();
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0) die("socket");
  if (argc == 4 && strcmp(argv[1], "server") == 0) serve(fd, parse(argv[2], argv[3]));
  int bytes = argc == 6 ? atoi(argv[5]) : 0;
  if (bytes < (int)sizeof(uint64_t) || bytes > MAX_BYTES || strcmp(argv[1], "client") != 0) {
    fprintf(stderr, "usage: round-trip server IPV4 PORT | client IPV4 PORT SECONDS BYTES (8 to %d)\n", MAX_BYTES);
    return 2;
  }
  return ask(fd, parse(argv[2], argv[3]), atof(argv[4]), bytes);
}
