/**
 * Who has which of a node's pod addresses. It keeps nothing on the disk itself: whoever owns the state calls `reserve`
 * for each owner that it remembers, starts with the `last` that it remembers, and writes both after an `allocate`.
 *
 * Subnets may change while it runs. What an owner has stays its own, inside of the subnets or not, until it allocates
 * again or is freed.
 */
import { WarrenError } from '../errors.ts';
import { type Family, formatAddress, type IpAddress } from '../ip/address.ts';
import { addressCount, formatPrefix, type Prefix, prefixContains } from '../ip/prefix.ts';
import { isPodAddress, nextPodAddress, podCapacity } from './addresses.ts';

/** Addresses of one family that are kept back at a time. */
const MAX_HELD = 1024;

export interface AddressPoolOptions {
  /** The node's own, one of each family at most. */
  readonly subnets: readonly Prefix[];
  /** The addresses given out last, one of each family at most: the next ones are those after them. */
  readonly last: readonly IpAddress[];
}

export class AddressPool {
  #subnets: readonly Prefix[];
  #reserved: readonly Prefix[] = [];
  readonly #last: Map<Family, IpAddress>;
  /** Address to owner. Bounded by the owners, of which the caller has a limit. */
  readonly #owners: Readonly<Record<Family, Map<bigint, string>>> = { 4: new Map(), 6: new Map() };
  readonly #addresses = new Map<string, readonly IpAddress[]>();
  /** Promised to somebody who has not asked for them yet. Bounded by MAX_HELD. */
  readonly #held: Readonly<Record<Family, Set<bigint>>> = { 4: new Set(), 6: new Set() };

  constructor(options: AddressPoolOptions) {
    this.#subnets = options.subnets;
    this.#last = new Map(options.last.map((address) => [address.family, address]));
  }

  get subnets(): readonly Prefix[] {
    return this.#subnets;
  }

  get last(): readonly IpAddress[] {
    return [...this.#last.values()];
  }

  setSubnets(subnets: readonly Prefix[]): void {
    this.#subnets = subnets;
  }

  /** These are given to nobody from now on; who has an address in there keeps it. */
  setReserved(prefixes: readonly Prefix[]): void {
    this.#reserved = prefixes;
  }

  ownerOf(address: IpAddress): string | undefined {
    return this.#owners[address.family].get(address.value);
  }

  addressesOf(owner: string): readonly IpAddress[] {
    return this.#addresses.get(owner) ?? [];
  }

  /** True if the owner has exactly one address in each of the node's subnets. */
  fits(owner: string): boolean {
    const addresses = this.addressesOf(owner);
    return (
      addresses.length === this.#subnets.length &&
      this.#subnets.every((subnet) => addresses.some((address) => isPodAddress(subnet, address)))
    );
  }

  /**
   * Gives the owner one address of each subnet: the one in `requested`, else the one that it has there, else the next
   * free one. What it had outside of them is freed. All or nothing. Throws POD_NO_SUBNET, POD_SUBNET_EXHAUSTED,
   * ADDRESS_TAKEN, ADDRESS_OUTSIDE.
   */
  allocate(owner: string, requested: readonly IpAddress[] = []): readonly IpAddress[] {
    if (this.#subnets.length === 0) {
      throw new WarrenError('POD_NO_SUBNET', 'this node has no subnet yet, so it has no addresses for pods', {
        hint: '`warren status` shows how far it is with its lease.',
      });
    }
    for (const address of requested) this.#checkRequested(owner, address);
    const next: IpAddress[] = [];
    const addresses = this.#subnets.map((subnet) => {
      const isThere = (address: IpAddress) => isPodAddress(subnet, address);
      const known = requested.find(isThere) ?? this.addressesOf(owner).find(isThere);
      if (known !== undefined) return known;
      const free = this.#nextOf(subnet);
      next.push(free);
      return free;
    });
    for (const address of next) this.#last.set(address.family, address);
    this.#assign(owner, addresses);
    return addresses;
  }

  /**
   * Makes exactly these the owner's, whatever the subnets are: it is remembered to have them, or they are to be given
   * to nobody. Throws ADDRESS_TAKEN if another has one.
   */
  reserve(owner: string, addresses: readonly IpAddress[]): void {
    for (const address of addresses) this.#checkFree(owner, address);
    this.#assign(owner, addresses);
  }

  /** Nothing happens if it has none. */
  free(owner: string): void {
    for (const { family, value } of this.addressesOf(owner)) this.#owners[family].delete(value);
    this.#addresses.delete(owner);
  }

  /**
   * Keeps an address back, the next free one or the one that is asked for, until it is allocated by name or released.
   * Throws POD_NO_SUBNET, POD_SUBNET_EXHAUSTED, ADDRESS_TAKEN, ADDRESS_OUTSIDE, ADDRESS_HOLD_LIMIT.
   */
  hold(family: Family, requested?: IpAddress): IpAddress {
    const subnet = this.#subnets.find((one) => one.family === family);
    if (subnet === undefined) {
      throw new WarrenError('POD_NO_SUBNET', `this node has no IPv${family} subnet`, {
        hint: '`warren status` shows how far it is with its lease.',
      });
    }
    const held = this.#held[family];
    if (held.size >= MAX_HELD) {
      throw new WarrenError('ADDRESS_HOLD_LIMIT', `${MAX_HELD} addresses are kept back already`, {
        hint: 'They come free when the containers that they are for are attached or removed.',
      });
    }
    if (requested !== undefined) {
      this.#checkRequested('', requested);
      if (held.has(requested.value)) throw taken(requested, 'a container that is being made');
    }
    const address = requested ?? this.#nextOf(subnet);
    if (requested === undefined) this.#last.set(family, address);
    held.add(address.value);
    return address;
  }

  /** Nothing happens if it is not kept back. */
  release({ family, value }: IpAddress): void {
    this.#held[family].delete(value);
  }

  #assign(owner: string, addresses: readonly IpAddress[]): void {
    this.free(owner);
    for (const { family, value } of addresses) {
      this.#owners[family].set(value, owner);
      this.#held[family].delete(value);
    }
    this.#addresses.set(owner, addresses);
  }

  #nextOf(subnet: Prefix): IpAddress {
    const [owners, held] = [this.#owners[subnet.family], this.#held[subnet.family]];
    const used = {
      has: (value: bigint) => owners.has(value) || held.has(value),
      size: owners.size + held.size,
    };
    let last = this.#last.get(subnet.family)?.value;
    // Past each of them once, and once more from the start of the subnet.
    for (let jumps = 0; jumps <= 2 * this.#reserved.length; jumps++) {
      const address = nextPodAddress(subnet, used, last);
      if (address === undefined) break;
      const reserved = this.#reservedOf(address);
      if (reserved === undefined) return address;
      last = reserved.value + addressCount(reserved) - 1n;
    }
    throw new WarrenError(
      'POD_SUBNET_EXHAUSTED',
      `this node's subnet ${formatPrefix(subnet)} has no free address: all ${podCapacity(subnet)} are taken`,
      {
        hint: 'Remove pods (warren pod rm NAME) or WireGuard peers (warren peer rm NAME), or give nodes larger subnets (cluster.nodePrefixLengths).',
      },
    );
  }

  #reservedOf(address: IpAddress): Prefix | undefined {
    return this.#reserved.find((prefix) => prefixContains(prefix, address));
  }

  #checkRequested(owner: string, address: IpAddress): void {
    if (!this.#subnets.some((subnet) => isPodAddress(subnet, address))) {
      const subnets = this.#subnets.map(formatPrefix).join(' and ');
      throw new WarrenError(
        'ADDRESS_OUTSIDE',
        `${formatAddress(address)} is not an address for pods in this node's ${subnets}`,
        { hint: 'Ask for one in there (not its first two or its IPv4 broadcast address), or for none.' },
      );
    }
    const reserved = this.#reservedOf(address);
    if (reserved !== undefined && this.ownerOf(address) !== owner) {
      throw new WarrenError(
        'ADDRESS_TAKEN',
        `${formatAddress(address)} lies in ${formatPrefix(reserved)} of a static peer`,
      );
    }
    this.#checkFree(owner, address);
  }

  #checkFree(owner: string, address: IpAddress): void {
    const other = this.ownerOf(address);
    if (other === undefined || other === owner) return;
    throw taken(address, other);
  }
}

function taken(address: IpAddress, other: string): WarrenError {
  return new WarrenError('ADDRESS_TAKEN', `${formatAddress(address)} belongs to ${other} already`, {
    hint: 'Ask for another address, or for none.',
  });
}
