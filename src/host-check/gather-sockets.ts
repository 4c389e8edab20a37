/** Which sockets hold some ports, and whose they are: /proc/net and /proc/PID/fd, without a program. */
import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { formatAddress } from '../ip/address.ts';
import type { SocketFacts } from './facts.ts';
import { filesIn, readText } from './files.ts';

const TCP_LISTEN = '0A';
const UDP_UNCONNECTED = '07';
const TABLES = ['udp', 'udp6', 'tcp', 'tcp6'] as const;

interface Row {
  readonly protocol: 'udp' | 'tcp';
  readonly address: string;
  readonly port: number;
  readonly inode: string;
}

/** `proc`: where proc is mounted. */
export function gatherSockets(ports: ReadonlySet<number>, proc = '/proc'): SocketFacts[] {
  const rows = TABLES.flatMap((table) =>
    parseSocketTable(table, readText(join(proc, 'self/net', table))),
  ).filter(({ port }) => ports.has(port));
  const owners = rows.length === 0 ? new Map() : ownersOf(new Set(rows.map(({ inode }) => inode)), proc);
  return rows.map(({ inode, ...socket }) => ({ ...socket, process: owners.get(inode) }));
}

/** The lines of /proc/net/udp and its like (Documentation/networking/proc_net_tcp.rst); what is none is left out. */
export function parseSocketTable(table: (typeof TABLES)[number], text: string): Row[] {
  const protocol = table.startsWith('udp') ? 'udp' : 'tcp';
  return text.split('\n').flatMap((line) => {
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
    const [, address, port] = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/.exec(local ?? '') ?? [];
    if (address === undefined || port === undefined || inode === undefined) return [];
    if (state !== (protocol === 'tcp' ? TCP_LISTEN : UDP_UNCONNECTED)) return [];
    return [{ protocol, address: addressOf(address), port: Number.parseInt(port, 16), inode }];
  });
}

/** Words of 32 bits in the byte order of this machine, which is little-endian wherever warren runs. */
function addressOf(hex: string): string {
  const bytes = Buffer.from(hex, 'hex').swap32();
  return formatAddress({
    family: bytes.length === 4 ? 4 : 6,
    value: BigInt(`0x${bytes.toString('hex')}`),
  });
}

/** By inode. Processes that end meanwhile, or that may not be looked at, are left out. */
function ownersOf(inodes: ReadonlySet<string>, proc: string): Map<string, SocketFacts['process']> {
  const owners = new Map<string, SocketFacts['process']>();
  for (const pid of filesIn(proc).filter((name) => /^\d+$/.test(name))) {
    for (const fd of filesIn(join(proc, pid, 'fd'))) {
      const inode = /^socket:\[(\d+)\]$/.exec(readLink(join(proc, pid, 'fd', fd)))?.[1];
      if (inode === undefined || !inodes.has(inode) || owners.has(inode)) continue;
      owners.set(inode, {
        pid: Number(pid),
        name: readText(join(proc, pid, 'comm')).trim(),
        command: readText(join(proc, pid, 'cmdline'))
          .replaceAll('\0', ' ')
          .trim(),
      });
    }
  }
  return owners;
}

function readLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
