/** What a Linux host says of itself for a sysdump, and the agent's state files that hold no keys. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorMessage } from '../errors.ts';
import { runCommand } from '../host/command.ts';
import { NFT_TABLE } from '../host/nft-table.ts';
import type { DumpFile } from '../readmodel/reports.ts';

/** Never identity.json, keys.json and tunnel-key.json. */
const STATE_FILES = [
  'admission.json',
  'attachments.json',
  'cni.json',
  'inventory.json',
  'lease.json',
  'membership.json',
];

const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  'ip-addresses.json': ['ip', '-j', 'address'],
  'ip-links.json': ['ip', '-s', '-s', '-d', '-j', 'link'],
  'ip-neighbours.txt': ['ip', '-s', 'neighbour'],
  'ip-routes-v4.txt': ['ip', '-4', 'route', 'show', 'table', 'all'],
  'ip-routes-v6.txt': ['ip', '-6', 'route', 'show', 'table', 'all'],
  'ip-rules-v4.txt': ['ip', '-4', 'rule'],
  'ip-rules-v6.txt': ['ip', '-6', 'rule'],
  'nft.txt': ['nft', 'list', 'table', 'inet', NFT_TABLE],
};

const KERNEL_FILES = [
  '/proc/version',
  '/proc/uptime',
  '/proc/loadavg',
  '/proc/meminfo',
  '/proc/self/status',
  '/proc/net/dev',
  '/proc/net/snmp',
  '/proc/net/snmp6',
  '/proc/net/netstat',
  '/proc/net/softnet_stat',
  '/proc/net/sockstat',
];

const SYSCTLS = [
  'net/core/rmem_max',
  'net/core/wmem_max',
  'net/core/netdev_max_backlog',
  'net/ipv4/ip_forward',
  'net/ipv4/ip_local_port_range',
  'net/ipv4/ip_no_pmtu_disc',
  'net/ipv4/conf/all/forwarding',
  'net/ipv4/conf/all/rp_filter',
  'net/ipv4/conf/default/rp_filter',
  'net/ipv4/conf/all/accept_local',
  'net/ipv6/conf/all/disable_ipv6',
  'net/ipv6/conf/all/forwarding',
  'net/ipv6/conf/default/accept_ra',
  'net/netfilter/nf_conntrack_count',
  'net/netfilter/nf_conntrack_max',
];

/** Commands run one after another: a host in trouble is not to have more of it. */
export async function linuxFacts(stateDir: string, tunName: string): Promise<DumpFile[]> {
  const sysctls = [...SYSCTLS, `net/ipv4/conf/${tunName}/rp_filter`, `net/ipv4/conf/${tunName}/forwarding`];
  const files: DumpFile[] = [
    { name: 'process.json', text: `${JSON.stringify(processFacts(), null, 1)}\n` },
    { name: 'kernel.txt', text: KERNEL_FILES.map((path) => `# ${path}\n${contentOf(path)}\n`).join('') },
    {
      name: 'sysctl.txt',
      text: sysctls.map((name) => `${name} = ${contentOf(`/proc/sys/${name}`).trim()}\n`).join(''),
    },
    ...STATE_FILES.map((name) => ({ name: `state-${name}`, text: contentOf(join(stateDir, name)) })),
  ];
  for (const [name, argv] of Object.entries(COMMANDS)) files.push({ name, text: await outputOf(argv) });
  return files;
}

function processFacts() {
  const { versions, arch, argv, execArgv } = process;
  const usage = process.resourceUsage();
  return {
    versions,
    arch,
    argv,
    execArgv,
    memory: process.memoryUsage(),
    usage,
    time: new Date().toISOString(),
  };
}

function contentOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    return `could not be read: ${errorMessage(error)}\n`;
  }
}

async function outputOf(argv: readonly string[]): Promise<string> {
  try {
    return await runCommand(argv);
  } catch (error) {
    return `could not be run: ${errorMessage(error)}\n`;
  }
}
