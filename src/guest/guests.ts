/**
 * Guests: ordinary WireGuard devices (a laptop, a phone, a router) that this node is the home of. Each has an address of this
 * node's own subnets, as an attachment without an interface, so that all nodes find it and nobody else needs its key. What it
 * sends to other nodes' pods comes out of its tunnel here and goes on through theirs.
 *
 * People know them as WireGuard peers: `warren peer`. A private key that is made here is shown once and kept nowhere.
 */
import type { Attachment } from '../attachment/attachment.ts';
import type { Attachments } from '../attachment/attachments.ts';
import { KeyedQueue } from '../attachment/keyed-queue.ts';
import { type Clock, TimerGroup } from '../clock.ts';
import type { DataPlane } from '../dataplane/dataplane.ts';
import { WarrenError } from '../errors.ts';
import { formatAddress } from '../ip/address.ts';
import { type Endpoint, formatEndpoint, sameEndpoint } from '../ip/endpoint.ts';
import { hostPrefix, type Prefix } from '../ip/prefix.ts';
import type { Logger } from '../log/logger.ts';
import type { KnownPeer, PeerSource } from '../peers/peer-view.ts';
import type { WireguardPeerFile, WireguardPeerReport } from '../readmodel/reports.ts';
import { directionReports } from '../readmodel/traffic.ts';
import { SharedWrite } from '../state/shared-write.ts';
import type { CheckedRequest, GuestRequest, MadeKeys } from './guest-request.ts';
import type { GuestRecord, GuestStore } from './guest-store.ts';
import { GUEST_MTU, quickFile } from './quick-file.ts';

/** Of attachments. */
export const GUEST_CLIENT = 'peer';
/** Operations that wait for others. */
const MAX_WAITING = 1024;
/** How often it is written down where guests are. */
const REMEMBER_EVERY_MS = 60_000;

export interface GuestsOptions {
  readonly store: GuestStore;
  readonly attachments: Attachments;
  readonly dataPlane: DataPlane;
  /** Undefined: the tunnel has no keys, and there can be no guests. */
  readonly tunnelKey: Uint8Array | undefined;
  readonly nodeName: string;
  readonly clusterName: string;
  readonly podRanges: readonly Prefix[];
  /** Everybody who is known, these guests included. */
  readonly everybody: () => readonly KnownPeer[];
  /** Resolves once packets go by what `peers` gives now. */
  readonly followed: () => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
}

export class Guests implements PeerSource {
  readonly #options: GuestsOptions;
  /** By name. Bounded by the attachments that there can be. */
  readonly #records = new Map<string, GuestRecord>();
  readonly #queue = new KeyedQueue({ maxWaiting: MAX_WAITING });
  readonly #write: SharedWrite;
  readonly #timers: TimerGroup;
  readonly #listeners: (() => void)[] = [];
  /** Where they were before this agent; what it hears itself the data plane knows better. As many as records were read. */
  readonly #before = new Map<string, Endpoint>();
  /** Being removed, or not there yet. */
  readonly #hidden = new Set<string>();

  /** Reads what is remembered. Throws STATE_CORRUPT and the like. */
  constructor(options: GuestsOptions) {
    this.#options = options;
    const { store, attachments, clock } = options;
    this.#timers = new TimerGroup(clock);
    this.#write = new SharedWrite(() => store.write([...this.#records.values()]));
    for (const record of store.read()) {
      this.#records.set(record.name, record);
      if (record.lastEndpoint) this.#before.set(record.name, record.lastEndpoint);
    }
    attachments.on('change', ({ id }) => {
      if (id.startsWith(`${GUEST_CLIENT}/`)) this.#attachmentChanged(id);
    });
  }

  /** Puts right what a crash left between the two files, and remembers from now on where guests are. */
  async start(): Promise<void> {
    const { attachments, log } = this.#options;
    for (const { id, name, client } of attachments.list()) {
      if (client !== GUEST_CLIENT || this.#records.has(name)) continue;
      log.warn({ peer: name }, 'a WireGuard peer without a key is removed');
      await attachments.delete(id);
    }
    const lost = [...this.#records.keys()].filter((name) => this.#attachment(name) === undefined);
    for (const name of lost) this.#records.delete(name);
    if (lost.length > 0) await this.#write.request();
    this.#rememberLater();
  }

  /** Resolves once it is written down where guests are. */
  async stop(): Promise<void> {
    this.#timers.close();
    await this.#queue.idle();
    await this.#remember();
    await this.#write.idle();
  }

  // PeerSource

  peers(): KnownPeer[] {
    return [...this.#records.values()].flatMap((record) => {
      const attachment = this.#attachment(record.name);
      if (attachment === undefined || this.#hidden.has(record.name)) return [];
      return [this.#peer(record, attachment)];
    });
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  close(): void {
    this.#timers.close();
  }

  // What people ask

  list(): WireguardPeerReport[] {
    return [...this.#records.keys()].map((name) => this.#report(name));
  }

  /** Its file has no private key: that is not known here. Throws PEER_UNKNOWN. */
  show(name: string): WireguardPeerFile {
    return this.#fileOf(this.#known(name), undefined);
  }

  /**
   * Gives a guest keys, where it brings none, and an address. If it fails, nothing is left. Throws PEER_*, ADDRESS_*,
   * ATTACHMENT_*, POD_SUBNET_EXHAUSTED, STATE_UNWRITABLE.
   */
  async add(request: GuestRequest): Promise<WireguardPeerFile> {
    const { tunnelKey, dataPlane } = this.#options;
    if (tunnelKey === undefined) {
      throw new WarrenError('PEER_NEEDS_WIREGUARD', "this node's tunnels are not WireGuard", {
        hint: 'Set encapsulation.type to wireguard, on all nodes.',
      });
    }
    const { checkedRequest, makeKeys } = await import('./guest-request.ts');
    const { address, port } = dataPlane.vtep;
    const checked = checkedRequest(request, address.family, port);
    const made = checked.publicKey === undefined ? makeKeys() : undefined;
    return this.#queue.run('all', () => this.#add(checked, request.labels ?? {}, tunnelKey, made));
  }

  /** Ends its sessions and frees its address. Throws PEER_UNKNOWN, STATE_UNWRITABLE; all is as before then. */
  async remove(name: string): Promise<WireguardPeerReport> {
    return this.#queue.run('all', async () => {
      this.#known(name);
      const report = this.#report(name);
      // From here on nothing of its opens, whatever the disk says.
      this.#hidden.add(name);
      this.#changed();
      try {
        await this.#options.attachments.delete(idOf(name));
      } finally {
        this.#hidden.delete(name);
        this.#changed();
      }
      await this.#options.followed();
      await this.#write.idle();
      this.#options.log.info({ peer: name }, 'a WireGuard peer is removed');
      return report;
    });
  }

  async #add(
    { name, publicKey: given, endpoint, nodeEndpoint, dns }: CheckedRequest,
    labels: Readonly<Record<string, string>>,
    tunnelKey: Uint8Array,
    made: MadeKeys | undefined,
  ): Promise<WireguardPeerFile> {
    const { attachments, everybody, followed, nodeName, log } = this.#options;
    const namesake = everybody().find((peer) => peer.name === name);
    if (this.#records.has(name) || namesake !== undefined || name === nodeName) {
      const isGuest = this.#records.has(name);
      throw new WarrenError(
        'PEER_EXISTS',
        `${name} is the name of ${isGuest ? 'a peer' : 'another node or static peer'} already`,
        {
          hint: isGuest
            ? `Choose another name, or remove it first: warren peer rm ${name}`
            : 'Choose another name.',
        },
      );
    }
    const publicKey = given ?? made!.publicKey;
    const holder = Buffer.compare(publicKey, tunnelKey) === 0 ? nodeName : holderOf(publicKey, everybody());
    if (holder !== undefined) {
      throw new WarrenError('PEER_KEY_TAKEN', `that is the public key of ${holder}`, {
        hint: 'Each device needs a key of its own.',
      });
    }
    const presharedKey = made?.presharedKey;
    const isKeyMadeHere = made !== undefined;
    this.#hidden.add(name);
    this.#records.set(name, {
      ...{ name, publicKey, presharedKey, isKeyMadeHere, endpoint, nodeEndpoint, dns },
      lastEndpoint: undefined,
    });
    try {
      await this.#write.request();
      await attachments.add({
        ...{ id: idOf(name), client: GUEST_CLIENT, name, remote: true },
        labels: { kind: GUEST_CLIENT, ...labels },
      });
    } catch (error) {
      this.#records.delete(name);
      this.#hidden.delete(name);
      await this.#write.request().catch(() => {});
      throw error;
    }
    this.#hidden.delete(name);
    this.#changed();
    await followed();
    log.info({ peer: name }, 'a WireGuard peer is added');
    return this.#fileOf(this.#known(name), made?.privateKey);
  }

  #peer({ name, publicKey, presharedKey, ...record }: GuestRecord, { addresses }: Attachment): KnownPeer {
    const { tunnelKey, dataPlane } = this.#options;
    const at = record.endpoint ?? this.#before.get(name);
    return {
      key: keyOf(name),
      id: '',
      name,
      kind: 'wireguard',
      status: 'wireguard',
      // It may have been heard from before this node moved to an underlay of the other family.
      endpoint: at?.address.family === dataPlane.vtep.address.family ? at : undefined,
      subnets: addresses.map(hostPrefix),
      partialChecksums: false,
      mtu: this.#mtu,
      publicKey,
      ...(presharedKey && { presharedKey }),
      isGreeted: true,
      // Linux passes marks of congestion on, most other implementations do not, and none says.
      losesMarks: true,
      unreachable: tunnelKey === undefined ? "this node's tunnels are not WireGuard" : undefined,
    };
  }

  get #mtu(): number {
    return Math.min(GUEST_MTU, this.#options.dataPlane.mtu);
  }

  #report(name: string): WireguardPeerReport {
    const { dataPlane } = this.#options;
    const { publicKey, presharedKey, endpoint, lastEndpoint, dns } = this.#known(name);
    const key = keyOf(name);
    const at = dataPlane.movedTo?.(key) ?? endpoint ?? lastEndpoint;
    const handshakeAgeMs = dataPlane.handshakeAgeMs?.(key);
    const { addresses = [], labels = {} } = this.#attachment(name) ?? {};
    return {
      name,
      addresses: addresses.map(formatAddress),
      publicKey: base64(publicKey),
      presharedKey: presharedKey !== undefined,
      endpoint: at === undefined ? '' : formatEndpoint(at),
      dns,
      labels,
      ...(handshakeAgeMs !== undefined && { handshakeAgeSeconds: Math.floor(handshakeAgeMs / 1000) }),
      ...directionReports(dataPlane.traffic(key)),
    };
  }

  #fileOf(record: GuestRecord, privateKey: Uint8Array | undefined): WireguardPeerFile {
    const { tunnelKey, dataPlane, nodeName, clusterName, podRanges } = this.#options;
    const { name, publicKey, presharedKey, isKeyMadeHere, nodeEndpoint, dns } = record;
    const file = quickFile({
      ...{ name, nodeName, clusterName, isKeyMadeHere, dns, podRanges, mtu: this.#mtu },
      privateKey: privateKey && base64(privateKey),
      publicKey: base64(publicKey),
      presharedKey: presharedKey && base64(presharedKey),
      addresses: this.#attachment(name)?.addresses ?? [],
      nodePublicKey: tunnelKey === undefined ? '' : base64(tunnelKey),
      nodeEndpoint: nodeEndpoint ?? formatEndpoint(dataPlane.vtep),
    });
    return { ...this.#report(name), file, isComplete: privateKey !== undefined };
  }

  #known(name: string): GuestRecord {
    const record = this.#records.get(name);
    if (record !== undefined) return record;
    const isStatic = this.#options.everybody().some((peer) => peer.kind === 'static' && peer.name === name);
    throw new WarrenError('PEER_UNKNOWN', `there is no peer ${name} on this node`, {
      hint: isStatic
        ? "It is in staticPeers of this node's configuration: change that and run `warren reload`."
        : '`warren peer list` lists them. A peer is known on the node that it was added to, and on no other.',
    });
  }

  #attachment(name: string): Attachment | undefined {
    return this.#options.attachments.get(idOf(name));
  }

  /** It has other addresses, or none: what has none is forgotten, whoever removed it. */
  #attachmentChanged(id: string): void {
    const name = id.slice(GUEST_CLIENT.length + 1);
    const isGone = this.#options.attachments.get(id) === undefined;
    if (isGone) this.#before.delete(name);
    if (isGone && this.#records.delete(name)) {
      this.#write.request().catch((error: unknown) => {
        this.#options.log.error({ peer: name, err: error }, 'a removed WireGuard peer is still in its file');
      });
    }
    this.#changed();
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }

  #rememberLater(): void {
    this.#timers.after(REMEMBER_EVERY_MS, () => {
      this.#rememberLater();
      void this.#remember();
    });
  }

  /** An agent that is started anew finds its guests where they were: they may be behind something that lets nobody else in. */
  async #remember(): Promise<void> {
    const { dataPlane, log } = this.#options;
    let isOther = false;
    for (const [name, record] of this.#records) {
      const at: Endpoint | undefined = dataPlane.movedTo?.(keyOf(name));
      if (at === undefined || (record.lastEndpoint && sameEndpoint(at, record.lastEndpoint))) continue;
      this.#records.set(name, { ...record, lastEndpoint: at });
      isOther = true;
    }
    if (!isOther) return;
    await this.#write.request().catch((error: unknown) => {
      log.warn({ err: error }, 'it could not be written down where WireGuard peers are');
    });
  }
}

function holderOf(publicKey: Uint8Array, peers: readonly KnownPeer[]): string | undefined {
  return peers.find((peer) => peer.publicKey && Buffer.compare(peer.publicKey, publicKey) === 0)?.name;
}

function idOf(name: string): string {
  return `${GUEST_CLIENT}/${name}`;
}

/** Of the forwarding table. */
function keyOf(name: string): string {
  return `wireguard/${name}`;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
