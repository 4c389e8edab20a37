/**
 * The C library through koffi: prototypes only, no logic.
 *
 * Every pointer is declared as `uintptr_t` and passed as a plain number (an arena's base address plus an
 * offset). That is exact, because Linux user addresses fit 48 bits (57 with 5-level paging only on request),
 * and it is the one form that allocates nothing per call (docs/architecture.md, "What a call costs").
 *
 * Functions return what C returns; `errno()` right after a -1 tells why. `sys/calls.ts` has the checked forms
 * for cold paths.
 *
 * `ioctl`, `open` and `fcntl` are variadic in C. On Linux x86-64 and arm64 integer arguments of variadic
 * functions travel as those of any other, so a fixed prototype is right (unlike Apple's arm64).
 */
import koffi from 'koffi';
import { WarrenError } from '../errors.ts';

// structs.ts has the layouts of these two.
if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) {
  throw new WarrenError(
    'PLATFORM_UNSUPPORTED',
    `warren runs on Linux on x86-64 and arm64, not on ${process.platform}/${process.arch}`,
  );
}

// null: the symbols of the running program, which holds the C library, glibc or musl.
const library = koffi.load(null);

type Call1 = (a: number) => number;
type Call2 = (a: number, b: number) => number;
type Call3 = (a: number, b: number, c: number) => number;
type Call4 = (a: number, b: number, c: number, d: number) => number;
type Call5 = (a: number, b: number, c: number, d: number, e: number) => number;

export const errno = koffi.errno as () => number;

export const open: (path: string, flags: number) => number = library.func(
  'int open(const char *path, int flags)',
);
export const close: Call1 = library.func('int close(int fd)');
export const read: Call3 = library.func('long read(int fd, uintptr_t buffer, size_t count)');
export const write: Call3 = library.func('long write(int fd, uintptr_t buffer, size_t count)');
export const writev: Call3 = library.func('long writev(int fd, uintptr_t iov, int count)');
/** `request` is `unsigned long` in glibc and `int` in musl: both read the same low 32 bits. */
export const ioctl: Call3 = library.func('int ioctl(int fd, unsigned long request, uintptr_t argument)');
export const socket: Call3 = library.func('int socket(int domain, int type, int protocol)');
export const bind: Call3 = library.func('int bind(int fd, uintptr_t address, uint32_t length)');
export const connect: Call3 = library.func('int connect(int fd, uintptr_t address, uint32_t length)');
export const getsockname: Call3 = library.func(
  'int getsockname(int fd, uintptr_t address, uintptr_t length)',
);
export const setsockopt: Call5 = library.func(
  'int setsockopt(int fd, int level, int name, uintptr_t value, uint32_t length)',
);
export const getsockopt: Call5 = library.func(
  'int getsockopt(int fd, int level, int name, uintptr_t value, uintptr_t length)',
);
export const sendmsg: Call3 = library.func('long sendmsg(int fd, uintptr_t message, int flags)');
export const sendmmsg: Call4 = library.func('int sendmmsg(int fd, uintptr_t vector, uint count, int flags)');
export const recvmmsg: Call5 = library.func(
  'int recvmmsg(int fd, uintptr_t vector, uint count, int flags, uintptr_t timeout)',
);
export const poll: Call3 = library.func('int poll(uintptr_t fds, unsigned long count, int timeoutMs)');
export const eventfd: Call2 = library.func('int eventfd(uint initial, int flags)');
export const sendto: (
  fd: number,
  buffer: number,
  length: number,
  flags: number,
  address: number,
  addressLength: number,
) => number = library.func(
  'long sendto(int fd, uintptr_t buffer, size_t length, int flags, uintptr_t address, uint32_t addressLength)',
);
export const send: Call4 = library.func('long send(int fd, uintptr_t buffer, size_t length, int flags)');
export const recv: Call4 = library.func('long recv(int fd, uintptr_t buffer, size_t length, int flags)');
export const socketpair: Call4 = library.func(
  'int socketpair(int domain, int type, int protocol, uintptr_t fds)',
);
export const recvfrom: (
  fd: number,
  buffer: number,
  length: number,
  flags: number,
  address: number,
  addressLength: number,
) => number = library.func(
  'long recvfrom(int fd, uintptr_t buffer, size_t length, int flags, uintptr_t address, uintptr_t addressLength)',
);
export const flock: Call2 = library.func('int flock(int fd, int operation)');
/** Ends the process with all its threads; `exit` would wait for those that do not end. */
export const exitNow: Call1 = library.func('void _exit(int status)');
/** Moves the calling thread alone into a namespace. */
export const setns: Call2 = library.func('int setns(int fd, int type)');
/** Gives the calling thread alone a new namespace. */
export const unshare: Call1 = library.func('int unshare(int flags)');
export const mount: (source: string, target: string, type: string, flags: number, data: number) => number =
  library.func(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, uintptr_t data)',
  );
export const umount2: (target: string, flags: number) => number = library.func(
  'int umount2(const char *target, int flags)',
);
/** 0: there is no interface of that name. */
export const ifNameToIndex: (name: string) => number = library.func('uint if_nametoindex(const char *name)');
