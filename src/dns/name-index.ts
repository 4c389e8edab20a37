/**
 * The names of all that the nodes have attached, kept in step with their inventories. Whether a node is there, and which
 * addresses it may speak of, is asked with each look-up: so the names of a node are gone with the news of its death.
 */
import { nodeAddress } from '../attachment/addresses.ts';
import type { Holder, InventoryChange, InventoryEntry } from '../inventory/inventory.ts';
import { type IpAddress, sameAddress } from '../ip/address.ts';
import { prefixContains } from '../ip/prefix.ts';
import type { Member } from '../membership/types.ts';
import { type EntryNames, entryNames, type Port } from './entry-names.ts';
import type { Instance, NameSource } from './name-source.ts';

/** Of Inventories (inventory/inventories.ts), what names are made of. */
export interface NamedInventory {
  entries(): Iterable<Holder>;
  holders(address: IpAddress): readonly Holder[];
  on(event: 'change', listener: (change: InventoryChange) => void): unknown;
  off(event: 'change', listener: (change: InventoryChange) => void): unknown;
}

/** Of Membership, the same. */
export interface NamedMembers {
  members(): readonly Member[];
  member(id: string): Member | undefined;
  on(event: 'change', listener: (member: Member) => void): unknown;
  on(event: 'removed', listener: (member: Member) => void): unknown;
  off(event: 'change', listener: (member: Member) => void): unknown;
  off(event: 'removed', listener: (member: Member) => void): unknown;
}

export interface NameIndexOptions {
  readonly inventory: NamedInventory;
  readonly members: NamedMembers;
  /** Whether a node may have attachments with this address. */
  readonly mayHave: (nodeId: string, address: IpAddress) => boolean;
  /** Whether it takes part in forwarding. */
  readonly admits: (nodeId: string) => boolean;
}

interface Indexed extends EntryNames {
  readonly nodeId: string;
  readonly entry: InventoryEntry;
  /** In lower case. */
  readonly network: string;
}

export class NameIndex implements NameSource {
  readonly #options: NameIndexOptions;
  /** All of these are bounded by the inventories and members that they are made of. */
  readonly #entries = new Map<string, Map<string, Indexed>>();
  readonly #onNode = new Groups<Indexed>();
  readonly #inNetwork = new Groups<Indexed>();
  readonly #networks = new Groups<Indexed>();
  /** By a node's name: ids. */
  readonly #nodes = new Groups<string>();
  /** By id: the name under which it stands above. */
  readonly #nodeNames = new Map<string, string>();
  readonly #onInventory = (change: InventoryChange) => this.#inventoryChanged(change);
  readonly #onMember = (member: Member) => this.#memberChanged(member);
  readonly #onRemoved = ({ id }: Member) => this.#renameNode(id, undefined);

  constructor(options: NameIndexOptions) {
    this.#options = options;
    const { inventory, members } = options;
    for (const { nodeId, entry } of inventory.entries()) this.#add(nodeId, entry);
    for (const member of members.members()) this.#memberChanged(member);
    inventory.on('change', this.#onInventory);
    members.on('change', this.#onMember);
    members.on('removed', this.#onRemoved);
  }

  close(): void {
    const { inventory, members } = this.#options;
    inventory.off('change', this.#onInventory);
    members.off('change', this.#onMember);
    members.off('removed', this.#onRemoved);
  }

  onNode(name: string, node: string): Instance[] {
    return [...this.#nodes.of(node)].flatMap((id) => this.#instances(this.#onNode.of(keyOf(name, id))));
  }

  inNetwork(service: string, network: string): Instance[] {
    return this.#instances(this.#inNetwork.of(keyOf(service, network)));
  }

  node(name: string): readonly IpAddress[] | undefined {
    const there = [...this.#nodes.of(name)].flatMap((id) => this.#thereMember(id) ?? []);
    if (there.length === 0) return undefined;
    return there.flatMap(({ lease }) => (lease?.state === 'active' ? lease.prefixes.map(nodeAddress) : []));
  }

  hasNetwork(network: string): boolean {
    return this.#networks.of(network).size > 0;
  }

  at(address: IpAddress): Instance | { readonly node: string } | undefined {
    for (const { nodeId, entry } of this.#options.inventory.holders(address)) {
      const indexed = this.#entries.get(nodeId)?.get(entry.id);
      const instance = indexed && this.#instances([indexed])[0];
      if (instance) return instance;
    }
    // The only address of a node in its subnet: its members are not many, and such a question is rare.
    const owner = this.#options.members.members().find(({ id, lease }) => {
      const subnet = lease?.prefixes.find((prefix) => prefixContains(prefix, address));
      return subnet && this.#thereMember(id) && sameAddress(nodeAddress(subnet), address);
    });
    return owner && { node: owner.name.toLowerCase() };
  }

  #instances(all: Iterable<Indexed>): Instance[] {
    const found: Instance[] = [];
    for (const indexed of all) {
      const member = this.#thereMember(indexed.nodeId);
      if (member) found.push(new FoundInstance(indexed, member, this.#options.mayHave));
    }
    return found;
  }

  /** Undefined for one that is dead or has left, or may not take part. */
  #thereMember(id: string): Member | undefined {
    const member = this.#options.members.member(id);
    const isThere = member?.status === 'alive' || member?.status === 'suspect';
    return isThere && this.#options.admits(id) ? member : undefined;
  }

  #inventoryChanged({ nodeId, set, deleted }: InventoryChange): void {
    for (const id of deleted) this.#remove(nodeId, id);
    for (const entry of set) {
      this.#remove(nodeId, entry.id);
      this.#add(nodeId, entry);
    }
  }

  #add(nodeId: string, entry: InventoryEntry): void {
    const indexed: Indexed = {
      ...{ nodeId, entry, network: entry.network.toLowerCase() },
      ...entryNames(entry),
    };
    const ofNode = this.#entries.get(nodeId) ?? new Map<string, Indexed>();
    this.#entries.set(nodeId, ofNode.set(entry.id, indexed));
    if (indexed.name !== undefined) this.#onNode.add(keyOf(indexed.name, nodeId), indexed);
    for (const service of indexed.services) this.#inNetwork.add(keyOf(service, indexed.network), indexed);
    this.#networks.add(indexed.network, indexed);
  }

  #remove(nodeId: string, id: string): void {
    const ofNode = this.#entries.get(nodeId);
    const indexed = ofNode?.get(id);
    if (!ofNode || !indexed) return;
    ofNode.delete(id);
    if (ofNode.size === 0) this.#entries.delete(nodeId);
    if (indexed.name !== undefined) this.#onNode.delete(keyOf(indexed.name, nodeId), indexed);
    for (const service of indexed.services) this.#inNetwork.delete(keyOf(service, indexed.network), indexed);
    this.#networks.delete(indexed.network, indexed);
  }

  #memberChanged({ id, name }: Member): void {
    this.#renameNode(id, name.toLowerCase());
  }

  #renameNode(id: string, name: string | undefined): void {
    const before = this.#nodeNames.get(id);
    if (before === name) return;
    if (before !== undefined) this.#nodes.delete(before, id);
    if (name === undefined) this.#nodeNames.delete(id);
    else {
      this.#nodeNames.set(id, name);
      this.#nodes.add(name, id);
    }
  }
}

/** Of a service with many instances an answer has room for few: the rest of what they are is asked for then. */
class FoundInstance implements Instance {
  readonly #indexed: Indexed;
  readonly #member: Member;
  readonly #mayHave: NameIndexOptions['mayHave'];

  constructor(indexed: Indexed, member: Member, mayHave: NameIndexOptions['mayHave']) {
    this.#indexed = indexed;
    this.#member = member;
    this.#mayHave = mayHave;
  }

  get name(): string | undefined {
    return this.#indexed.name;
  }

  get node(): string {
    return this.#member.name.toLowerCase();
  }

  get network(): string {
    return this.#indexed.network;
  }

  get addresses(): readonly IpAddress[] {
    const { nodeId, entry } = this.#indexed;
    return entry.addresses.filter((address) => this.#mayHave(nodeId, address));
  }

  get ports(): readonly Port[] {
    return this.#indexed.ports;
  }

  get isHealthy(): boolean {
    return this.#indexed.isHealthy;
  }
}

/** No name has a space. */
function keyOf(name: string, place: string): string {
  return `${name} ${place}`;
}

class Groups<T> {
  readonly #groups = new Map<string, Set<T>>();

  of(key: string): ReadonlySet<T> {
    return this.#groups.get(key) ?? new Set();
  }

  add(key: string, item: T): void {
    const group = this.#groups.get(key);
    if (group) group.add(item);
    else this.#groups.set(key, new Set([item]));
  }

  delete(key: string, item: T): void {
    const group = this.#groups.get(key);
    group?.delete(item);
    if (group?.size === 0) this.#groups.delete(key);
  }
}
