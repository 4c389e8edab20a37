/**
 * The userspace data plane: the TUN device, the underlay sockets and the packet path between them. Device and
 * sockets are opened when it is made, so that whatever is missing shows at once; packets flow from the moment the
 * node has a lease. Everything that changes it happens one after the other.
 */
import { availableParallelism } from 'node:os';
import { nodeAddress } from '../attachment/addresses.ts';
import type { Clock } from '../clock.ts';
import type { Config, OffloadSwitches } from '../config/config.ts';
import { overheadBytes } from '../datapath/overhead.ts';
import { formOf } from '../encapsulation/choose.ts';
import { WarrenError } from '../errors.ts';
import type { TunNetwork } from '../host/tun-network.ts';
import type { Underlay } from '../host/underlay-route.ts';
import { sameAddress } from '../ip/address.ts';
import type { Endpoint } from '../ip/endpoint.ts';
import type { Prefix } from '../ip/prefix.ts';
import type { Logger } from '../log/logger.ts';
import type { TunLock } from '../tun/tun-lock.ts';
import type {
  DataPlane,
  DataPlaneRepair,
  DataPlaneReport,
  DropTaps,
  ForwardingPeer,
  GroupSending,
  PairKeys,
  TrafficTotals,
} from './dataplane.ts';
import { OpenDropTaps } from './drop-taps.ts';
import { prefixesBeside, samePrefixes } from './extra-prefixes.ts';
import { ForwardingTable } from './forwarding-table.ts';
import { overlayMtu, segmentsPerSend } from './mtu.ts';
import { PacketIo } from './packet-io.ts';
import { PathMtus } from './path-mtus.ts';
import { RunningPath } from './running-path.ts';
import { Traffic } from './traffic.ts';
import { type OwnTunnelKey, TunnelKeys } from './tunnel-keys.ts';
import { type TunnelSockets, vtepOn } from './tunnel-sockets.ts';
import type { PacketPath, UserspaceParts } from './userspace-parts.ts';

export interface UserspaceOptions {
  readonly config: Config;
  readonly underlay: Underlay;
  readonly parts: UserspaceParts;
  readonly log: Logger;
  readonly clock: Clock;
  /** Of an encapsulation that has keys. */
  readonly tunnelKey?: OwnTunnelKey | undefined;
  /** The packet path cannot go on. */
  readonly onFailure: (error: Error) => void;
  /** Somebody deleted the TUN device: `repair` makes it anew. */
  readonly onDeviceLost: () => void;
  /** The report says otherwise than before whether packets flow. */
  readonly onHealthChange: () => void;
  /** The path to a peer carries another size than before. */
  readonly onPathChange: () => void;
  /** Something waits for keys of a peer that needs some (`setPairKeys`); told again while that is so. */
  readonly onPairKeyWanted?: ((key: string) => void) | undefined;
}

export class UserspaceDataPlane implements DataPlane {
  readonly #options: UserspaceOptions;
  readonly #workers: number;
  readonly #traffic: Traffic;
  readonly #table = new ForwardingTable();
  readonly #lock: TunLock;
  readonly #io: PacketIo;
  readonly #path: RunningPath;
  readonly #pathMtus: PathMtus;
  readonly #keys: TunnelKeys;
  #underlay: Underlay;
  #mtu: number;
  #subnets: readonly Prefix[] = [];
  /** Whether the device is to be kept as it should be, and the packet path to run. */
  #isActivated = false;
  #peers: readonly ForwardingPeer[] = [];
  #groupProbePort: number | undefined;
  /** The change that is under way or waits; each waits for the one before. */
  #turn: Promise<void> = Promise.resolve();
  #turnsOpen = 0;

  /** Opens the TUN device and binds the underlay sockets. Throws a WarrenError that says what is missing. */
  constructor(options: UserspaceOptions) {
    this.#options = options;
    const { config, underlay, parts, clock, onHealthChange } = options;
    this.#workers = config.datapath.workers === 'auto' ? automaticWorkers() : config.datapath.workers;
    const { hasHandshakes } = formOf(config.encapsulation);
    this.#traffic = new Traffic(this.#workers, hasHandshakes);
    this.#keys = new TunnelKeys({
      ...{ clock, parts, log: options.log, workers: this.#workers, counters: this.#traffic.keyExchange },
      key: hasHandshakes ? options.tunnelKey : undefined,
      onFailure: options.onFailure,
      onPairKeyWanted: (vtep) => {
        const key = this.#table.key(vtep);
        if (key !== undefined) options.onPairKeyWanted?.(key);
      },
    });
    this.#underlay = underlay;
    this.#mtu = this.#mtuOn(underlay);
    this.#lock = parts.lockTun(config.tun.name);
    try {
      this.#io = new PacketIo({ config, underlay, parts, workers: this.#workers, clock });
    } catch (error) {
      this.#lock.release();
      throw error;
    }
    this.#pathMtus = new PathMtus({
      ...{ parts, clock, log: options.log },
      outboundPackets: (key) =>
        this.#traffic.outboundPackets(key === undefined ? undefined : this.#table.index(key)),
      onChange: () => this.#takePathMtus(),
    });
    this.#path = new RunningPath({
      clock,
      start: () => this.#startPath(),
      onChange: onHealthChange,
      onLost: () => this.#replacePath(),
      onStuck: (error) => {
        this.#io.abandon();
        options.onFailure(error);
      },
    });
    this.dropTaps = new OpenDropTaps(this.#workers, (rings) => this.#path.tapDrops(rings));
  }

  get vtep(): Endpoint {
    return vtepOn(this.#underlay, this.#options.config);
  }

  get underlay(): Underlay {
    return this.#underlay;
  }

  get mtu(): number {
    return this.#mtu;
  }

  get gsoMaxSegments(): number {
    return segmentsPerSend(this.#mtu, formOf(this.#options.config.encapsulation).addedBytes);
  }

  get isBusy(): boolean {
    return this.#turnsOpen > 0;
  }

  activate(subnets: readonly Prefix[]): Promise<void> {
    return this.#inTurn(async () => {
      const { config, parts, log } = this.#options;
      const families = new Set(config.cluster.podCidrs.map(({ range }) => range.family));
      const changed = await parts.enableForwarding(families, this.#underlay.interfaceName);
      if (changed.length > 0) log.info({ sysctls: changed.join(' ') }, 'forwarding is enabled');
      const before = { subnets: this.#subnets, isActivated: this.#isActivated };
      this.#subnets = subnets;
      this.#isActivated = true;
      // A thread takes about as long to start as the host's commands take to run.
      const works = await Promise.allSettled([parts.configureTun(this.#network()), this.#loadTable()]);
      for (const work of works) {
        if (work.status === 'fulfilled') continue;
        this.#subnets = before.subnets;
        this.#isActivated = before.isActivated;
        throw work.reason;
      }
    });
  }

  update(peers: readonly ForwardingPeer[]): Promise<void> {
    return this.#inTurn(async () => {
      const before = this.#extraPrefixes;
      this.#peers = peers;
      if (this.#isActivated && !samePrefixes(before, this.#extraPrefixes)) {
        await this.#options.parts.configureTun(this.#network());
      }
      if (this.#isActivated) await this.#loadTable();
      else this.#setTable();
    });
  }

  repair(): Promise<DataPlaneRepair[]> {
    return this.#inTurn(async () => {
      const { parts } = this.#options;
      const network = this.#network();
      const faults = this.#io.isTunLost ? undefined : await parts.inspectTun(network);
      if (faults === undefined) {
        await this.#path.stop();
        this.#io.reopenTun();
      }
      if (!this.#isActivated) return faults === undefined ? ['device'] : [];
      if (faults?.length !== 0) await parts.configureTun(network);
      if (!this.#path.isRunning) await this.#loadTable();
      return faults ?? ['device'];
    });
  }

  moveTo(underlay: Underlay): Promise<void> {
    return this.#inTurn(async () => {
      const mtu = this.#mtuOn(underlay);
      const before = { underlay: this.#underlay, mtu: this.#mtu };
      const sockets = sameAddress(underlay.address, before.underlay.address)
        ? undefined
        : this.#io.openSockets(underlay);
      const old = this.#io.sockets;
      this.#underlay = underlay;
      this.#mtu = mtu;
      try {
        if (this.#isActivated && mtu !== before.mtu) {
          await this.#options.parts.configureTun(this.#network());
        }
        if (sockets) {
          await this.#path.stop();
          this.#io.useSockets(sockets);
          await this.#keys.useSockets(sockets, underlay.address.family);
        }
        if (this.#isActivated) await this.#loadTable();
        else this.#setTable();
      } catch (error) {
        this.#underlay = before.underlay;
        this.#mtu = before.mtu;
        await this.#restore(old, sockets);
        throw error;
      }
      if (sockets) this.#io.closeSockets(old);
    });
  }

  switchOffloads(switches: OffloadSwitches): Promise<void> {
    return this.#inTurn(async () => {
      const before = this.#io.switches;
      const wasRunning = this.#path.isRunning;
      try {
        this.#io.switchOffloads(switches);
        const path: readonly (keyof OffloadSwitches)[] = ['udpSegment', 'coalesceTcp', 'coalesceUdp'];
        if (!wasRunning || path.every((name) => switches[name] === before[name])) return;
        await this.#path.stop();
        await this.#loadTable();
      } catch (error) {
        await this.#switchBack(before, wasRunning);
        throw error;
      }
    });
  }

  async close(): Promise<void> {
    this.#pathMtus.close();
    await this.#turn;
    try {
      await this.#path.stop();
      await this.#keys.stop();
    } finally {
      this.#io.close();
      this.#lock.release();
    }
  }

  report(): DataPlaneReport {
    const { config } = this.#options;
    const { tun, sockets, switches, isTunLost } = this.#io;
    const { receivers, senders } = sockets;
    const { coalesceTcp, coalesceUdp, checksum } = switches;
    const { isRunning, stuckWorkers, offloads } = this.#path;
    const wanted = { udpSegment: senders.offloads.udpSegment, coalesceTcp, coalesceUdp };
    return {
      type: 'userspace',
      device: config.tun.name,
      isActive: this.#subnets.length > 0 && isRunning && stuckWorkers === 0 && !isTunLost,
      overheadBytes: this.#overheadBytes,
      workers: this.#workers,
      cipher: this.#keys.cipher,
      stuckWorkers,
      offloads: {
        ...tun.offloads,
        udpGro: receivers.offloads.udpGro,
        ...(offloads ?? wanted),
        checksum,
      },
      totals: this.#traffic.totals(),
      handshakes: this.#traffic.keyExchange?.handshakes.report(),
      drops: { ...this.#traffic.drops(), ...this.#io.losses.drops() },
    };
  }

  traffic(key: string): TrafficTotals {
    return this.#traffic.vtep(this.#table.index(key));
  }

  pathMtu(key: string): number | undefined {
    return this.#pathMtus.mtu(key);
  }

  sessionAgeMs(key: string): number | undefined {
    return this.#keys.sessionAgeMs(this.#table.index(key));
  }

  handshakeAgeMs(key: string): number | undefined {
    return this.#keys.handshakeAgeMs(this.#table.index(key));
  }

  movedTo(key: string): Endpoint | undefined {
    return this.#keys.movedTo(this.#table.index(key), this.#underlay.address.family);
  }

  setPairKeys(key: string, keys: PairKeys | undefined): void {
    this.#keys.setPairKeys(key, this.#table.index(key), keys);
  }
  readonly dropTaps: DropTaps;

  readonly groups: GroupSending = {
    isUsed: () => this.#path.offloads?.udpSegment ?? this.#io.sockets.senders.offloads.udpSegment,
    count: (key) => this.#traffic.grouped(this.#table.index(key)),
    exempt: (port) =>
      this.#inTurn(async () => {
        this.#groupProbePort = port;
        if (this.#isActivated) await this.#loadTable();
      }),
  };

  get #overheadBytes(): number {
    return this.#overheadOn(this.#underlay);
  }

  #overheadOn({ address }: Underlay): number {
    return overheadBytes(address.family, formOf(this.#options.config.encapsulation));
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

  #mtuOn(underlay: Underlay): number {
    const { config, log } = this.#options;
    return overlayMtu(config, underlay, this.#overheadOn(underlay), log);
  }

  #network(): TunNetwork {
    const { config } = this.#options;
    return {
      name: config.tun.name,
      mtu: this.#mtu,
      gsoMaxSegments: this.gsoMaxSegments,
      addresses: this.#subnets.map(nodeAddress),
      podRanges: this.#podRanges,
      ownSubnets: this.#subnets,
      extraPrefixes: this.#extraPrefixes,
    };
  }

  /** Of peers: routes of their own lead into the tunnel. */
  get #extraPrefixes(): readonly Prefix[] {
    return prefixesBeside(this.#podRanges, this.#subnets, this.#peers);
  }

  get #podRanges(): readonly Prefix[] {
    return this.#options.config.cluster.podCidrs.map(({ range }) => range);
  }

  #setTable(): readonly ForwardingPeer[] {
    const overheadBytes = this.#overheadBytes;
    const mtu = Math.min(this.#underlay.mtu - overheadBytes, this.#mtu);
    const ownAddresses = this.#subnets.map(nodeAddress);
    const { refused } = this.#table.set({
      peers: this.#peers,
      ownSubnets: this.#subnets,
      ownAddresses,
      pathMtu: (key) => this.#pathMtus.mtu(key) ?? mtu,
      probeIdentifier: this.#pathMtus.identifier,
      groupProbePort: this.#groupProbePort,
    });
    const { peers } = this.#table.forwarding;
    this.#pathMtus.update({
      peers,
      ownAddresses,
      ownUnderlay: this.#underlay.address,
      overheadBytes,
      mtu,
    });
    return refused;
  }

  /** A path carries another size than the packet path works by. */
  #takePathMtus(): void {
    this.#options.onPathChange();
    this.#inTurn(async () => {
      if (this.#path.isRunning) await this.#path.update(() => this.#table.state());
    }).catch((error) => this.#options.log.warn({ err: error }, 'the packet path does not take a path MTU'));
  }

  /** Lets the packet path, started if there is none, work by the present peers and subnets. */
  async #loadTable(): Promise<void> {
    for (;;) {
      const refused = this.#setTable();
      const { family } = this.#underlay.address;
      await this.#keys.update((pairKeys) => this.#table.keyed(pairKeys), this.#mtu, this.#io.sockets, family);
      await this.#path.update(() => this.#table.state());
      const rested = this.#table.release();
      for (const index of rested) this.#traffic.clearVtep(index);
      if (refused.length > 0 && rested.length > 0) continue;
      for (const peer of refused) this.#options.log.error({ node: peer.name }, 'no room for another peer');
      return;
    }
  }

  /** After a move that failed: `#underlay` and `#mtu` are the old ones again, and the rest follows. */
  async #restore(old: TunnelSockets, opened: TunnelSockets | undefined): Promise<void> {
    const { parts, log } = this.#options;
    if (opened) {
      await this.#path.stop();
      this.#io.useSockets(old);
      await this.#keys.useSockets(old, this.#underlay.address.family);
      this.#io.closeSockets(opened);
    }
    if (!this.#isActivated) return;
    try {
      await parts.configureTun(this.#network());
      await this.#loadTable();
    } catch (error) {
      // The next repair looks at the device, and starts the path where there is none.
      log.error({ err: error }, 'could not go back to the underlay as it was; trying again');
    }
  }

  /** After other switches could not be used. */
  async #switchBack(before: OffloadSwitches, wasRunning: boolean): Promise<void> {
    try {
      this.#io.switchOffloads(before);
      if (wasRunning && !this.#path.isRunning) await this.#loadTable();
    } catch (error) {
      // The next repair starts the path where there is none.
      this.#options.log.error({ err: error }, 'could not go back to the offloads as they were; trying again');
    }
  }

  #startPath(): Promise<PacketPath> {
    const { config, parts, log } = this.#options;
    const { tun, sockets, switches } = this.#io;
    const { receivers, senders } = sockets;
    const { coalesceTcp, coalesceUdp } = switches;
    return parts.startPath({
      tunReadFds: tun.readFds,
      tunWriteFds: tun.writeFds,
      socketFds: receivers.descriptors,
      sendFds: senders.descriptors,
      underlayFamily: this.#underlay.address.family,
      dscp: config.encapsulation.dscp ?? 0,
      encapsulation: config.encapsulation,
      sessions: this.#keys.sessions,
      overheadBytes: this.#overheadBytes,
      offloads: { udpSegment: senders.offloads.udpSegment, coalesceTcp, coalesceUdp },
      counters: this.#traffic.workers,
      onOffloadOff: (offload) =>
        log.warn({ offload }, 'an offload does not work here and is off from now on'),
      onFailure: (error) => this.#onFailure(error),
    });
  }

  /** A thread has not answered for so long that it is ended, and others take its place; or the agent cannot go on. */
  #replacePath(): void {
    const { log, onHealthChange, onFailure } = this.#options;
    log.error('a packet path thread does not answer; replacing the packet path');
    this.#inTurn(async () => {
      if (!this.#path.isLost) return;
      await this.#path.stop();
      await this.#loadTable();
      log.warn('the packet path was replaced');
      onHealthChange();
    }).catch((error) => {
      if (error !== this.#path.stuck) onFailure(error);
    });
  }

  /** A lost TUN device can be made anew; the rest ends the agent. */
  #onFailure(error: Error): void {
    if (error instanceof WarrenError && error.code === 'TUN_LOST') {
      this.#io.tunLost();
      this.#options.onDeviceLost();
    } else this.#options.onFailure(error);
  }
}

/** One worker fills about two cores together with the kernel's part; more cores are worth more workers. */
function automaticWorkers(): number {
  return Math.min(4, Math.max(1, Math.floor(availableParallelism() / 4)));
}
