/**
 * What the packet path reads from and writes to: the TUN device and the underlay sockets, with their offloads. Another
 * device or other sockets are for the next packet path; the one that runs keeps the descriptors that it was started with.
 */
import type { Clock } from '../clock.ts';
import type { Config, OffloadSwitches } from '../config/config.ts';
import { formOf } from '../encapsulation/choose.ts';
import type { Underlay } from '../host/underlay-route.ts';
import type { TunDevice } from '../tun/tun-device.ts';
import { KernelLosses } from './kernel-losses.ts';
import {
  closeTunnelSockets,
  openTunnelSockets,
  switchTunnelSockets,
  type TunnelSockets,
} from './tunnel-sockets.ts';
import type { UserspaceParts } from './userspace-parts.ts';

export interface PacketIoOptions {
  readonly config: Config;
  readonly underlay: Underlay;
  readonly parts: UserspaceParts;
  readonly workers: number;
  readonly clock: Clock;
}

export class PacketIo {
  readonly #options: PacketIoOptions;
  /** What the kernel loses on the way to the packet path. */
  readonly losses: KernelLosses;
  #switches: OffloadSwitches;
  #sockets: TunnelSockets;
  #tun: TunDevice;
  #isTunLost = false;
  #isAbandoned = false;

  /** Opens both. Throws a WarrenError that says what is missing; nothing is open then. */
  constructor(options: PacketIoOptions) {
    this.#options = options;
    this.losses = new KernelLosses(options.parts, options.clock);
    this.#switches = options.config.datapath.offload;
    this.#sockets = this.openSockets(options.underlay);
    try {
      this.#tun = this.#openTun();
    } catch (error) {
      this.closeSockets(this.#sockets);
      throw error;
    }
    this.losses.start();
  }

  get tun(): TunDevice {
    return this.#tun;
  }

  get sockets(): TunnelSockets {
    return this.#sockets;
  }

  get switches(): OffloadSwitches {
    return this.#switches;
  }

  /** The device is gone from the host, or closed: `reopenTun` makes another one. */
  get isTunLost(): boolean {
    return this.#isTunLost;
  }

  /** Somebody deleted the device. */
  tunLost(): void {
    this.losses.tunClosing();
    this.#isTunLost = true;
  }

  /** While no packet path runs. */
  reopenTun(): void {
    this.#closeTun();
    this.#tun = this.#openTun();
    this.#isTunLost = false;
  }

  /** Sockets on another underlay address, for `useSockets`, or to be closed by who opened them. */
  openSockets(underlay: Underlay): TunnelSockets {
    const { config, parts, workers } = this.#options;
    const form = formOf(config.encapsulation);
    const sockets = openTunnelSockets(config, parts, underlay, workers, this.#switches, form);
    this.losses.socketsOpened(receiving(sockets));
    return sockets;
  }

  /** From now on these; those of before are to be closed by the caller. */
  useSockets(sockets: TunnelSockets): void {
    this.#sockets = sockets;
  }

  closeSockets(sockets: TunnelSockets): void {
    if (this.#isAbandoned) return;
    this.losses.socketsClosing(receiving(sockets));
    closeTunnelSockets(sockets, this.#options.parts);
  }

  /**
   * Of the device and the sockets; a packet path has its own when it is started. What it throws has changed a part of
   * them: they are to be switched back.
   */
  switchOffloads(switches: OffloadSwitches): void {
    const { config, parts } = this.#options;
    const { tso, uso } = switches;
    this.#switches = switches;
    if (!this.#isTunLost) this.#tun = parts.switchTunOffloads(config.tun.name, this.#tun, { tso, uso });
    this.#sockets = switchTunnelSockets(this.#sockets, parts, switches);
  }

  /** A thread that does not end uses the descriptors: they stay open until the process is gone. */
  abandon(): void {
    this.#isAbandoned = true;
  }

  close(): void {
    this.losses.close();
    this.#closeTun();
    this.closeSockets(this.#sockets);
  }

  #openTun(): TunDevice {
    const { config, parts, workers } = this.#options;
    const { tso, uso } = this.#switches;
    const tun = parts.openTun(config.tun.name, workers, { tso, uso });
    this.losses.tunOpened(config.tun.name);
    return tun;
  }

  /** The device counts as lost from here on, and its descriptors are nobody's. */
  #closeTun(): void {
    if (this.#isAbandoned) return;
    this.losses.tunClosing();
    this.#options.parts.closeTun(this.#tun);
    this.#tun = { ...this.#tun, readFds: [], writeFds: [] };
    this.#isTunLost = true;
  }
}

/** All that datagrams come to. */
function receiving({ receivers: { descriptors, handshakes } }: TunnelSockets): readonly number[] {
  return handshakes === undefined ? descriptors : [...descriptors, handshakes];
}
