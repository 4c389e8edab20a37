/**
 * Networks that do not reach each other, on the node's ends of the attachments that are in them:
 *
 *     table inet warren
 *       chain networks_TUN_forward               what is forwarded: by where it comes from, then by where it goes
 *       map networks_TUN_from, networks_TUN_to   interface of an attachment -> jump to the chain of its group
 *       chain networks_TUN_from_H, _to_H         the other end is in the group's sets: it returns, and the other end's own
 *                                                group is asked; an ICMP error about what it sent too; the rest is counted and
 *                                                dropped
 *       set networks_TUN_4_H, _6_H               whom the group may reach; H says which group it is
 *
 * Dropped, not rejected: an address that is not known yet may be in a moment, and TCP asks again. What the node itself sends and
 * gets is in no such hook. An attachment that is in no group is in no map, and without groups there is nothing at all. It
 * outlives the agent. Several agents of one network namespace share the table, so every name has the TUN device in it.
 */
import { type Family, formatAddress, type IpAddress } from '../../ip/address.ts';
import type { NetlinkConversation } from '../../netlink/conversation.ts';
import { isRefusal } from '../../netlink/error.ts';
import * as nft from '../../netlink/nf-tables.ts';
import { type InNetns, runCommand } from '../command.ts';
import { NFT_TABLE } from '../nft-table.ts';
import { difference, type RenderedChain, type RenderedSet, type RenderedState } from './nft-difference.ts';

/** Before policies of pods, and before the filters of others (0). */
const PRIORITY = -20;
const TABLE = `inet ${NFT_TABLE}`;
const WORDS = { 4: 'ip', 6: 'ip6' } as const;
const EMPTY: RenderedState = { sets: new Map(), chains: new Map() };

/** Attachments that may reach the same addresses, and no others. */
export interface IsolatedGroup {
  /** Stable over restarts: lower-case letters and digits. */
  readonly key: string;
  /** On the node. */
  readonly interfaces: readonly string[];
  /** Each once. */
  readonly reachable: readonly IpAddress[];
}

export interface NetworkIsolationOptions {
  readonly tunName: string;
  readonly where?: InNetns;
}

export function renderIsolation(groups: readonly IsolatedGroup[], tunName: string): RenderedState {
  if (groups.length === 0) return EMPTY;
  const prefix = prefixOf(tunName);
  const sets = new Map<string, RenderedSet>();
  const chains = new Map<string, RenderedChain>();
  for (const { key, reachable } of groups) {
    for (const family of [4, 6] as const)
      sets.set(`${prefix}${family}_${key}`, {
        ...{ kind: 'set', type: `type ipv${family}_addr;` },
        elements: new Set(reachable.filter((one) => one.family === family).map(formatAddress)),
      });
    for (const [way, end] of [
      ['from', 'daddr'],
      ['to', 'saddr'],
    ] as const) {
      const inSet = (family: Family) => `${WORDS[family]} ${end} @${prefix}${family}_${key} return`;
      const errors = 'meta l4proto { icmp, ipv6-icmp } ct state related return';
      const rules = [inSet(4), inSet(6), ...(way === 'to' ? [errors] : []), 'counter drop'];
      chains.set(`${prefix}${way}_${key}`, { hook: '', rules });
    }
  }
  for (const way of ['from', 'to']) {
    const elements = groups.flatMap(({ key, interfaces }) =>
      interfaces.map((name) => `"${name}" : jump ${prefix}${way}_${key}`),
    );
    sets.set(`${prefix}${way}`, {
      ...{ kind: 'map', type: 'type ifname : verdict;' },
      elements: new Set(elements),
    });
  }
  chains.set(`${prefix}forward`, {
    hook: `type filter hook forward priority ${PRIORITY}; policy accept;`,
    rules: [`iifname vmap @${prefix}from`, `oifname vmap @${prefix}to`],
  });
  return { sets, chains };
}

/** What an earlier run has left, as `nft -j list table` tells it. Throws a SyntaxError. */
export interface LeftIsolation {
  readonly chains: readonly string[];
  readonly maps: readonly string[];
  readonly sets: ReadonlyMap<string, readonly string[]>;
}

interface ListedObject {
  readonly name: string;
  readonly elem?: readonly unknown[];
}

export function readLeft(json: string, tunName: string): LeftIsolation {
  const { nftables } = JSON.parse(json) as { nftables: readonly Readonly<Record<string, ListedObject>>[] };
  const of = (kind: string) =>
    nftables.flatMap((one) => one[kind] ?? []).filter(({ name }) => name.startsWith(prefixOf(tunName)));
  const texts = ({ elem = [] }: ListedObject) => elem.filter((one): one is string => typeof one === 'string');
  return {
    chains: of('chain').map(({ name }) => name),
    maps: of('map').map(({ name }) => name),
    sets: new Map(of('set').map((set) => [set.name, texts(set)])),
  };
}

/** Takes it away, in one transaction with what may follow. Empty if there is nothing. */
export function removalScript({ chains, maps, sets }: LeftIsolation): string {
  const lines = [
    ...chains.map((name) => `flush chain ${TABLE} ${name}`),
    ...maps.map((name) => `delete map ${TABLE} ${name}`),
    ...chains.map((name) => `delete chain ${TABLE} ${name}`),
    ...[...sets.keys()].map((name) => `delete set ${TABLE} ${name}`),
  ];
  return lines.length === 0 ? '' : [...lines, ''].join('\n');
}

export class NetworkIsolation {
  readonly #options: NetworkIsolationOptions;
  readonly #netfilter: NetlinkConversation;
  /** What the kernel has; undefined: it has to be looked at. */
  #made: RenderedState | undefined;
  #wanted: RenderedState | undefined;
  /** The rules of the hook when they were made, as the kernel tells them. */
  #hook = '';
  /** The last change; each waits for the one before. */
  #changing: Promise<unknown> = Promise.resolve();

  constructor(options: NetworkIsolationOptions, netfilter: NetlinkConversation) {
    this.#options = options;
    this.#netfilter = netfilter;
  }

  /** In one transaction. Throws TOOL_MISSING, HostCommandError, NetlinkError. */
  apply(groups: readonly IsolatedGroup[]): Promise<void> {
    const wanted = renderIsolation(groups, this.#options.tunName);
    this.#wanted = wanted;
    return this.#change(() => this.#make(wanted));
  }

  /** Whom groups could reach as an earlier run has left it, by their keys. */
  async left(): Promise<ReadonlyMap<string, readonly string[]>> {
    const prefix = prefixOf(this.#options.tunName);
    const { sets } = await this.#left();
    const found = new Map<string, readonly string[]>();
    for (const [name, addresses] of sets) {
      const key = name.slice(prefix.length).replace(/^[46]_/, '');
      found.set(key, [...(found.get(key) ?? []), ...addresses]);
    }
    return found;
  }

  remove(): Promise<void> {
    this.#wanted = undefined;
    return this.#change(async () => {
      this.#made = undefined;
      await this.#nft(removalScript(await this.#left()));
    });
  }

  /** Asks the kernel, which takes microseconds. */
  isRight(): boolean {
    if (this.#wanted === undefined || this.#wanted.chains.size === 0) return true;
    return this.#made !== undefined && this.#readHook() === this.#hook;
  }

  /** True if something had to be put back. */
  repair(): Promise<boolean> {
    return this.#change(async () => {
      if (this.isRight()) return false;
      this.#made = undefined;
      await this.#make(this.#wanted!);
      return true;
    });
  }

  #change<T>(work: () => Promise<T>): Promise<T> {
    const changed = this.#changing.then(work);
    this.#changing = changed.catch(() => {});
    return changed;
  }

  async #make(wanted: RenderedState): Promise<void> {
    const before = this.#made;
    this.#made = undefined;
    try {
      if (before === undefined) throw new Error('it is not known what there is');
      await this.#nft(difference(before, wanted));
    } catch {
      // Somebody else may have changed it: all of it anew.
      const removal = removalScript(await this.#left());
      await this.#nft(`${removal}${difference(EMPTY, wanted)}`);
    }
    this.#made = wanted;
    this.#hook = this.#readHook();
  }

  /** Without the table, or a chain of ours in it, there is nothing, and no program is started to say so. */
  async #left(): Promise<LeftIsolation> {
    const none: LeftIsolation = { chains: [], maps: [], sets: new Map() };
    if (!this.#exists()) return none;
    const { where, tunName } = this.#options;
    return readLeft(
      await runCommand(['nft', '-j', 'list', 'table', 'inet', NFT_TABLE], { ...where }),
      tunName,
    );
  }

  async #nft(stdin: string): Promise<void> {
    if (stdin !== '') await runCommand(['nft', '-f', '-'], { ...this.#options.where, stdin });
  }

  get #hookChain(): string {
    return `${prefixOf(this.#options.tunName)}forward`;
  }

  #exists(): boolean {
    try {
      const request = nft.getChain(NFT_TABLE, this.#hookChain);
      this.#netfilter.ask({ request, doing: 'looking for the nftables chain of networks' });
      return true;
    } catch (error) {
      // EOPNOTSUPP and EINVAL: a kernel without nf_tables.
      if (isRefusal(error, 'ENOENT', 'EOPNOTSUPP', 'EINVAL')) return false;
      throw error;
    }
  }

  #readHook(): string {
    try {
      const request = nft.getRules(NFT_TABLE, this.#hookChain);
      const rules = this.#netfilter.dump({ request, doing: 'reading the nftables chain of networks' });
      return rules.map((rule) => Buffer.from(nft.decodeRuleExpressions(rule)).toString('base64')).join(' ');
    } catch (error) {
      if (isRefusal(error, 'ENOENT')) return '';
      throw error;
    }
  }
}

function prefixOf(tunName: string): string {
  return `networks_${tunName}_`;
}
