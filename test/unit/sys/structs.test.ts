import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import * as netlinkConstants from '../../../src/netlink/constants.ts';
import * as constants from '../../../src/sys/constants.ts';
import {
  CMSGHDR,
  IFREQ,
  IOVEC,
  MMSGHDR,
  MSGHDR,
  POLLFD,
  SOCK_EXTENDED_ERR,
  SOCK_FILTER,
  SOCK_FPROG,
  SOCKADDR_IN,
  SOCKADDR_IN6,
  SOCKADDR_LL,
  SOCKADDR_NL,
  SOCKADDR_UN,
  TIMEVAL,
  TPACKET_AUXDATA,
  TPACKET_STATS,
} from '../../../src/sys/structs.ts';
import { describeUnless, lacking } from '../../helpers/requirements.ts';

/** Our field -> the C expression with the same value. */
const LAYOUTS: readonly [string, object, Record<string, string>][] = [
  [
    'IOVEC',
    IOVEC,
    {
      bytes: 'sizeof(struct iovec)',
      base: 'offsetof(struct iovec, iov_base)',
      length: 'offsetof(struct iovec, iov_len)',
    },
  ],
  [
    'MSGHDR',
    MSGHDR,
    {
      bytes: 'sizeof(struct msghdr)',
      name: 'offsetof(struct msghdr, msg_name)',
      nameLength: 'offsetof(struct msghdr, msg_namelen)',
      iov: 'offsetof(struct msghdr, msg_iov)',
      iovCount: 'offsetof(struct msghdr, msg_iovlen)',
      control: 'offsetof(struct msghdr, msg_control)',
      controlLength: 'offsetof(struct msghdr, msg_controllen)',
      flags: 'offsetof(struct msghdr, msg_flags)',
    },
  ],
  [
    'MMSGHDR',
    MMSGHDR,
    {
      bytes: 'sizeof(struct mmsghdr)',
      header: 'offsetof(struct mmsghdr, msg_hdr)',
      length: 'offsetof(struct mmsghdr, msg_len)',
    },
  ],
  [
    'CMSGHDR',
    CMSGHDR,
    {
      bytes: 'sizeof(struct cmsghdr)',
      length: 'offsetof(struct cmsghdr, cmsg_len)',
      level: 'offsetof(struct cmsghdr, cmsg_level)',
      type: 'offsetof(struct cmsghdr, cmsg_type)',
      data: 'CMSG_LEN(0)',
    },
  ],
  [
    'SOCKADDR_IN',
    SOCKADDR_IN,
    {
      bytes: 'sizeof(struct sockaddr_in)',
      family: 'offsetof(struct sockaddr_in, sin_family)',
      port: 'offsetof(struct sockaddr_in, sin_port)',
      address: 'offsetof(struct sockaddr_in, sin_addr)',
    },
  ],
  [
    'SOCKADDR_IN6',
    SOCKADDR_IN6,
    {
      bytes: 'sizeof(struct sockaddr_in6)',
      family: 'offsetof(struct sockaddr_in6, sin6_family)',
      port: 'offsetof(struct sockaddr_in6, sin6_port)',
      flowInfo: 'offsetof(struct sockaddr_in6, sin6_flowinfo)',
      address: 'offsetof(struct sockaddr_in6, sin6_addr)',
      scopeId: 'offsetof(struct sockaddr_in6, sin6_scope_id)',
    },
  ],
  [
    'SOCKADDR_UN',
    SOCKADDR_UN,
    {
      bytes: 'sizeof(struct sockaddr_un)',
      family: 'offsetof(struct sockaddr_un, sun_family)',
      path: 'offsetof(struct sockaddr_un, sun_path)',
    },
  ],
  [
    'POLLFD',
    POLLFD,
    {
      bytes: 'sizeof(struct pollfd)',
      fd: 'offsetof(struct pollfd, fd)',
      events: 'offsetof(struct pollfd, events)',
      revents: 'offsetof(struct pollfd, revents)',
    },
  ],
  [
    'IFREQ',
    IFREQ,
    {
      bytes: 'sizeof(struct ifreq)',
      name: 'offsetof(struct ifreq, ifr_name)',
      flags: 'offsetof(struct ifreq, ifr_flags)',
      nameBytes: 'IFNAMSIZ',
    },
  ],
  [
    'SOCK_FILTER',
    SOCK_FILTER,
    {
      bytes: 'sizeof(struct sock_filter)',
      code: 'offsetof(struct sock_filter, code)',
      ifTrue: 'offsetof(struct sock_filter, jt)',
      ifFalse: 'offsetof(struct sock_filter, jf)',
      operand: 'offsetof(struct sock_filter, k)',
    },
  ],
  [
    'SOCKADDR_LL',
    SOCKADDR_LL,
    {
      bytes: 'sizeof(struct sockaddr_ll)',
      family: 'offsetof(struct sockaddr_ll, sll_family)',
      protocol: 'offsetof(struct sockaddr_ll, sll_protocol)',
      interfaceIndex: 'offsetof(struct sockaddr_ll, sll_ifindex)',
      hardwareType: 'offsetof(struct sockaddr_ll, sll_hatype)',
      packetType: 'offsetof(struct sockaddr_ll, sll_pkttype)',
    },
  ],
  [
    'TPACKET_AUXDATA',
    TPACKET_AUXDATA,
    {
      bytes: 'sizeof(struct tpacket_auxdata)',
      length: 'offsetof(struct tpacket_auxdata, tp_len)',
      network: 'offsetof(struct tpacket_auxdata, tp_net)',
    },
  ],
  [
    'TPACKET_STATS',
    TPACKET_STATS,
    {
      bytes: 'sizeof(struct tpacket_stats)',
      packets: 'offsetof(struct tpacket_stats, tp_packets)',
      drops: 'offsetof(struct tpacket_stats, tp_drops)',
    },
  ],
  [
    'SOCK_EXTENDED_ERR',
    SOCK_EXTENDED_ERR,
    {
      bytes: 'sizeof(struct sock_extended_err)',
      errno: 'offsetof(struct sock_extended_err, ee_errno)',
      info: 'offsetof(struct sock_extended_err, ee_info)',
    },
  ],
  [
    'SOCK_FPROG',
    SOCK_FPROG,
    {
      bytes: 'sizeof(struct sock_fprog)',
      length: 'offsetof(struct sock_fprog, len)',
      filter: 'offsetof(struct sock_fprog, filter)',
    },
  ],
  [
    'SOCKADDR_NL',
    SOCKADDR_NL,
    {
      bytes: 'sizeof(struct sockaddr_nl)',
      family: 'offsetof(struct sockaddr_nl, nl_family)',
      port: 'offsetof(struct sockaddr_nl, nl_pid)',
      groups: 'offsetof(struct sockaddr_nl, nl_groups)',
    },
  ],
  [
    'TIMEVAL',
    TIMEVAL,
    {
      bytes: 'sizeof(struct timeval)',
      seconds: 'offsetof(struct timeval, tv_sec)',
      microseconds: 'offsetof(struct timeval, tv_usec)',
    },
  ],
];

const HEADERS = [
  'stddef.h',
  'stdio.h',
  'poll.h',
  'fcntl.h',
  'errno.h',
  'sys/socket.h',
  'sys/un.h',
  'sys/uio.h',
  'sys/eventfd.h',
  'sys/ioctl.h',
  'sys/file.h',
  'sys/mount.h',
  'sys/time.h',
  'sched.h',
  'netinet/in.h',
  'net/if.h',
  'netinet/udp.h',
  'time.h',
  'linux/errqueue.h',
  'linux/filter.h',
  'linux/sock_diag.h',
  'linux/if_tun.h',
  'linux/if_packet.h',
  'linux/if_ether.h',
  'linux/if_arp.h',
  'linux/netlink.h',
  'linux/rtnetlink.h',
  'linux/if_addr.h',
  'linux/if_link.h',
  'linux/veth.h',
  'linux/net_namespace.h',
  'linux/netfilter.h',
  'linux/netfilter/nfnetlink.h',
  'linux/netfilter/nf_tables.h',
];

/** What glibc keeps to itself (linux/in6.h, linux/socket.h), and what kernel headers before 6.2 lack. */
const KERNEL_ONLY = `
#ifndef IPV6_MTU
#define IPV6_MTU 24
#endif
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif
`;

/** A compiler of each C library and machine; the kernel's headers come last, as musl has none of its own. */
const COMPILERS = [
  { name: 'gcc', title: 'x86-64 or arm64, glibc', arguments: [] },
  {
    name: 'musl-gcc',
    title: 'musl',
    arguments: [
      '-idirafter',
      '/usr/include',
      '-idirafter',
      `/usr/include/${machineOf('musl-gcc')}-linux-gnu`,
    ],
  },
  { name: 'aarch64-linux-gnu-gcc', title: 'arm64, glibc', arguments: [] },
] as const;

/** What the compiler makes programs for, which is not Node's machine where Node is emulated. */
function machineOf(compiler: string): string {
  return spawnSync(compiler, ['-dumpmachine'], { encoding: 'utf8' }).stdout?.split('-')[0] ?? '';
}

/** What the compiler says of the expressions that do not have the values given. */
function differences(
  compiler: (typeof COMPILERS)[number],
  expected: Readonly<Record<string, number>>,
  expressions: Readonly<Record<string, string>>,
): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'warren-structs-'));
  try {
    const asserts = Object.entries(expressions).map(
      ([label, expression]) =>
        `_Static_assert((long)(${expression}) == ${expected[label]}L, "${label} is not ${expected[label]}");`,
    );
    const includes = HEADERS.map((header) => `#include <${header}>`);
    const source = ['#define _GNU_SOURCE', ...includes, KERNEL_ONLY, ...asserts, ''].join('\n');
    const file = join(folder, 'layout.c');
    writeFileSync(file, source);
    const { status, stderr } = spawnSync(compiler.name, [...compiler.arguments, '-fsyntax-only', file], {
      encoding: 'utf8',
    });
    const failed = [...stderr.matchAll(/static assertion failed: "(.*?)"/g)].map(([, text]) => text!);
    // Whatever else is wrong with the program must not look like agreement.
    expect(status === 0 || failed.length > 0, stderr).toBe(true);
    return failed;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

for (const compiler of COMPILERS) {
  const reason = lacking(compiler.name);
  describeUnless(reason, `layouts against ${compiler.name} (${compiler.title})`, () => {
    it.each(LAYOUTS)('%s has the offsets of the headers', (_name, layout, expressions) => {
      expect(Object.keys(expressions).sort()).toEqual(Object.keys(layout).sort());
      expect(differences(compiler, layout as Record<string, number>, expressions)).toEqual([]);
    });

    it('the constants are those of the headers', () => {
      const names = Object.keys(constants);
      const expressions = Object.fromEntries(names.map((name) => [name, name]));
      expect(differences(compiler, { ...constants }, expressions)).toEqual([]);
    });

    it('the numbers of netlink are those of the headers', () => {
      const names = Object.keys(netlinkConstants);
      const expressions = Object.fromEntries(names.map((name) => [name, name]));
      expect(differences(compiler, { ...netlinkConstants }, expressions)).toEqual([]);
    });

    it('a wrong offset is noticed', () => {
      const wrong = { bytes: 17 };
      expect(differences(compiler, wrong, { bytes: 'sizeof(struct iovec)' })).toEqual(['bytes is not 17']);
    });
  });
}
