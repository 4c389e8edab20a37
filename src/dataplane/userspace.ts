/**
 * The node's end of the overlay: the TUN device, the underlay socket and the packet path between them. Opened
 * when the agent starts, so that whatever is missing shows at once; active from the moment the node has a lease.
 */
import { availableParallelism } from 'node:os';
import type { RepairKind } from '../agent/host-guard.ts';
import { nodeAddress } from '../attachment/addresses.ts';
import type { Config } from '../config/config.ts';
import { Datapath } from '../datapath/datapath.ts';
import { vxlanGpeOverheadBytes } from '../datapath/overhead.ts';
import { MAX_SEGMENTS_PER_SEND, MAX_SEND_BYTES } from '../datapath/send-queue.ts';
import type { WorkerOffloads } from '../datapath/worker-messages.ts';
import { WarrenError } from '../errors.ts';
import { enableForwarding } from '../host/forwarding.ts';
import { configureTun, inspectTun, type TunNetwork } from '../host/tun-network.ts';
import type { Underlay } from '../host/underlay-route.ts';
import { addressWords, type Family } from '../ip/address.ts';
import { type Endpoint, formatEndpoint } from '../ip/endpoint.ts';
import type { Prefix } from '../ip/prefix.ts';
import type { Logger } from '../log/logger.ts';
import { closeTunDevice, openTunDevice, type TunDevice } from '../tun/tun-device.ts';
import { lockTun, type TunLock } from '../tun/tun-lock.ts';
import {
  closeUnderlaySockets,
  openUnderlaySockets,
  type UnderlaySockets,
} from '../underlay/underlay-socket.ts';
import { IPV6_MIN_MTU } from '../wire/ipv6.ts';
import { VXLAN_GPE_BYTES } from '../wire/vxlan-gpe.ts';
import type { ForwardingPeer } from './dataplane.ts';
import { ForwardingTable } from './forwarding-table.ts';

export interface OverlayOptions {
  readonly config: Config;
  readonly underlay: Underlay;
  readonly log: Logger;
  readonly onFailure: (error: Error) => void;
  /** Somebody deleted the TUN device: `repair` makes it anew. */
  readonly onTunLost: () => void;
}

export interface Offloads extends WorkerOffloads {
  readonly tso: boolean;
  readonly uso: boolean;
  readonly udpGro: boolean;
  /** By configuration; `partialChecksums` in the report of a peer says whether it takes them so. */
  readonly checksum: boolean;
}

export class Overlay {
  readonly #options: OverlayOptions;
  readonly #lock: TunLock;
  #tun: TunDevice;
  #sockets: UnderlaySockets | undefined;
  #underlay: Underlay;
  #isTunLost = false;
  /** With several workers each sends from a port of its own (RFC 7348, section 4.1: source ports vary). */
  #senders: UnderlaySockets | undefined;
  readonly #table = new ForwardingTable();
  /** This node's own. */
  vtep: Endpoint;
  readonly overheadBytes: number;
  readonly mtu: number;
  #datapath: Datapath | undefined;
  readonly #workers: number;
  #subnets: readonly Prefix[] = [];
  /** The updates that have begun or wait; each waits for the one before. */
  #turn: Promise<void> = Promise.resolve();
  #turnsOpen = 0;

  /** Opens the TUN device and binds the underlay socket. Throws a WarrenError that says what is missing. */
  constructor(options: OverlayOptions) {
    this.#options = options;
    const { config, underlay } = options;
    const family: Family = underlay.address.family;
    this.vtep = { address: underlay.address, port: config.encapsulation.port };
    this.overheadBytes = vxlanGpeOverheadBytes(family);
    this.mtu = overlayMtu(config, underlay, this.overheadBytes, options.log);
    const workers = config.datapath.workers === 'auto' ? automaticWorkers() : config.datapath.workers;
    this.#underlay = underlay;
    this.#workers = workers;
    this.#lock = lockTun(config.tun.name);
    try {
      this.#openSockets();
      this.#tun = this.#openTun();
    } catch (error) {
      this.#closeSockets();
      this.#lock.release();
      throw error;
    }
  }

  get table(): ForwardingTable {
    return this.#table;
  }

  /** Absent until the node has a lease. */
  get datapath(): Datapath | undefined {
    return this.#datapath;
  }

  /** Whether an update is under way. */
  get isBusy(): boolean {
    return this.#turnsOpen > 0;
  }

  get workers(): number {
    return this.#workers;
  }

  get offloads(): Offloads {
    const udpGro = this.#sockets?.offloads.udpGro ?? false;
    const udpSegment = (this.#senders ?? this.#sockets)?.offloads.udpSegment ?? false;
    const { coalesceTcp, coalesceUdp, checksum } = this.#options.config.datapath.offload;
    const wanted = { udpSegment, coalesceTcp, coalesceUdp };
    return { ...this.#tun.offloads, udpGro, ...(this.#datapath?.offloads ?? wanted), checksum };
  }

  /**
   * Segments in a superpacket that just fills one send: what TCP of pods and node is told to make. A limit in bytes
   * (`gso_max_size`) would let a run of more but shorter UDP datagrams through whole, and would be wrong for TCP:
   * how many of its segments fill a send depends on their headers, which grow with the address family and options,
   * and the kernel takes a room for headers off such a limit that is not the same in every kernel.
   */
  get gsoMaxSegments(): number {
    const segments = Math.floor(MAX_SEND_BYTES / (this.mtu + VXLAN_GPE_BYTES));
    return Math.min(MAX_SEGMENTS_PER_SEND, Math.max(1, segments));
  }

  /**
   * Gives the node the addresses of `subnets` (one of each family at most) and starts the packet path. Once
   * active it may be called again with other subnets.
   */
  activate(subnets: readonly Prefix[]): Promise<void> {
    return this.#inTurn(async () => {
      const { config, log } = this.#options;
      const families = new Set(config.cluster.podCidrs.map(({ range }) => range.family));
      const changed = await enableForwarding(families, this.#underlay.interfaceName);
      if (changed.length > 0) log.info({ sysctls: changed.join(' ') }, 'forwarding is enabled');
      // A thread takes about as long to start as the host's commands take to run.
      const works = await Promise.allSettled([configureTun(this.#network(subnets)), this.#ensureDatapath()]);
      for (const work of works) if (work.status === 'rejected') throw work.reason;
      this.#subnets = subnets;
    });
  }

  /** Puts back what others removed or changed of the TUN device, its addresses and routes. */
  repair(): Promise<RepairKind[]> {
    return this.#inTurn(async () => {
      const network = this.#network(this.#subnets);
      const faults = this.#isTunLost ? undefined : await inspectTun(network);
      if (faults === undefined) {
        await this.#stopDatapath();
        this.#closeTun();
        this.#tun = this.#openTun();
        this.#isTunLost = false;
      }
      if (!this.#isActive) return faults === undefined ? ['device'] : [];
      if (faults?.length !== 0) await configureTun(network);
      await this.#ensureDatapath();
      return faults ?? ['device'];
    });
  }

  /** Sends and receives at another address of this host from now on. */
  moveTo(underlay: Underlay): Promise<void> {
    return this.#inTurn(async () => {
      await this.#stopDatapath();
      this.#closeSockets();
      this.#underlay = underlay;
      this.vtep = { address: underlay.address, port: this.#options.config.encapsulation.port };
      this.#openSockets();
      if (this.#isActive) await this.#ensureDatapath();
    });
  }

  /** Takes over who the peers are and what they own. Resolves once the packet path works by it. */
  update(peers: readonly ForwardingPeer[]): Promise<void> {
    return this.#inTurn(async () => {
      const subnets = this.#subnets;
      const { reused, refused } = this.#table.set({
        peers,
        ownSubnets: subnets,
        ownAddresses: subnets.map(nodeAddress),
      });
      for (const index of reused) this.#datapath?.clearVtep(index);
      for (const peer of refused) this.#options.log.error({ node: peer.name }, 'no room for another peer');
      await this.#datapath?.update(this.#table.state());
    });
  }

  /** Stops the packet path; the TUN device stays, with its addresses and routes. */
  async close(): Promise<void> {
    await this.#turn;
    await this.#stopDatapath();
    this.#closeTun();
    this.#closeSockets();
    this.#lock.release();
  }

  /** One after the other, whatever became of the one before. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    this.#turnsOpen++;
    const result = this.#turn.then(work);
    const end = () => {
      this.#turnsOpen--;
    };
    this.#turn = result.then(end, end);
    return result;
  }

  #network(subnets: readonly Prefix[]): TunNetwork {
    const { config } = this.#options;
    return {
      name: config.tun.name,
      mtu: this.mtu,
      gsoMaxSegments: this.gsoMaxSegments,
      addresses: subnets.map(nodeAddress),
      podRanges: config.cluster.podCidrs.map(({ range }) => range),
      ownSubnets: subnets,
      extraPrefixes: config.staticPeers.flatMap((peer) => peer.subnets),
    };
  }

  #openTun(): TunDevice {
    const { tun, datapath } = this.#options.config;
    const { tso, uso } = datapath.offload;
    return openTunDevice(tun.name, this.#workers, { tso, uso });
  }

  #openSockets(): void {
    const { encapsulation, datapath } = this.#options.config;
    const { udpSegment, udpGro } = datapath.offload;
    const options = {
      words: addressWords(this.#underlay.address),
      displayName: formatEndpoint(this.vtep),
      wanted: { udpSegment, udpGro },
      count: this.#workers,
    };
    const senders = { ...options, port: 0, sendsOnly: true, wanted: { udpSegment, udpGro: false } };
    const sockets = openUnderlaySockets({ ...options, port: encapsulation.port });
    try {
      this.#senders = this.#workers > 1 ? openUnderlaySockets(senders) : undefined;
    } catch (error) {
      closeUnderlaySockets(sockets.descriptors);
      throw error;
    }
    this.#sockets = sockets;
  }

  #closeSockets(): void {
    closeUnderlaySockets(this.#sockets?.descriptors ?? []);
    closeUnderlaySockets(this.#senders?.descriptors ?? []);
    this.#sockets = undefined;
    this.#senders = undefined;
  }

  async #stopDatapath(): Promise<void> {
    const datapath = this.#datapath;
    this.#datapath = undefined;
    await datapath?.stop();
  }

  /** Whether the node has addresses, and packets are to flow. */
  get #isActive(): boolean {
    return this.#subnets.length > 0;
  }

  /**
   * Starts the packet path unless it runs. Without a socket there is none: the node has no underlay address to
   * send from.
   */
  async #ensureDatapath(): Promise<void> {
    if (this.#datapath || !this.#sockets) return;
    const datapath = await this.#startDatapath();
    await datapath.update(this.#table.state());
    this.#datapath = datapath;
  }

  /** The device counts as lost from here on, and its descriptors are nobody's. */
  #closeTun(): void {
    closeTunDevice(this.#tun);
    this.#tun = { ...this.#tun, readFds: [], writeFds: [] };
    this.#isTunLost = true;
  }

  /** A lost TUN device can be made anew; the rest ends the agent. */
  #onFailure(error: Error): void {
    if (error instanceof WarrenError && error.code === 'TUN_LOST') {
      this.#isTunLost = true;
      this.#options.onTunLost();
    } else this.#options.onFailure(error);
  }

  #startDatapath(): Promise<Datapath> {
    const { config, log } = this.#options;
    const underlay = this.#underlay;
    const sockets = this.#sockets!;
    const senders = this.#senders ?? sockets;
    const { coalesceTcp, coalesceUdp } = config.datapath.offload;
    return Datapath.start({
      tunReadFds: this.#tun.readFds,
      tunWriteFds: this.#tun.writeFds,
      socketFds: sockets.descriptors,
      sendFds: senders.descriptors,
      underlayFamily: underlay.address.family,
      vni: config.encapsulation.vni,
      pathMtu: underlay.mtu - this.overheadBytes,
      overheadBytes: this.overheadBytes,
      offloads: { udpSegment: senders.offloads.udpSegment, coalesceTcp, coalesceUdp },
      onOffloadOff: (offload) =>
        log.warn({ offload }, 'an offload does not work here and is off from now on'),
      onFailure: (error) => this.#onFailure(error),
    });
  }
}

/** One worker fills about two cores together with the kernel's part; more cores are worth more workers. */
function automaticWorkers(): number {
  return Math.min(4, Math.max(1, Math.floor(availableParallelism() / 4)));
}

function overlayMtu(config: Config, underlay: Underlay, overheadBytes: number, log: Logger): number {
  const fitting = underlay.mtu - overheadBytes;
  const mtu = config.tun.mtu === 'auto' ? fitting : config.tun.mtu;
  if (mtu > fitting) {
    const fields = { mtu, underlayMtu: underlay.mtu, fits: fitting };
    log.warn(fields, 'tun.mtu is more than the underlay carries; full-size packets will be refused');
  }
  if (mtu < IPV6_MIN_MTU && config.cluster.podCidrs.some(({ range }) => range.family === 6)) {
    throw new WarrenError(
      'MTU_TOO_SMALL',
      `the overlay's MTU would be ${mtu} bytes (${underlay.interfaceName} has ${underlay.mtu}), and IPv6 needs ${IPV6_MIN_MTU}`,
      { hint: 'Raise the MTU of the underlay, or take the IPv6 range out of cluster.podCidrs.' },
    );
  }
  return Math.min(mtu, 65_535);
}
