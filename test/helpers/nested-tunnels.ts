/**
 * Tunnels that pods of two nodes make between each other, inside of ours: the kernel's VXLAN, its VXLAN-GPE, and
 * wireguard-go. Their outer packets are the inner ones of our tunnel, with headers behind the UDP header that a packet
 * path could take for its own business, and with checksums that the kernel leaves partial in either layer.
 */
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import {
  configureWireguard,
  generateWireguardKeys,
  wireguardSocket,
} from '../../src/bench/wireguard-control.ts';
import { findLink } from '../../src/host/ip.ts';
import type { LabPod } from '../../src/lab/host.ts';
import { mustRun } from './in-namespace.ts';
import { lacking } from './requirements.ts';

type Family = 4 | 6;
type Pair<T> = readonly [T, T];

export interface NestedTunnel {
  readonly title: string;
  /** Why it cannot be made here. */
  readonly lacks: string | undefined;
  /** Makes it between two pods, over their addresses of `family`; resolves to what removes it. */
  up(pods: Pair<LabPod>, family: Family): Promise<() => Promise<void>>;
}

/** The address in the tunnel of either end. */
export const NESTED_ADDRESS = {
  4: ['10.99.0.1', '10.99.0.2'],
  6: ['fd99::1', 'fd99::2'],
} as const satisfies Record<Family, Pair<string>>;

const DEVICE = 'tunnel0';
/** wireguard-go's control sockets lie in the machine's own file system, so each end has a name of its own. */
const WIREGUARD_DEVICES = ['wgtesta', 'wgtestb'] as const;
const WIREGUARD_PORT = 51820;
const DEVICE_TIMEOUT_MS = 10_000;
const ID = '7';

const IP_BYTES = { 4: 20, 6: 40 } as const;
const UDP_AND_VXLAN_BYTES = 16;
const ETHERNET_BYTES = 14;
/** UDP header; type, receiver, counter; tag; and what wireguard-go fills up to a multiple of 16. */
const UDP_AND_WIREGUARD_BYTES = 8 + 16 + 16 + 15;

export const NESTED_TUNNELS: readonly NestedTunnel[] = [
  kernelVxlan("the kernel's VXLAN", 'udpcsum'),
  kernelVxlan("the kernel's VXLAN without outer checksums over IPv4", 'noudpcsum'),
  {
    title: "the kernel's VXLAN-GPE",
    lacks: undefined,
    async up(pods, family) {
      const overheadBytes = IP_BYTES[family] + UDP_AND_VXLAN_BYTES;
      await onBoth(pods, async (pod, peer, end) => {
        const device = ['type', 'vxlan', 'dstport', '4790', 'gpe', 'external'];
        await ip(pod, 'link', 'add', DEVICE, ...device);
        await addressDevice(pod, end, DEVICE, overheadBytes, [32, 128]);
        const encap = [family === 4 ? 'ip' : 'ip6', 'id', ID, 'dst', peer.address(family), 'csum'];
        for (const inner of [4, 6] as const) {
          const [own, other] = ends(NESTED_ADDRESS[inner], end);
          await ip(pod, 'route', 'add', other, 'encap', ...encap, 'dev', DEVICE, 'src', own);
        }
      });
      return () => removeDevices(pods);
    },
  },
  {
    title: 'wireguard-go',
    lacks: lacking('wireguard-go'),
    async up(pods, family) {
      const keys = [generateWireguardKeys(), generateWireguardKeys()] as const;
      const children = pods.map((pod, end) =>
        pod.spawn(['wireguard-go', '--foreground', WIREGUARD_DEVICES[end]!], {
          env: { ...process.env, LOG_LEVEL: 'error', WG_PROCESS_FOREGROUND: '1' },
          stdio: ['ignore', 'ignore', 'inherit'],
        }),
      );
      const down = async () => {
        const gone = children.map(async (child) => child.exitCode === null && once(child, 'exit'));
        for (const child of children) child.kill('SIGKILL');
        await Promise.all(gone);
        for (const device of WIREGUARD_DEVICES) rmSync(wireguardSocket(device), { force: true });
      };
      try {
        await onBoth(pods, async (pod, peer, end) => {
          const device = WIREGUARD_DEVICES[end];
          await isSetUp(pod, device);
          const [own, other] = ends(keys, end);
          const endpoint = family === 4 ? peer.address(4) : `[${peer.address(6)}]`;
          await configureWireguard(wireguardSocket(device), [
            `private_key=${own.privateKey}`,
            `listen_port=${WIREGUARD_PORT}`,
            `public_key=${other.publicKey}`,
            `endpoint=${endpoint}:${WIREGUARD_PORT}`,
            ...([4, 6] as const).map(
              (inner) => `allowed_ip=${ends(NESTED_ADDRESS[inner], end)[1]}/${inner === 4 ? 32 : 128}`,
            ),
          ]);
          await addressDevice(pod, end, device, IP_BYTES[family] + UDP_AND_WIREGUARD_BYTES, [24, 64]);
        });
        // One end alone makes the first handshake: two that meet on the way are tried again after five seconds.
        await mustRun(pods[0], ['ping', '-c', '1', '-W', '10', NESTED_ADDRESS[4][1]]);
      } catch (error) {
        await down();
        throw error;
      }
      return down;
    },
  },
];

function kernelVxlan(title: string, checksum: 'udpcsum' | 'noudpcsum'): NestedTunnel {
  return {
    title,
    lacks: undefined,
    async up(pods, family) {
      const overheadBytes = IP_BYTES[family] + UDP_AND_VXLAN_BYTES + ETHERNET_BYTES;
      await onBoth(pods, async (pod, peer, end) => {
        const way = ['local', pod.address(family), 'remote', peer.address(family), 'dev', 'eth0'];
        const device = ['type', 'vxlan', 'id', ID, 'dstport', '4789', ...way, checksum];
        await ip(pod, 'link', 'add', DEVICE, ...device);
        await addressDevice(pod, end, DEVICE, overheadBytes, [24, 64]);
      });
      return () => removeDevices(pods);
    },
  };
}

/** Addresses of both families, and the greatest MTU that lets its packets through the pod's own interface. */
async function addressDevice(
  pod: LabPod,
  end: 0 | 1,
  device: string,
  overheadBytes: number,
  prefixLengths: Pair<number>,
): Promise<void> {
  const mtuBytes = (await findLink('eth0', { netns: pod.netns }))!.mtu - overheadBytes;
  await ip(pod, 'address', 'add', `${NESTED_ADDRESS[4][end]}/${prefixLengths[0]}`, 'dev', device);
  await ip(pod, 'link', 'set', device, 'mtu', String(mtuBytes), 'up');
  await ip(pod, 'address', 'add', `${NESTED_ADDRESS[6][end]}/${prefixLengths[1]}`, 'dev', device, 'nodad');
}

/** Waits for wireguard-go's device, and for the control socket that comes after it. */
async function isSetUp(pod: LabPod, device: string): Promise<void> {
  const deadline = performance.now() + DEVICE_TIMEOUT_MS;
  while (!existsSync(wireguardSocket(device)) || !(await findLink(device, { netns: pod.netns }))) {
    if (performance.now() > deadline) throw new Error(`there is no device ${device}`);
    await delay(50);
  }
}

async function removeDevices(pods: Pair<LabPod>): Promise<void> {
  for (const pod of pods) await ip(pod, 'link', 'delete', DEVICE);
}

async function ip(pod: LabPod, ...words: readonly string[]): Promise<void> {
  await mustRun(pod, ['ip', ...words]);
}

/** Does `work` at one end, then at the other. */
async function onBoth(
  pods: Pair<LabPod>,
  work: (pod: LabPod, peer: LabPod, end: 0 | 1) => Promise<void>,
): Promise<void> {
  await work(pods[0], pods[1], 0);
  await work(pods[1], pods[0], 1);
}

/** What is at `end`, then what is at the other one. */
function ends<T>(pair: Pair<T>, end: 0 | 1): Pair<T> {
  return end === 0 ? pair : [pair[1], pair[0]];
}
