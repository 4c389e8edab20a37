/**
 * How long it takes to give a network namespace its place in the overlay: what warren does on the host, beside `ptp`
 * with `host-local` of the CNI reference plugins, which make the same picture (a veth pair, addresses and routes of
 * both families).
 *
 * Each lives in a namespace that stands for the node; the namespaces of the pods are there before, as an
 * orchestrator makes them. The plugins are started as an orchestrator starts them, one process for each attachment
 * that starts another, by a shell that measures with its own clock: Node needs longer to start a process.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pLimit from 'p-limit';
import type { AttachmentLink } from '../attachment/link.ts';
import { WarrenError } from '../errors.ts';
import { LinuxAttachmentNetwork } from '../host/attachment/linux-attachment-network.ts';
import { runCommand } from '../host/command.ts';
import { enableForwarding } from '../host/forwarding.ts';
import { ipBatch } from '../host/ip.ts';
import { namedNetnsPath } from '../host/netns.ts';
import { setSysctls } from '../host/sysctl.ts';
import { nthAddress, parsePrefix } from '../ip/prefix.ts';
import { silentLogger } from '../log/logger.ts';
import { LoopWatch } from './loop-watch.ts';

/** Where Debian's containernetworking-plugins are. */
export const CNI_FOLDER = '/usr/lib/cni';
const RANGES = [parsePrefix('10.42.0.0/16'), parsePrefix('fd42::/64')] as const;
const MTU = 1400;
const PLUGIN_TIMEOUT_MS = 300_000;

export type AttachProgram = 'warren' | 'ptp';

export interface AttachTimes {
  /** Of each attachment, from the request to the answer. */
  readonly milliseconds: readonly number[];
  /** The longest time in which the control thread did nothing else; undefined: it is another process. */
  readonly longestBlockMs: number | undefined;
}

/** Makes `count` attachments, `atOnce` at a time, and removes them. Throws `signal`'s reason where it is aborted. */
export async function measureAttach(
  program: AttachProgram,
  count: number,
  atOnce: number,
  signal: AbortSignal,
): Promise<AttachTimes> {
  const name = `warren-bench-${process.pid}`;
  const pods = Array.from({ length: count }, (_, i) => `${name}-${i}`);
  const network = new LinuxAttachmentNetwork({ log: silentLogger, netns: namedNetnsPath(name) });
  const made: string[] = [];
  // By a network of its own, so that the measured one begins as an agent's does: without a thread.
  const maker = new LinuxAttachmentNetwork({ log: silentLogger });
  try {
    for (const one of [name, ...pods]) {
      signal.throwIfAborted();
      await maker.addNamespace(one);
      made.push(one);
    }
    await becomeNode(namedNetnsPath(name));
    // `ptp` would wait more than a second for IPv6 addresses to be found unique; warren turns that off itself.
    if (program === 'ptp') for (const pod of pods) await skipAddressChecks(pod);
    if (program === 'ptp') return await measurePlugins(name, pods, atOnce, signal);
    return await measureWarren(network, pods, atOnce, signal);
  } finally {
    await network.close();
    for (const one of made.reverse()) await maker.removeNamespace(one);
    await maker.close();
  }
}

async function becomeNode(netns: string): Promise<void> {
  const addresses = RANGES.map((range) => ['address', 'add', host(range, 1n), 'dev', 'lo']);
  await ipBatch([['link', 'set', 'dev', 'lo', 'up'], ...addresses], { netns });
  await enableForwarding(new Set([4, 6]), 'lo', { netns });
}

async function skipAddressChecks(pod: string): Promise<void> {
  await setSysctls(['net/ipv6/conf/all/accept_dad', 'net/ipv6/conf/default/accept_dad'], '0', {
    netns: namedNetnsPath(pod),
  });
}

function host(range: (typeof RANGES)[number], n: bigint): string {
  const { value } = nthAddress(range, n);
  return range.family === 4
    ? `10.42.${Number((value >> 8n) & 255n)}.${Number(value & 255n)}/32`
    : `fd42::${n.toString(16)}/128`;
}

async function measureWarren(
  network: LinuxAttachmentNetwork,
  pods: readonly string[],
  atOnce: number,
  signal: AbortSignal,
): Promise<AttachTimes> {
  const milliseconds: number[] = [];
  const watch = new LoopWatch();
  let longestBlockMs = 0;
  try {
    await pLimit(atOnce).map(pods, async (pod, i) => {
      if (signal.aborted) return;
      const startMs = performance.now();
      await network.ensure(linkOf(i, pod));
      milliseconds.push(performance.now() - startMs);
    });
  } finally {
    longestBlockMs = watch.stop();
  }
  signal.throwIfAborted();
  const problem = network.problems()[0];
  if (problem !== undefined) throw new WarrenError('BENCH_INCOMPLETE', problem);
  return { milliseconds, longestBlockMs };
}

function linkOf(i: number, pod: string): AttachmentLink {
  return {
    id: pod,
    hostInterface: `wb${i}`,
    interfaceName: 'eth0',
    netns: namedNetnsPath(pod),
    addresses: RANGES.map((range) => nthAddress(range, BigInt(i + 2))),
    gateways: RANGES.map((range) => nthAddress(range, 1n)),
    mtu: MTU,
    gsoMaxSegments: 44,
  };
}

/** One attachment: `$0` is its namespace's name. Prints microseconds; `EPOCHREALTIME` is bash's own clock. */
const ADD = `
export CNI_COMMAND=ADD CNI_CONTAINERID=$0 CNI_NETNS=/run/netns/$0 CNI_IFNAME=eth0 CNI_PATH=${CNI_FOLDER}
start=\${EPOCHREALTIME/[.,]/}
${CNI_FOLDER}/ptp <<<"$CNI_CONFIG" >/dev/null || exit 255
echo $((\${EPOCHREALTIME/[.,]/} - start))
`;

async function measurePlugins(
  node: string,
  pods: readonly string[],
  atOnce: number,
  signal: AbortSignal,
): Promise<AttachTimes> {
  const folder = mkdtempSync(join(tmpdir(), 'warren-bench-'));
  try {
    const config = JSON.stringify({
      cniVersion: '0.4.0',
      name: node,
      type: 'ptp',
      mtu: MTU,
      ipam: {
        type: 'host-local',
        dataDir: folder,
        ranges: [[{ subnet: '10.43.0.0/16' }], [{ subnet: 'fd43::/64' }]],
        routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
      },
    });
    signal.throwIfAborted();
    const argv = ['env', `CNI_CONFIG=${config}`, 'xargs', '-P', String(atOnce), '-n', '1', 'bash', '-c', ADD];
    const text = await runCommand(argv, {
      netns: namedNetnsPath(node),
      stdin: pods.map((pod) => `${pod}\n`).join(''),
      timeoutMs: PLUGIN_TIMEOUT_MS,
    });
    const milliseconds = text
      .trim()
      .split('\n')
      .map((line) => Number(line) / 1000);
    return { milliseconds, longestBlockMs: undefined };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
