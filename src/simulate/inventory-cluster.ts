/** A simulated cluster whose nodes have attachments, and know each other's (inventory/). */

import { decodeEntry } from '../inventory/entry.ts';
import { Inventories } from '../inventory/inventories.ts';
import type { InventoryEntry } from '../inventory/inventory.ts';
import { type InventoryTiming, inventoryTiming } from '../inventory/timing.ts';
import { silentLogger } from '../log/logger.ts';
import { seededRandom } from '../membership/random.ts';
import type { Rpc } from '../rpc/rpc.ts';
import { type ClusterOptions, SimulatedCluster, type SimulatedNode } from './cluster.ts';

export interface InventoryClusterOptions extends ClusterOptions {
  readonly inventory?: Partial<InventoryTiming>;
  /** In place of the node's own calls. */
  readonly rpcOf?: (node: SimulatedNode) => Rpc;
}

export class InventoryNode {
  readonly node: SimulatedNode;
  inventories!: Inventories;
  /** What stands on its disk. */
  storedVersion: number | undefined;
  /** What its agent attaches anew when it starts. */
  readonly attached = new Map<string, InventoryEntry>();

  constructor(node: SimulatedNode) {
    this.node = node;
  }

  get id(): string {
    return this.node.id;
  }

  set(entry: InventoryEntry): void {
    this.attached.set(entry.id, entry);
    this.inventories.set(entry);
  }

  delete(id: string): void {
    this.attached.delete(id);
    this.inventories.delete(id);
  }

  async stop(): Promise<void> {
    this.inventories.stop();
    await this.node.stop();
  }

  /** Like SIGKILL. */
  async kill(): Promise<void> {
    const { storedVersion } = this;
    this.inventories.stop();
    this.storedVersion = storedVersion;
    await this.node.kill();
  }
}

export class InventoryCluster {
  readonly cluster: SimulatedCluster;
  readonly nodes: InventoryNode[] = [];
  readonly #options: InventoryClusterOptions;
  /** What one node has decoded all others have: the same bytes say the same everywhere. Bounded by the attachments made. */
  readonly #decoded = new Map<string, ReturnType<typeof decodeEntry>>();

  constructor(options: InventoryClusterOptions) {
    this.#options = options;
    this.cluster = new SimulatedCluster(options);
  }

  get clock() {
    return this.cluster.clock;
  }

  /** A node with so many attachments; it is not started. */
  add(attachments: number): InventoryNode {
    const node = new InventoryNode(this.cluster.add());
    const number = this.nodes.length;
    for (let i = 0; i < attachments; i++) {
      const entry = attachment(number, i);
      node.attached.set(entry.id, entry);
    }
    this.nodes.push(node);
    node.node.beforeStart = (clock) => {
      node.inventories = new Inventories({
        membership: node.node.membership,
        rpc: this.#options.rpcOf?.(node.node) ?? node.node.rpc,
        store: {
          load: () => node.storedVersion,
          save: (version) => {
            if (node.node.isDiskFull) throw new Error('no space left on device');
            node.storedVersion = version;
          },
        },
        logger: silentLogger,
        clock,
        random: seededRandom(this.#options.seed * 15_485_863 + number),
        timing: { ...inventoryTiming, ...this.#options.inventory },
        decodeEntry: (bytes) => this.#decode(bytes),
      });
      for (const entry of node.attached.values()) node.inventories.set(entry);
      node.inventories.start();
    };
    return node;
  }

  async start(nodes: number, attachments: number): Promise<void> {
    for (let i = 0; i < nodes; i++) this.add(attachments);
    await Promise.all(this.nodes.map(({ node }) => node.start()));
  }

  get running(): readonly InventoryNode[] {
    return this.nodes.filter(({ node }) => node.isRunning);
  }

  /** Every running node has the newest record of every running node. */
  get isTold(): boolean {
    const { running } = this;
    const marks = running.map(({ id, node }) => [id, node.membership.self().inventory?.hash] as const);
    return running.every(({ node }) =>
      marks.every(([id, hash]) => {
        const member = node.membership.member(id);
        return member?.status === 'alive' && member.inventory?.hash === hash;
      }),
    );
  }

  /** And has pulled what they stand for. Goes by hashes, and is quicker than `agrees`. */
  get isSettled(): boolean {
    return (
      this.running.every(({ inventories }) => inventories.isAnnounced && inventories.behind === 0) &&
      this.isTold
    );
  }

  /** Every running node has what every running node has attached, and knows that it is so. */
  agrees(nodes: readonly InventoryNode[] = this.running): boolean {
    return nodes.every((reader) =>
      nodes.every((owner) => {
        const seen = reader.inventories.node(owner.id);
        return seen?.isCurrent && sameEntries(seen.entries, owner.attached);
      }),
    );
  }

  #decode(bytes: Uint8Array): ReturnType<typeof decodeEntry> {
    const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
    let decoded = this.#decoded.get(key);
    if (!decoded) {
      decoded = decodeEntry(Uint8Array.from(bytes));
      this.#decoded.set(key, decoded);
    }
    return decoded;
  }
}

/** As a container engine's: an id of 64 hexadecimal digits and an interface, both families, a few labels. */
export function attachment(node: number, number: number): InventoryEntry {
  const id = `${node.toString(16).padStart(8, '0')}${number.toString(16).padStart(56, '0')}/eth0`;
  const host = BigInt(number % 250) + 2n;
  return {
    id,
    name: `pod-${node}-${number}`,
    addresses: [
      { family: 4, value: 0x0a2a_0000n + (BigInt(node) << 8n) + host },
      { family: 6, value: (0xfd42n << 112n) + (BigInt(node) << 64n) + host },
    ],
    network: '',
    labels: { app: `app-${number % 10}`, tier: number % 2 === 0 ? 'web' : 'data' },
  };
}

function sameEntries(
  seen: readonly InventoryEntry[],
  attached: ReadonlyMap<string, InventoryEntry>,
): boolean {
  return seen.length === attached.size && seen.every((entry) => attached.get(entry.id)?.name === entry.name);
}
