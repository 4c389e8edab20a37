import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as constants from '../../../src/sys/constants.ts';
import {
  CMSGHDR,
  IFREQ,
  IOVEC,
  MMSGHDR,
  MSGHDR,
  POLLFD,
  SOCKADDR_IN,
  SOCKADDR_IN6,
} from '../../../src/sys/structs.ts';

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
];

const HEADERS = [
  'stddef.h',
  'stdio.h',
  'poll.h',
  'fcntl.h',
  'errno.h',
  'sys/socket.h',
  'sys/uio.h',
  'sys/eventfd.h',
  'sys/ioctl.h',
  'netinet/in.h',
  'net/if.h',
  'netinet/udp.h',
  'linux/if_tun.h',
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

/** Compiles a program that prints `label value` lines for C expressions, and reads them. */
function evaluate(compiler: string, expressions: Record<string, string>): Record<string, number> {
  const folder = mkdtempSync(join(tmpdir(), 'warren-structs-'));
  try {
    const prints = Object.entries(expressions).map(
      ([label, expression]) => `printf("${label} %ld\\n", (long)(${expression}));`,
    );
    const source = `#define _GNU_SOURCE\n${HEADERS.map((header) => `#include <${header}>`).join('\n')}${KERNEL_ONLY}\nint main(void) {\n${prints.join('\n')}\nreturn 0;\n}\n`;
    writeFileSync(join(folder, 'layout.c'), source);
    const compiled = spawnSync(compiler, ['-o', join(folder, 'layout'), join(folder, 'layout.c')], {
      encoding: 'utf8',
    });
    expect(compiled.status, compiled.stderr).toBe(0);
    const output = spawnSync(join(folder, 'layout'), { encoding: 'utf8' }).stdout;
    return Object.fromEntries(
      output
        .trim()
        .split('\n')
        .map((line) => [line.split(' ')[0], Number(line.split(' ')[1])]),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const compiler = ['gcc', 'cc', 'clang'].find((name) => spawnSync(name, ['--version']).status === 0);

describe.skipIf(!compiler)(`against the C compiler (${compiler ?? 'none installed: skipped'})`, () => {
  it.each(LAYOUTS)('%s has the offsets of the kernel headers', (_name, layout, expressions) => {
    expect(evaluate(compiler!, expressions)).toEqual(layout);
  });

  it('has the constants of the kernel headers', () => {
    const names = Object.keys(constants);
    const actual = evaluate(compiler!, Object.fromEntries(names.map((name) => [name, name])));
    expect(actual).toEqual({ ...constants });
  });
});
