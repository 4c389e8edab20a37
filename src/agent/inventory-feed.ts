/** Keeps this node's inventory in step with its attachments, and says what is attached anywhere. */
import type { Attachment } from '../attachment/attachment.ts';
import type { Attachments } from '../attachment/attachments.ts';
import type { Inventories } from '../inventory/inventories.ts';
import type { InventoryEntry } from '../inventory/inventory.ts';
import type { PeerView } from '../peers/peer-view.ts';
import type { AttachedOptions } from '../policy/attached.ts';

export interface InventoryTarget {
  set(entry: InventoryEntry): void;
  delete(id: string): void;
}

/** Tells `inventory` of all attachments that there are, and of each change from now on. */
export function feedInventory(
  attachments: Pick<Attachments, 'list' | 'get' | 'on'>,
  inventory: InventoryTarget,
): void {
  for (const attachment of attachments.list()) inventory.set(entryOf(attachment));
  attachments.on('change', ({ id }) => {
    const attachment = attachments.get(id);
    if (attachment) inventory.set(entryOf(attachment));
    else inventory.delete(id);
  });
}

/**
 * What is attached here and, as far as this node knows, elsewhere. With the leases of peers, which `peers` tells of, changes
 * which addresses a node may speak of.
 */
export function listedAttachments(
  attachments: Pick<Attachments, 'list' | 'on' | 'off'>,
  inventory: Pick<Inventories, 'listed' | 'on' | 'off'>,
  peers: Pick<PeerView, 'on' | 'off'>,
) {
  return {
    *listed(): IterableIterator<Pick<InventoryEntry, 'network' | 'addresses'>> {
      yield* attachments.list();
      for (const { entry } of inventory.listed()) yield entry;
    },
    onChange(listener: () => void): () => void {
      for (const source of [attachments, inventory, peers]) source.on('change', listener);
      return () => {
        for (const source of [attachments, inventory, peers]) source.off('change', listener);
      };
    },
  };
}

/** The same as pods of policies: those of this node from when they have addresses. */
export function attachedPods(
  attachments: Pick<Attachments, 'list' | 'on' | 'off'>,
  inventory: Pick<Inventories, 'listed' | 'on' | 'off' | 'ownId'>,
  peers: Pick<PeerView, 'on' | 'off'>,
): AttachedOptions {
  const { onChange } = listedAttachments(attachments, inventory, peers);
  return {
    local: () => attachments.list(),
    *others() {
      for (const { nodeId, entry } of inventory.listed()) if (nodeId !== inventory.ownId) yield entry;
    },
    onChange,
  };
}

function entryOf({ id, name, addresses, network, labels }: Attachment): InventoryEntry {
  return { id, name, addresses, network, labels };
}
