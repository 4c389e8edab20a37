/**
 * The host's network as attachments see it, in memory: namespaces that exist or not, interfaces with names that are
 * taken or free, and what tests break of them. It holds `AttachmentNetwork`'s promises and keeps a list of what nobody
 * may ever do (`violations`), such as two pieces of work on one interface at the same time.
 */
import { basename } from 'node:path';
import type { AttachmentLink, AttachmentNetwork } from '../../src/attachment/link.ts';
import { WarrenError } from '../../src/errors.ts';
import { formatAddress } from '../../src/ip/address.ts';

export const NODE_NETNS = '/proc/self/ns/net';

/** What the node has for one attachment. */
export interface Pair {
  readonly link: AttachmentLink;
  /** What the node has routes to and lets in through it: all addresses since it was made, as `ensure` takes none away. */
  readonly allowed: ReadonlySet<string>;
  /** Counts the pairs made, so that a test can tell one that was kept from one that was made anew. */
  readonly serial: number;
  /** Something of it on the node's side was removed or changed by others. */
  isDamaged: boolean;
}

export interface MemoryNetworkOptions {
  /** Waits before and after each change: lets a test order what happens, fail a step, or stop the world there. */
  readonly step?: (what: string) => Promise<void>;
}

export class MemoryAttachmentNetwork implements AttachmentNetwork {
  readonly #step: (what: string) => Promise<void>;
  /** Path -> which one it is. */
  readonly #namespaces = new Map<string, string>();
  /** `identity name` of interfaces that others made. */
  readonly #foreign = new Set<string>();
  readonly #busy = new Set<string>();
  #serial = 0;
  /** By host interface. */
  readonly pairs = new Map<string, Pair>();
  readonly violations: string[] = [];
  /** What is wrong inside of a namespace, by the attachment's id. */
  readonly innerDamage = new Map<string, string>();

  constructor(options: MemoryNetworkOptions = {}) {
    this.#step = options.step ?? (async () => {});
    this.#namespaces.set(NODE_NETNS, 'node');
  }

  /** Paths of the namespaces under /run/netns. */
  get namespaces(): string[] {
    return [...this.#namespaces.keys()].filter((path) => path.startsWith('/run/netns/'));
  }

  /** The pair of an attachment, if it has one. */
  pairOf(id: string): Pair | undefined {
    return [...this.pairs.values()].find(({ link }) => link.id === id);
  }

  /** A namespace that somebody else makes; at a path that has one already it is another from now on. */
  makeNamespace(path: string): void {
    this.loseNamespace(path);
    this.#namespaces.set(path, `ns:${++this.#serial}`);
  }

  /** Another name for the same namespace. */
  aliasNamespace(path: string, alias: string): void {
    this.#namespaces.set(alias, this.#namespaces.get(path)!);
  }

  /** Somebody removes a namespace; the pairs whose other end is in there go with it. */
  loseNamespace(path: string): void {
    const identity = this.#namespaces.get(path);
    if (identity === undefined) return;
    for (const [name, pair] of this.pairs) {
      if (pair.link.netns !== undefined && this.#namespaces.get(pair.link.netns) === identity)
        this.pairs.delete(name);
    }
    for (const [other, its] of this.#namespaces) if (its === identity) this.#namespaces.delete(other);
  }

  /** Somebody makes an interface in a namespace; default: in the node's own. */
  makeInterface(name: string, path = NODE_NETNS): void {
    this.#foreign.add(`${this.#namespaces.get(path)} ${name}`);
  }

  losePair(id: string): void {
    const pair = this.pairOf(id);
    if (pair) this.pairs.delete(pair.link.hostInterface);
  }

  damage(id: string): void {
    const pair = this.pairOf(id);
    if (pair) pair.isDamaged = true;
  }

  ensure(link: AttachmentLink): Promise<void> {
    return this.#alone(link.hostInterface, `ensure ${link.id}`, () => {
      this.#checkGateways(link);
      const identity = link.netns === undefined ? 'node' : this.#namespaces.get(link.netns);
      if (identity === undefined) {
        throw new WarrenError('POD_NETNS_MISSING', `there is no network namespace ${link.netns}`);
      }
      const found = this.pairs.get(link.hostInterface);
      if (found !== undefined && found.link.id !== link.id) {
        this.violations.push(`${link.id} takes over ${link.hostInterface} of ${found.link.id}`);
      }
      // The end that was made in the node's own namespace may have been moved anywhere.
      const isThere = found !== undefined && (link.netns === undefined || this.#isIn(found, identity));
      if (!isThere && this.#isTaken(identity, link)) {
        throw new WarrenError('POD_INTERFACE_EXISTS', `there is an interface ${link.interfaceName} already`);
      }
      const serial = isThere ? found.serial : ++this.#serial;
      const allowed = new Set([...(isThere ? found.allowed : []), ...link.addresses.map(formatAddress)]);
      this.pairs.set(link.hostInterface, { link, serial, allowed, isDamaged: false });
      this.#checkAddresses();
    });
  }

  remove({ hostInterface }: Pick<AttachmentLink, 'hostInterface' | 'addresses'>): Promise<void> {
    return this.#alone(hostInterface, `remove ${hostInterface}`, () => {
      this.pairs.delete(hostInterface);
    });
  }

  async findDamaged(links: readonly AttachmentLink[]): Promise<AttachmentLink[]> {
    await this.#step('findDamaged');
    return links.filter((link) => {
      const pair = this.pairs.get(link.hostInterface);
      const has = (address: AttachmentLink['addresses'][number]) =>
        pair?.link.addresses.some((one) => formatAddress(one) === formatAddress(address));
      return (
        pair === undefined ||
        pair.isDamaged ||
        pair.link.mtu !== link.mtu ||
        !link.addresses.every(has) ||
        pair.link.addresses.length !== link.addresses.length
      );
    });
  }

  async findInnerDamage({ id }: AttachmentLink): Promise<string | undefined> {
    return this.innerDamage.get(id);
  }

  addNamespace(name: string): Promise<void> {
    const path = `/run/netns/${name}`;
    return this.#alone(path, `addNamespace ${name}`, () => {
      if (this.#namespaces.has(path)) throw new Error(`${path} exists`);
      this.#namespaces.set(path, `ns:${++this.#serial}`);
    });
  }

  removeNamespace(name: string): Promise<void> {
    const path = `/run/netns/${name}`;
    return this.#alone(path, `removeNamespace ${name}`, () => this.loseNamespace(path));
  }

  identityOf(path: string): string | undefined {
    return this.#namespaces.get(path);
  }

  async close(): Promise<void> {}

  /** Everything that is there, for comparing; the order says nothing. */
  snapshot(): string[] {
    const pairs = [...this.pairs.values()].map(({ link, isDamaged }) => {
      const { id, hostInterface, interfaceName, netns, addresses, mtu, gsoMaxSegments } = link;
      const texts = addresses.map(formatAddress).join(' ');
      return `${id} ${hostInterface} ${interfaceName} ${netns} ${texts} ${mtu} ${gsoMaxSegments} ${isDamaged}`;
    });
    return [...pairs, ...this.namespaces.map((path) => basename(path))].sort();
  }

  async #alone(key: string, what: string, change: () => void): Promise<void> {
    if (this.#busy.has(key)) this.violations.push(`${what} while something else works on ${key}`);
    this.#busy.add(key);
    try {
      await this.#step(what);
      change();
      await this.#step(`${what} (done)`);
    } finally {
      this.#busy.delete(key);
    }
  }

  #isIn({ link }: Pair, identity: string): boolean {
    return link.netns !== undefined && this.#namespaces.get(link.netns) === identity;
  }

  #isTaken(identity: string, { interfaceName, hostInterface }: AttachmentLink): boolean {
    if (this.#foreign.has(`${identity} ${interfaceName}`) || this.#foreign.has(`node ${hostInterface}`))
      return true;
    return [...this.pairs.values()].some(
      (pair) =>
        pair.link.hostInterface !== hostInterface &&
        pair.link.interfaceName === interfaceName &&
        this.#isIn(pair, identity),
    );
  }

  #checkGateways({ id, addresses, gateways }: AttachmentLink): void {
    const families = (list: AttachmentLink['addresses']) => list.map(({ family }) => family).join(' ');
    if (families(addresses) !== families(gateways)) this.violations.push(`${id} lacks a gateway`);
  }

  #checkAddresses(): void {
    const owners = new Map<string, string>();
    for (const { link, allowed } of this.pairs.values()) {
      for (const text of allowed) {
        const other = owners.get(text);
        if (other !== undefined) this.violations.push(`${link.id} and ${other} both have ${text}`);
        owners.set(text, link.id);
      }
    }
  }
}
