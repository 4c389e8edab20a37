/**
 * The nodes of a cluster as its API tells of them: events go in, changes come out. It knows no clock and no network, so that
 * whatever an API server may say is a table in a test.
 *
 *     page, page, ..., listed     a list in pages; what is in none of them is gone, once the list is complete
 *     changed, deleted            what a watch tells of one node
 *
 * While a list is not complete what was known before it stays.
 */
import { formatAddress, type IpAddress } from '../ip/address.ts';
import { formatPrefix, type Prefix } from '../ip/prefix.ts';
import { type NodeState, nodeState } from './node-object.ts';
import type { ResourceEvent } from './resource-watch.ts';

export interface NodeChange {
  /** Undefined: it is new. */
  readonly before: NodeState | undefined;
  /** Undefined: it is gone. */
  readonly after: NodeState | undefined;
}

/** Kubernetes itself is tested with 5,000. What comes beyond is not known here. */
export const MAX_NODES = 16_384;

/** Who has which address or prefix, by name: nearly always one, and then no list is made for it. */
type Holders = Map<string, string | readonly string[]>;

export class NodesView {
  readonly #nodes = new Map<string, NodeState>();
  readonly #byAddress: Holders = new Map();
  readonly #byPodCidr: Holders = new Map();
  /** Names in the pages of a list that is not complete. */
  #listed = new Set<string>();
  #isComplete = false;
  /** Nodes that could not be read, or were too many. */
  unread = 0;

  /** Whether a list was complete once. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  get size(): number {
    return this.#nodes.size;
  }

  nodes(): IterableIterator<NodeState> {
    return this.#nodes.values();
  }

  node(name: string): NodeState | undefined {
    return this.#nodes.get(name);
  }

  /** The Node that a member of the cluster runs on: by its address, else by its name. */
  nodeOf(member: {
    readonly name: string;
    readonly gossip: { readonly address: IpAddress };
  }): NodeState | undefined {
    const [name = member.name] = namesOf(this.#byAddress.get(formatAddress(member.gossip.address)));
    return this.#nodes.get(name);
  }

  /** Names of the Nodes that have this podCIDR. */
  holders(podCidr: Prefix): readonly string[] {
    return namesOf(this.#byPodCidr.get(formatPrefix(podCidr)));
  }

  /** podCIDRs that several Nodes have, with their names. */
  shared(): { readonly podCidr: string; readonly names: readonly string[] }[] {
    return [...this.#byPodCidr].flatMap(([podCidr, names]) =>
      typeof names === 'string' ? [] : [{ podCidr, names: names.toSorted() }],
    );
  }

  apply(event: ResourceEvent): NodeChange[] {
    switch (event.type) {
      case 'relisting':
        this.#listed = new Set();
        this.unread = 0;
        return [];
      case 'page':
        return event.objects.flatMap((node) => this.#take(node, this.#listed));
      case 'listed': {
        const gone = [...this.#nodes.values()].filter(({ name }) => !this.#listed.has(name));
        this.#listed = new Set();
        this.#isComplete = true;
        return gone.map((before) => this.#replace(before, undefined));
      }
      case 'changed':
        return this.#take(event.object);
      case 'deleted': {
        const name = nodeState(event.object)?.name;
        const before = name === undefined ? undefined : this.#nodes.get(name);
        return before ? [this.#replace(before, undefined)] : [];
      }
    }
  }

  #take(object: unknown, listed?: Set<string>): NodeChange[] {
    const after = nodeState(object);
    const before = after && this.#nodes.get(after.name);
    if (!after || (!before && this.#nodes.size >= MAX_NODES)) {
      this.unread++;
      return [];
    }
    listed?.add(after.name);
    return before && textOf(before) === textOf(after) ? [] : [this.#replace(before, after)];
  }

  #replace(before: NodeState | undefined, after: NodeState | undefined): NodeChange {
    if (before) this.#index(before, removeFrom);
    if (before && !after) this.#nodes.delete(before.name);
    if (after) {
      this.#nodes.set(after.name, after);
      this.#index(after, addTo);
    }
    return { before, after };
  }

  #index({ name, addresses, podCidrs }: NodeState, change: typeof addTo): void {
    for (const address of addresses) change(this.#byAddress, formatAddress(address), name);
    for (const podCidr of podCidrs) change(this.#byPodCidr, formatPrefix(podCidr), name);
  }
}

function addTo(holders: Holders, key: string, name: string): void {
  const names = namesOf(holders.get(key));
  if (!names.includes(name)) hold(holders, key, [...names, name]);
}

function removeFrom(holders: Holders, key: string, name: string): void {
  hold(
    holders,
    key,
    namesOf(holders.get(key)).filter((one) => one !== name),
  );
}

function hold(holders: Holders, key: string, names: readonly string[]): void {
  const [first, ...others] = names;
  if (first === undefined) holders.delete(key);
  else holders.set(key, others.length === 0 ? first : names);
}

function namesOf(holders: string | readonly string[] | undefined): readonly string[] {
  if (holders === undefined) return [];
  return typeof holders === 'string' ? [holders] : holders;
}

function textOf({ addresses, podCidrs, networkUnavailable }: NodeState): string {
  const { status, reason } = networkUnavailable ?? {};
  return [addresses.map(formatAddress), podCidrs.map(formatPrefix), status, reason].join('|');
}
