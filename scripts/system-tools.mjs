/**
 * The programs that the demo and the tests need on the machine, which Debian package has each, and how to
 * get them. Node built-ins only: this runs before `npm ci`.
 */
import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

// dockerd, nft and tcpdump live in sbin, which a user's PATH may lack; CNI's plugins in a folder of their own.
const SEARCH_PATH = [
  ...new Set([
    ...(process.env.PATH ?? '').split(':'),
    '/usr/sbin',
    '/sbin',
    '/usr/local/sbin',
    '/usr/lib/cni',
  ]),
];

// Packages install in seconds, but the lock may be held by the machine's own daily upgrade.
const APT_OPTIONS = ['-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3'];

const iproute2 = { program: 'ip', packages: ['iproute2'], needed: true };
const ping = { program: 'ping', packages: ['iputils-ping'], needed: true };
const nsenter = { program: 'nsenter', packages: ['util-linux'], needed: true };
const iperf3 = { program: 'iperf3', packages: ['iperf3'], needed: true };
const nft = { program: 'nft', packages: ['nftables'], needed: false };
const gcc = { program: 'gcc', packages: ['gcc', 'libc6-dev'], needed: false };
const libssl = {
  // A header, which is no program to be found.
  program: 'openssl/evp.h',
  packages: ['libssl-dev'],
  needed: false,
  instead: async () => existsSync('/usr/include/openssl/evp.h'),
};

/**
 * What each purpose needs. `needed: false` means that some tests skip themselves, visibly, without it.
 * `packages` lists what to install; where releases differ, the names that the release knows are taken.
 * `instead` answers whether something else on this machine does the same job.
 */
export const SYSTEM_TOOLS = {
  demo: [iproute2, ping, nsenter, iperf3, nft],
  bench: [
    iproute2,
    ping,
    nsenter,
    iperf3,
    nft,
    gcc,
    libssl,
    { program: 'tincd', packages: ['tinc'], needed: false },
    { program: 'nebula', packages: ['nebula'], needed: false },
    { program: 'wireguard-go', packages: ['wireguard-go'], needed: false },
  ],
  'bench:attach': [
    iproute2,
    nsenter,
    { program: 'nft', packages: ['nftables'], needed: true },
    { program: 'ptp', packages: ['containernetworking-plugins'], needed: false },
  ],
  kubernetes: [
    iproute2,
    ping,
    nsenter,
    { program: 'nft', packages: ['nftables'], needed: true },
    { program: 'iptables', packages: ['iptables'], needed: true },
    { program: 'etcd', packages: ['etcd-server', 'etcd'], needed: true },
    { program: 'containerd', packages: ['containerd'], needed: true },
    { program: 'runc', packages: ['runc'], needed: true },
    { program: 'loopback', packages: ['containernetworking-plugins'], needed: true },
    { program: 'conntrack', packages: ['conntrack'], needed: true },
    { program: 'ipset', packages: ['ipset'], needed: true },
    { program: 'socat', packages: ['socat'], needed: true },
    { program: 'openssl', packages: ['openssl'], needed: true },
    { program: 'busybox', packages: ['busybox-static'], needed: true },
    // For the build alone, and for what Kubernetes' own tests run.
    { program: 'go', packages: ['golang-go'], needed: false },
    { program: 'dpkg-source', packages: ['dpkg-dev'], needed: false },
    { program: 'make', packages: ['make'], needed: false },
    { program: 'rsync', packages: ['rsync'], needed: false },
    { program: 'jq', packages: ['jq'], needed: false },
    gcc,
    { program: 'curl', packages: ['curl'], needed: false },
    { program: 'wget', packages: ['wget'], needed: false },
    { program: 'nc.openbsd', packages: ['netcat-openbsd'], needed: false },
  ],
  'bench:agents': [iproute2, nsenter, nft, { program: 'serf', packages: ['serf'], needed: false }],
  test: [
    iproute2,
    ping,
    nsenter,
    iperf3,
    nft,
    { program: 'tcpdump', packages: ['tcpdump'], needed: false },
    { program: 'ethtool', packages: ['ethtool'], needed: false },
    { program: 'iptables', packages: ['iptables'], needed: false },
    gcc,
    libssl,
    { program: 'musl-gcc', packages: ['musl-tools'], needed: false },
    {
      program: 'aarch64-linux-gnu-gcc',
      packages: ['gcc-aarch64-linux-gnu', 'libc6-dev-arm64-cross'],
      needed: false,
      // On such a machine gcc itself is that compiler.
      instead: async () => process.arch === 'arm64',
    },
    { program: 'dockerd', packages: ['docker.io'], needed: false, instead: dockerEngineAnswers },
    // Part of docker.io up to Debian 12, a package of its own after.
    { program: 'docker', packages: ['docker-cli', 'docker.io'], needed: false },
    { program: 'docker-compose', packages: ['docker-compose'], needed: false, instead: dockerHasCompose },
    { program: 'zsh', packages: ['zsh'], needed: false },
    { program: 'fish', packages: ['fish'], needed: false },
    { program: 'debootstrap', packages: ['debootstrap'], needed: false },
    { program: 'wireguard-go', packages: ['wireguard-go'], needed: false },
    { program: 'wg', packages: ['wireguard-tools'], needed: false },
    { program: 'tshark', packages: ['tshark'], needed: false },
    { program: 'prometheus', packages: ['prometheus'], needed: false },
    // Part of prometheus.
    { program: 'promtool', packages: ['prometheus'], needed: false },
    { program: 'chromium', packages: ['chromium'], needed: false },
    // One for all of its plugins.
    { program: 'portmap', packages: ['containernetworking-plugins'], needed: false },
    { program: 'ctr', packages: ['containerd'], needed: false },
    { program: 'runc', packages: ['runc'], needed: false },
    { program: 'podman', packages: ['podman'], needed: false },
  ],
};

/** Where Debian puts the libraries of programs for arm64 on a machine of another kind. */
export const ARM64_LIBRARIES = '/usr/aarch64-linux-gnu';

/** What it takes to run Node for arm64 (node-versions.mjs). */
export const ARM64_TOOLS = [
  { program: 'qemu-aarch64', packages: ['qemu-user'], needed: false },
  {
    // A library, which is no program to be found.
    program: 'libstdc++ for arm64',
    packages: ['libstdc++6-arm64-cross', 'libc6-arm64-cross', 'libgcc-s1-arm64-cross'],
    needed: false,
    instead: async () => existsSync(join(ARM64_LIBRARIES, 'lib', 'libstdc++.so.6')),
  },
];

/** Why each purpose needs root. */
export const NEEDS_ROOT = {
  demo: 'it creates network namespaces and TUN devices',
  bench: 'it creates network namespaces and TUN devices',
  'bench:attach': 'it creates network namespaces and interfaces',
  'bench:agents': 'it creates network namespaces and TUN devices',
  kubernetes: 'it creates network namespaces, and runs kubelets and containers in them',
  test: 'the end-to-end tests create network namespaces and TUN devices',
};

/** The tools of `purpose` that are not on this machine. */
export async function missingTools(purpose) {
  return missingOf(SYSTEM_TOOLS[purpose]);
}

/** Those of `tools` that are not on this machine. */
export async function missingOf(tools) {
  const missing = [];
  for (const tool of tools) {
    if (!findProgram(tool.program) && !(await tool.instead?.())) missing.push(tool);
  }
  return missing;
}

/** The path of `program`, or undefined. */
export function findProgram(program) {
  return SEARCH_PATH.map((folder) => join(folder, program)).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Whether this is Debian or one of its descendants, where the package names above hold. */
export function isDebian() {
  try {
    const release = readFileSync('/etc/os-release', 'utf8');
    return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(release) && findProgram('apt-get') !== undefined;
  } catch {
    return false;
  }
}

/** The packages that hold `tools`, without repeats: on Debian, those that this release has. */
export async function packageNames(tools) {
  const names = [...new Set(tools.flatMap((tool) => tool.packages))];
  if (!isDebian()) return names;
  const known = await Promise.all(names.map(aptKnows));
  return names.filter((_, index) => known[index]);
}

/** Refreshes apt's lists, without which it may know no package at all. */
export async function refreshPackageLists() {
  await apt(['update', '-q']);
}

/** Installs Debian packages; throws an error with apt's own last words. */
export async function installPackages(names) {
  await apt(['install', '-y', '-q', '--no-install-recommends', ...names]);
}

async function apt(args) {
  try {
    await run('apt-get', [...APT_OPTIONS, ...args], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' },
      maxBuffer: 64 << 20,
    });
  } catch (error) {
    const lines = `${error.stdout ?? ''}\n${error.stderr ?? ''}`.trim().split('\n');
    throw new Error(`apt-get ${args[0]} failed:\n${lines.slice(-15).join('\n')}`, { cause: error });
  }
}

async function aptKnows(name) {
  // A purely virtual package is listed too, but without a candidate.
  const { stdout } = await run('apt-cache', ['policy', name], { env: { ...process.env, LC_ALL: 'C' } });
  return /Candidate: (?!\(none\))/.test(stdout);
}

async function dockerEngineAnswers() {
  return succeeds('docker', ['version', '--format', '{{.Server.Version}}']);
}

async function dockerHasCompose() {
  return succeeds('docker', ['compose', 'version']);
}

async function succeeds(program, args) {
  try {
    await run(program, args, { timeout: 20_000 });
    return true;
  } catch {
    return false;
  }
}
