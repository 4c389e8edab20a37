/**
 * What the userspace data plane needs of its surroundings: a TUN device, UDP sockets, the packet path between them,
 * and the host's network settings. On Linux they are the real ones; tests have some in memory.
 */

import type { ForwardingState } from '../datapath/forwarding.ts';
import type { InNetns } from '../host/command.ts';
import { enableForwarding } from '../host/forwarding.ts';
import { LinuxRouteMtus } from '../host/route-mtu.ts';
import { configureTun, inspectTun, type TunFault, type TunNetwork } from '../host/tun-network.ts';
import type { Family } from '../ip/address.ts';
import { monotonicMs } from '../sys/monotonic.ts';
import { EchoSockets } from '../tun/echo-sockets.ts';
import {
  closeTunDevice,
  openTunDevice,
  switchTunOffloads,
  type TunDevice,
  type TunOffloads,
} from '../tun/tun-device.ts';
import { tunDrops } from '../tun/tun-drops.ts';
import { lockTun, type TunLock } from '../tun/tun-lock.ts';
import { socketDrops } from '../underlay/socket-drops.ts';
import {
  closeUnderlaySockets,
  openUnderlaySockets,
  switchUnderlayOffloads,
  type UnderlayOffloads,
  type UnderlaySocketOptions,
  type UnderlaySockets,
} from '../underlay/underlay-socket.ts';
import type { Beating } from './heartbeat.ts';
import type { LossCounts } from './kernel-losses.ts';
import type { KeyExchangeThreadOptions, RunningKeyExchange } from './key-exchange-thread.ts';
import { Datapath, type DatapathOptions } from './packet-threads.ts';
import type { PathMtuParts } from './path-mtus.ts';
import type { WorkerOffloads } from './worker-messages.ts';

export interface UserspaceParts extends PathMtuParts, LossCounts {
  /** One agent per TUN device. Throws TUN_TAKEN. */
  lockTun(name: string): TunLock;
  /** Creates the device or takes it over. Throws what is missing on this host. */
  openTun(name: string, queues: number, wanted: TunOffloads): TunDevice;
  closeTun(device: TunDevice): void;
  /** The same device with other offloads. Throws if nothing has changed. */
  switchTunOffloads(name: string, device: TunDevice, wanted: TunOffloads): TunDevice;
  openSockets(options: UnderlaySocketOptions): UnderlaySockets;
  closeSockets(sockets: UnderlaySockets): void;
  /** The same sockets with other offloads. */
  switchSocketOffloads(sockets: UnderlaySockets, wanted: UnderlayOffloads): UnderlaySockets;
  /** Resolves once sessions can be made. */
  startKeyExchange(options: KeyExchangeThreadOptions): Promise<RunningKeyExchange>;
  /** Resolves once packets flow. */
  startPath(options: DatapathOptions): Promise<PacketPath>;
  /** Gives the settings that were changed. */
  enableForwarding(families: ReadonlySet<Family>, underlayInterface: string): Promise<readonly string[]>;
  configureTun(network: TunNetwork): Promise<void>;
  /** What of `network` is not there; undefined if the device itself is gone. */
  inspectTun(network: TunNetwork): Promise<TunFault[] | undefined>;
}

/** A packet path that runs: `Datapath`, or one that tests drive packet by packet. */
export interface PacketPath {
  readonly offloads: WorkerOffloads;
  /** Resolves once all packets go by the new state. */
  update(state: ForwardingState): Promise<void>;
  /** By thread: rings (DropRing) that copies of what it drops go into from now on, all there are. */
  tapDrops(rings: readonly (readonly SharedArrayBuffer[])[]): void;
  /** Resolves once all threads have ended. */
  stop(): Promise<void>;
  /** After `stop`, if that takes too long. */
  kill(): void;
  readonly threads: readonly Beating[];
}

/** Linux, in the network namespace at the path `netns` or in this process's own. */
export function linuxParts(where: InNetns = {}): UserspaceParts {
  return {
    lockTun: (name) => lockTun(name),
    openTun: openTunDevice,
    closeTun: closeTunDevice,
    switchTunOffloads,
    openSockets: openUnderlaySockets,
    closeSockets: ({ descriptors, handshakes }) =>
      closeUnderlaySockets(handshakes === undefined ? descriptors : [...descriptors, handshakes]),
    switchSocketOffloads: switchUnderlayOffloads,
    socketDrops,
    tunDrops,
    startKeyExchange: async (options) => {
      const { KeyExchangeThread } = await import('./key-exchange-thread.ts');
      return KeyExchangeThread.start(options, monotonicMs);
    },
    startPath: (options) => Datapath.start(options),
    enableForwarding: (families, underlayInterface) => enableForwarding(families, underlayInterface, where),
    configureTun: (network) => configureTun(network, where),
    inspectTun: (network) => inspectTun(network, where),
    openEchoes: (own, identifier) => new EchoSockets(own, identifier),
    openRouteMtus: (own) => new LinuxRouteMtus(own),
  };
}
