/** Keeps this node's inventory in step with its attachments. */
import type { Attachment } from '../attachment/attachment.ts';
import type { Attachments } from '../attachment/attachments.ts';
import type { InventoryEntry } from '../inventory/inventory.ts';

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

function entryOf({ id, name, addresses, network, labels }: Attachment): InventoryEntry {
  return { id, name, addresses, network, labels };
}
