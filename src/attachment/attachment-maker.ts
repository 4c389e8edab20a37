/**
 * What is done for one attachment: it is made, made whole again, removed. Each is a row of steps that may end anywhere,
 * by an error or a crash, and leaves something that the next start completes:
 *
 *     make     remember it -> namespace, if it is to have its own -> interfaces, addresses, routes
 *     remove   interfaces -> namespace -> forget it -> its addresses are free for others
 *
 * Nothing here waits its turn: the caller sees to it that one id has one piece of work at a time.
 */
import { basename } from 'node:path';
import type { Clock } from '../clock.ts';
import { WarrenError } from '../errors.ts';
import { type Family, formatAddress, type IpAddress } from '../ip/address.ts';
import { type Prefix, prefixContains } from '../ip/prefix.ts';
import type { Logger } from '../log/logger.ts';
import { SharedWrite } from '../state/shared-write.ts';
import { AddressPool } from './address-pool.ts';
import { nodeAddress } from './addresses.ts';
import {
  type Attachment,
  type AttachmentDescription,
  type AttachmentRecord,
  isSameRequest,
  MAX_ATTACHMENTS,
  type WantedAttachment,
  wantedAttachment,
} from './attachment.ts';
import type { AttachmentStore } from './attachment-store.ts';
import type { AttachmentLink, AttachmentNetwork } from './link.ts';
import { type AttachmentEntry, NamespaceRules } from './namespace-rules.ts';

/** What the data plane can carry. */
export interface AttachmentLimits {
  /** Bytes of an inner packet. */
  readonly mtu: number;
  /** The most segments of a superpacket that a pod's TCP makes: what fits one send on the underlay. */
  readonly gsoMaxSegments: number;
}

export interface AttachmentsOptions {
  readonly nodeId: string;
  readonly store: AttachmentStore;
  /** Borrowed: whoever made it closes it. */
  readonly network: AttachmentNetwork;
  /** The node's own subnets, one of each family at most. */
  readonly subnets: readonly Prefix[];
  readonly limits: AttachmentLimits;
  readonly log: Logger;
  /** Default: the real one. */
  readonly clock?: Clock | undefined;
  /** Resolves when a new attachment may have its interface. Throws why it may not have it. Default: at once. */
  readonly admit?: ((record: AttachmentRecord) => Promise<void>) | undefined;
  /** Path of the network namespace that the node lives in; default: this process's own. */
  readonly nodeNetns?: string | undefined;
}

export interface AttachmentChange {
  readonly id: string;
  /** `added` when it is ready, `changed` when its addresses, MTU, status or description are others, `removed` when it is gone. */
  readonly kind: 'added' | 'changed' | 'removed';
}

export interface AttachmentProblem {
  /** `unknown`: there is no such attachment. `subnet`: its addresses are outside of this node's subnets. */
  readonly code: 'unknown' | 'subnet' | 'namespace' | 'failed' | 'interface';
  readonly message: string;
}

const SAVED = { isUnsaved: false, isForgotten: false };

/** The attachments of a node, and how one of them is made, made whole and removed. */
export class AttachmentMaker {
  readonly #options: AttachmentsOptions;
  readonly #network: AttachmentNetwork;
  readonly #log: Logger;
  readonly #onChange: (change: AttachmentChange) => void;
  readonly #namespaces: NamespaceRules;
  readonly #pool: AddressPool;
  /** By id. Bounded by MAX_ATTACHMENTS. */
  readonly #entries = new Map<string, AttachmentEntry>();
  readonly #write: SharedWrite;
  #limits: AttachmentLimits;

  /** Reads what is remembered; changes nothing yet. Throws STATE_CORRUPT and the like. */
  constructor(options: AttachmentsOptions, onChange: (change: AttachmentChange) => void) {
    this.#options = options;
    this.#network = options.network;
    this.#log = options.log;
    this.#onChange = onChange;
    this.#limits = options.limits;
    this.#namespaces = new NamespaceRules(options.network, options.nodeNetns ?? '/proc/self/ns/net');
    const { attachments, last } = options.store.read();
    this.#pool = new AddressPool({ subnets: options.subnets, last });
    for (const record of attachments) this.#remember(record);
    this.#write = new SharedWrite(() => options.store.write(this.#state()));
  }

  /** In the order in which they were added. */
  get entries(): ReadonlyMap<string, AttachmentEntry> {
    return this.#entries;
  }

  get limits(): AttachmentLimits {
    return this.#limits;
  }

  setLimits(limits: AttachmentLimits): void {
    this.#limits = limits;
  }

  setReserved(prefixes: readonly Prefix[]): void {
    this.#pool.setReserved(prefixes);
  }

  setSubnets(subnets: readonly Prefix[]): void {
    this.#pool.setSubnets(subnets);
  }

  /** See AddressPool. */
  hold(family: Family, requested?: IpAddress): IpAddress {
    return this.#pool.hold(family, requested);
  }

  /** See AddressPool. */
  release(address: IpAddress): void {
    this.#pool.release(address);
  }

  /** Takes over what an earlier release has left. */
  async takeOver(): Promise<void> {
    if (this.#options.store.isOutdated) await this.#write.request();
  }

  /** Resolves when nothing is on its way to the disk. */
  idle(): Promise<void> {
    return this.#write.idle();
  }

  /** Makes a new one. If it fails, nothing of it is left. */
  async create(wanted: WantedAttachment): Promise<AttachmentEntry> {
    const { id } = wanted;
    if (this.#entries.size >= MAX_ATTACHMENTS) {
      throw new WarrenError(
        'ATTACHMENT_LIMIT',
        `this node has ${MAX_ATTACHMENTS} attachments, which is the most it can have`,
      );
    }
    const identity = this.#namespaces.admit(wanted, this.#entries.values());
    const addresses = this.#pool.allocate(id, wanted.requested);
    const record: AttachmentRecord = { ...wanted, netnsIdentity: identity, addresses };
    const entry: AttachmentEntry = { record, state: 'adding', identity, ...SAVED };
    this.#entries.set(id, entry);
    try {
      await this.#write.request();
    } catch (error) {
      this.#forget(entry);
      await this.#writeAgain();
      throw error;
    }
    try {
      if (!record.remote) await this.#options.admit?.(record);
      if (wanted.ownsNetns) await this.#network.addNamespace(basename(wanted.netns!));
      await this.#ensure(record);
    } catch (error) {
      await this.#rollBack(entry);
      throw error;
    }
    entry.state = 'ready';
    this.#changed(entry, 'added');
    const texts = addresses.map(formatAddress);
    this.#log.info({ ...nameOf(entry.record), addresses: texts, netns: wanted.netns }, 'attachment is ready');
    return entry;
  }

  /** Removes what a failed `create` made. Its error is the one that matters; what fails here is logged. */
  async #rollBack(entry: AttachmentEntry): Promise<void> {
    try {
      await this.remove(entry);
    } catch (error) {
      const fields = { ...nameOf(entry.record), err: error };
      this.#log.error(fields, 'an attachment that failed could not be removed again');
    }
  }

  #forget({ record }: AttachmentEntry): void {
    this.#entries.delete(record.id);
    this.#pool.free(record.id);
  }

  /** If it throws, it is `missing`, and may be removed again. */
  async remove(entry: AttachmentEntry): Promise<void> {
    const { record } = entry;
    const wasAdded = entry.state !== 'adding';
    entry.state = 'removing';
    try {
      if (!record.remote) await this.#network.remove(record);
      if (record.ownsNetns) await this.#network.removeNamespace(basename(record.netns!));
      entry.isForgotten = true;
      await this.#write.request();
    } catch (error) {
      entry.state = 'missing';
      if (entry.isForgotten) {
        entry.isForgotten = false;
        await this.#writeAgain();
      }
      if (wasAdded) this.#changed(entry, 'changed');
      throw error;
    }
    this.#forget(entry);
    if (!wasAdded) return;
    this.#changed(entry, 'removed');
    this.#log.info(nameOf(entry.record), 'attachment is removed');
  }

  /**
   * Makes an attachment that is remembered whole again. False if its namespace is gone, or may be another's by now;
   * with `isSamePath` the namespace at its path is its own. Throws what the network says; it is `missing` then.
   */
  async makeWhole(entry: AttachmentEntry, { isSamePath }: { isSamePath: boolean }): Promise<boolean> {
    const before = this.describe(entry);
    const { id, addresses: old } = entry.record;
    try {
      const found = this.#namespaces.find(entry.record, this.#entries.values(), { isSamePath });
      const addresses = this.#pool.fits(id) ? this.#pool.addressesOf(id) : this.#pool.allocate(id);
      const netnsIdentity = found.isGone ? entry.record.netnsIdentity : found.identity;
      if (addresses !== old) {
        this.#log.warn(
          { ...nameOf(entry.record), addresses: addresses.map(formatAddress) },
          "attachment was outside of this node's subnets and moves",
        );
        // With the interface go the old addresses and the routes to them: before it is remembered to have others.
        if (!entry.record.remote) await this.#takeOff(entry.record);
      }
      if (addresses !== old || netnsIdentity !== entry.record.netnsIdentity) {
        await this.#save(entry, { ...entry.record, addresses, netnsIdentity });
      } else if (entry.isUnsaved) {
        await this.#save(entry, entry.record);
      }
      if (found.isGone) {
        entry.state = 'missing';
        return false;
      }
      if (found.isToMake) await this.#network.addNamespace(basename(entry.record.netns!));
      entry.identity = undefined;
      await this.#ensure(entry.record);
      entry.state = 'ready';
      return true;
    } catch (error) {
      entry.state = 'missing';
      throw error;
    } finally {
      const now = this.describe(entry);
      if (now.status !== before.status || now.addresses !== before.addresses) this.#changed(entry, 'changed');
    }
  }

  /**
   * Takes the addresses of before off one that has others now. Until they are, nobody else gets them, though subnets may change
   * meanwhile; and where they cannot be taken off, they stay its own.
   */
  async #takeOff({ id, hostInterface, addresses }: AttachmentRecord): Promise<void> {
    const held = `${id} moves`;
    const freed = addresses.filter((address) => this.#pool.ownerOf(address) === undefined);
    this.#pool.reserve(held, freed);
    try {
      await this.#network.remove({ hostInterface, addresses });
    } catch (error) {
      this.#pool.free(held);
      const isAnothers = (address: IpAddress) => ![undefined, id].includes(this.#pool.ownerOf(address));
      // One that was remembered for two of them is the other's.
      if (!addresses.some(isAnothers)) this.#pool.reserve(id, addresses);
      throw error;
    }
    this.#pool.free(held);
  }

  /** Says whether it is made from the node's configuration. */
  async setStatic(entry: AttachmentEntry, isStatic: boolean): Promise<void> {
    if (entry.record.static !== isStatic) await this.#save(entry, { ...entry.record, static: isStatic });
  }

  /** What it is called. Throws ATTACHMENT_INVALID. */
  async setDescription(entry: AttachmentEntry, said: AttachmentDescription): Promise<void> {
    const { record } = entry;
    const wanted = wantedAttachment(
      { ...record, ...said, addresses: record.requested },
      this.#options.nodeId,
    );
    if (isSameRequest(record, wanted)) return;
    const { name, network, labels } = wanted;
    await this.#save(entry, { ...record, name, network, labels });
    this.#changed(entry, 'changed');
  }

  async #save(entry: AttachmentEntry, record: AttachmentRecord): Promise<void> {
    entry.record = record;
    entry.isUnsaved = true;
    await this.#write.request();
    entry.isUnsaved = false;
  }

  /**
   * After a write that failed: it may be on the disk all the same, and the one behind it may have begun before what was
   * to be written was taken back. If this one fails too, what the disk has is known after the next one that does not.
   */
  async #writeAgain(): Promise<void> {
    await this.#write.request().catch(() => {});
  }

  /** False if there is nothing to do for now: it is missing, or `restore` will give it other addresses. */
  async ensureAgain(entry: AttachmentEntry): Promise<boolean> {
    if (!this.#isWorking(entry)) return false;
    await this.#ensure(entry.record);
    return true;
  }

  async #ensure(record: AttachmentRecord): Promise<void> {
    if (!record.remote) await this.#network.ensure(this.#link(record));
  }

  /** Whether it is as it should be, as far as this node knows. */
  #isWorking(entry: AttachmentEntry): boolean {
    const { record, state } = entry;
    return state === 'ready' && this.#pool.fits(record.id) && this.#namespaces.isPresent(entry);
  }

  /** What is wrong with it; empty if nothing is. */
  async problems(entry: AttachmentEntry): Promise<AttachmentProblem[]> {
    const { record, state } = entry;
    const { id, netns, hostInterface } = record;
    // Before what a node without a subnet says of all of them.
    if (!this.#namespaces.isPresent(entry)) {
      return [{ code: 'namespace', message: `the network namespace ${netns} of ${id} is gone` }];
    }
    if (!this.#pool.fits(id)) {
      return [{ code: 'subnet', message: `the addresses of ${id} are outside of this node's subnets` }];
    }
    if (state !== 'ready') {
      return [{ code: 'failed', message: `the network of ${id} could not be made, see the log` }];
    }
    if (record.remote) return [];
    const damaged = await this.#network.findDamaged([this.#link(record)]);
    const message =
      damaged.length > 0
        ? `${hostInterface} or the routes through it are gone or changed`
        : await this.#network.findInnerDamage(this.#link(record));
    return message === undefined ? [] : [{ code: 'interface', message }];
  }

  /** Those of which something is missing or changed on the node's side. */
  async findDamaged(): Promise<AttachmentEntry[]> {
    const working = [...this.#entries.values()].filter(
      (entry) => !entry.record.remote && this.#isWorking(entry),
    );
    if (working.length === 0) return [];
    const damaged = await this.#network.findDamaged(working.map(({ record }) => this.#link(record)));
    return damaged.flatMap(({ id }) => this.#entries.get(id) ?? []);
  }

  /** Those in the network namespace at `path`, whatever paths they know it by. */
  inNamespace(path: string): AttachmentEntry[] {
    return this.#namespaces.within(this.#entries.values(), this.#network.identityOf(path));
  }

  describe(entry: AttachmentEntry): Attachment {
    const { requested, netnsIdentity, ...rest } = entry.record;
    return { ...rest, mtu: this.#mtu(entry.record), status: this.#status(entry) };
  }

  #status(entry: AttachmentEntry): Attachment['status'] {
    if (entry.state === 'adding' || entry.state === 'removing') return 'pending';
    return entry.state === 'ready' && this.#namespaces.isPresent(entry) ? 'ready' : 'missing';
  }

  #link(record: AttachmentRecord): AttachmentLink {
    const { id, hostInterface, interfaceName, netns, addresses } = record;
    const gateways = addresses.map((address) => this.#gatewayOf(id, address));
    const { gsoMaxSegments } = this.#limits;
    const mtu = this.#mtu(record);
    return { id, hostInterface, interfaceName, netns, addresses, gateways, mtu, gsoMaxSegments };
  }

  #gatewayOf(id: string, address: IpAddress): IpAddress {
    const subnet = this.#pool.subnets.find((one) => prefixContains(one, address));
    if (subnet !== undefined) return nodeAddress(subnet);
    throw new WarrenError(
      'ADDRESS_OUTSIDE',
      `${formatAddress(address)} of ${id} is outside of the subnets that this node has by now`,
    );
  }

  #state() {
    const remembered = [...this.#entries.values()].filter(({ isForgotten }) => !isForgotten);
    return { attachments: remembered.map(({ record }) => record), last: this.#pool.last };
  }

  #remember(record: AttachmentRecord): void {
    this.#entries.set(record.id, { record, state: 'ready', identity: undefined, ...SAVED });
    try {
      this.#pool.reserve(record.id, record.addresses);
    } catch (error) {
      // Without addresses in the pool it fits no subnet, and `restore` gives it others.
      this.#log.error({ ...nameOf(record), err: error }, 'two attachments are remembered with one address');
    }
  }

  #changed(entry: AttachmentEntry, kind: AttachmentChange['kind']): void {
    this.#onChange({ id: entry.record.id, kind });
  }

  #mtu(record: AttachmentRecord): number {
    return Math.min(record.mtu ?? this.#limits.mtu, this.#limits.mtu);
  }
}

/** How the log names it. */
export function nameOf({ id, client }: AttachmentRecord): { readonly id: string; readonly client: string } {
  return { id, client };
}
