/*
 * A kernel that lacks something, for one program: preloaded (LD_PRELOAD), it refuses what the environment
 * variable LESSER_KERNEL names, as a kernel without it does. Words may be combined:
 *
 *   uso, tso            TUNSETOFFLOAD with these flags: EINVAL (linux/if_tun.h; USO came with Linux 6.2)
 *   udp-gro             setsockopt(UDP_GRO): ENOPROTOOPT (Linux 5.0)
 *   udp-segment         getsockopt(UDP_SEGMENT): ENOPROTOOPT (Linux 4.18)
 *   segment-send        a send with UDP_SEGMENT: EIO, as over a device that does no checksums (up to Linux 6.10)
 *   tcp-superpacket,    a write of one to a TUN device: EINVAL (UDP before Linux 6.2)
 *   udp-superpacket
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#define SOL_UDP_LEVEL 17
#define UDP_SEGMENT_OPTION 103
#define UDP_GRO_OPTION 104
#define TSO_FLAGS (TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)
#define USO_FLAGS 0x60
#define GSO_TYPE_OFFSET 1
#define GSO_UDP_L4 5
#define TUN_MAJOR 10
#define TUN_MINOR 200

static int lacks_uso, lacks_tso, lacks_gro, lacks_segment, lacks_segment_send, lacks_tcp, lacks_udp;

static int is_named(const char *word)
{
	const char *words = getenv("LESSER_KERNEL");
	size_t length = strlen(word);
	while (words && *words) {
		size_t next = strcspn(words, " ");
		if (next == length && strncmp(words, word, length) == 0)
			return 1;
		words += next + strspn(words + next, " ");
	}
	return 0;
}

__attribute__((constructor)) static void read_environment(void)
{
	lacks_uso = is_named("uso");
	lacks_tso = is_named("tso");
	lacks_gro = is_named("udp-gro");
	lacks_segment = is_named("udp-segment");
	lacks_segment_send = is_named("segment-send");
	lacks_tcp = is_named("tcp-superpacket");
	lacks_udp = is_named("udp-superpacket");
}

static int refuse(int error)
{
	errno = error;
	return -1;
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*real)(int, unsigned long, unsigned long) = dlsym(RTLD_NEXT, "ioctl");
	va_list arguments;
	va_start(arguments, request);
	unsigned long argument = va_arg(arguments, unsigned long);
	va_end(arguments);
	if (request == TUNSETOFFLOAD) {
		if (lacks_uso && (argument & USO_FLAGS))
			return refuse(EINVAL);
		if (lacks_tso && (argument & (TSO_FLAGS | USO_FLAGS)))
			return refuse(EINVAL);
	}
	return real(fd, request, argument);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	int (*real)(int, int, int, const void *, socklen_t) = dlsym(RTLD_NEXT, "setsockopt");
	if (lacks_gro && level == SOL_UDP_LEVEL && name == UDP_GRO_OPTION)
		return refuse(ENOPROTOOPT);
	return real(fd, level, name, value, length);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
	int (*real)(int, int, int, void *, socklen_t *) = dlsym(RTLD_NEXT, "getsockopt");
	if (lacks_segment && level == SOL_UDP_LEVEL && name == UDP_SEGMENT_OPTION)
		return refuse(ENOPROTOOPT);
	return real(fd, level, name, value, length);
}

/* Control data of a send is the size of its segments. */
int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
	int (*real)(int, struct mmsghdr *, unsigned int, int) = dlsym(RTLD_NEXT, "sendmmsg");
	if (lacks_segment_send) {
		unsigned int plain = 0;
		while (plain < count && messages[plain].msg_hdr.msg_controllen == 0)
			plain++;
		if (plain == 0)
			return refuse(EIO);
		count = plain;
	}
	return real(fd, messages, count, flags);
}

static int is_tun(int fd)
{
	struct stat status;
	return fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) &&
	       status.st_rdev == makedev(TUN_MAJOR, TUN_MINOR);
}

/* The virtio header comes first (linux/virtio_net.h). */
ssize_t writev(int fd, const struct iovec *parts, int count)
{
	ssize_t (*real)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");
	if ((lacks_tcp || lacks_udp) && count > 0 && is_tun(fd)) {
		int type = ((const unsigned char *)parts[0].iov_base)[GSO_TYPE_OFFSET];
		if (type != 0 && (type == GSO_UDP_L4 ? lacks_udp : lacks_tcp))
			return refuse(EINVAL);
	}
	return real(fd, parts, count);
}
