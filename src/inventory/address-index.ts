/** Which attachments say that an address is theirs. Bounded by the inventories it is made of. */
import type { IpAddress } from '../ip/address.ts';
import type { InventoryEntry } from './inventory.ts';
import type { Difference } from './snapshot.ts';

export interface Claimant {
  readonly node: string;
  readonly entry: InventoryEntry;
}

export class AddressIndex {
  readonly #claimants = { 4: new Map<bigint, Claimant[]>(), 6: new Map<bigint, Claimant[]>() } as const;
  /** By node, then by id: what stands in the index. */
  readonly #entries = new Map<string, Map<string, InventoryEntry>>();

  apply(node: string, { set, deleted }: Difference): void {
    const entries = this.#entries.get(node) ?? new Map<string, InventoryEntry>();
    for (const id of deleted) this.#remove(node, entries, id);
    for (const { entry } of set) {
      this.#remove(node, entries, entry.id);
      entries.set(entry.id, entry);
      for (const address of entry.addresses) this.#add(address, { node, entry });
    }
    if (entries.size > 0) this.#entries.set(node, entries);
    else this.#entries.delete(node);
  }

  claimants(address: IpAddress): readonly Claimant[] {
    return this.#claimants[address.family].get(address.value) ?? [];
  }

  #add({ family, value }: IpAddress, claimant: Claimant): void {
    const all = this.#claimants[family].get(value);
    if (all) all.push(claimant);
    else this.#claimants[family].set(value, [claimant]);
  }

  #remove(node: string, entries: Map<string, InventoryEntry>, id: string): void {
    const before = entries.get(id);
    if (!before) return;
    entries.delete(id);
    for (const { family, value } of before.addresses) {
      const rest = this.#claimants[family]
        .get(value)
        ?.filter((one) => one.node !== node || one.entry.id !== id);
      if (rest && rest.length > 0) this.#claimants[family].set(value, rest);
      else this.#claimants[family].delete(value);
    }
  }
}
