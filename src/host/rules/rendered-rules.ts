/**
 * Rules of one kind in the agent's nftables table: what is rendered becomes what the kernel has, in one transaction with
 * what changes and nothing else, and stays so. All names of a kind begin alike, with the kind and the agent's TUN device, since
 * several agents of one network namespace share the table. They outlive the agent.
 */
import type { NetlinkConversation } from '../../netlink/conversation.ts';
import { isRefusal } from '../../netlink/error.ts';
import * as nft from '../../netlink/nf-tables.ts';
import { type InNetns, runCommand } from '../command.ts';
import { NFT_TABLE } from '../nft-table.ts';
import { difference, type RenderedState } from './nft-difference.ts';

const TABLE = `inet ${NFT_TABLE}`;
/** Tens of thousands of elements on a machine that is busy. */
const TIMEOUT_MS = 30_000;
export const NO_RULES: RenderedState = { sets: new Map(), chains: new Map() };

/** What there is, as `nft -j list table` tells it. */
export interface LeftRules {
  readonly chains: readonly string[];
  readonly maps: readonly string[];
  readonly counters: readonly string[];
  /** Elements that are one word. */
  readonly sets: ReadonlyMap<string, readonly string[]>;
}

interface ListedObject {
  readonly name: string;
  readonly elem?: readonly unknown[];
}

/** Of those whose names begin with `prefix`. Throws a SyntaxError. */
export function readLeft(json: string, prefix: string): LeftRules {
  const { nftables } = JSON.parse(json) as { nftables: readonly Readonly<Record<string, ListedObject>>[] };
  const of = (kind: string) =>
    nftables.flatMap((one) => one[kind] ?? []).filter(({ name }) => name.startsWith(prefix));
  const texts = ({ elem = [] }: ListedObject) => elem.filter((one): one is string => typeof one === 'string');
  return {
    chains: of('chain').map(({ name }) => name),
    maps: of('map').map(({ name }) => name),
    counters: of('counter').map(({ name }) => name),
    sets: new Map(of('set').map((set) => [set.name, texts(set)])),
  };
}

/** Takes it away, in one transaction with what may follow. Empty if there is nothing. */
export function removalScript({ chains, maps, counters, sets }: LeftRules): string {
  const lines = [
    ...chains.map((name) => `flush chain ${TABLE} ${name}`),
    ...maps.map((name) => `delete map ${TABLE} ${name}`),
    ...chains.map((name) => `delete chain ${TABLE} ${name}`),
    ...[...sets.keys()].map((name) => `delete set ${TABLE} ${name}`),
    ...counters.map((name) => `delete counter ${TABLE} ${name}`),
  ];
  return lines.length === 0 ? '' : [...lines, ''].join('\n');
}

export interface RenderedRulesOptions {
  /** Of all names. */
  readonly prefix: string;
  /** The name of a chain that is there whenever there is anything. */
  readonly mainChain: string;
  /** In messages: `networks`. */
  readonly what: string;
  readonly where?: InNetns | undefined;
}

export class RenderedRules {
  readonly #options: RenderedRulesOptions;
  readonly #netfilter: NetlinkConversation;
  /** What the kernel has; undefined: it has to be looked at. */
  #made: RenderedState | undefined;
  #wanted: RenderedState | undefined;
  #main: string | undefined;
  /** The last change; each waits for the one before. */
  #changing: Promise<unknown> = Promise.resolve();

  constructor(options: RenderedRulesOptions, netfilter: NetlinkConversation) {
    this.#options = options;
    this.#netfilter = netfilter;
  }

  /** In one transaction. Throws TOOL_MISSING, HostCommandError, NetlinkError. */
  apply(wanted: RenderedState): Promise<void> {
    this.#wanted = wanted;
    return this.#change(() => this.#make(wanted));
  }

  /** What an earlier run has left. Without a chain of ours there is nothing, and no program is started to say so. */
  async left(): Promise<LeftRules> {
    if (!this.#exists()) return { chains: [], maps: [], counters: [], sets: new Map() };
    const { where, prefix } = this.#options;
    return readLeft(
      await runCommand(['nft', '-j', 'list', 'table', 'inet', NFT_TABLE], { ...where }),
      prefix,
    );
  }

  remove(): Promise<void> {
    this.#wanted = undefined;
    return this.#change(async () => {
      this.#made = undefined;
      await this.#nft(removalScript(await this.left()));
    });
  }

  /** Asks the kernel, which takes microseconds for few rules. */
  isRight(): boolean {
    if (this.#wanted === undefined || this.#wanted.chains.size === 0) return true;
    if (this.#made === undefined || this.#readMain() !== this.#main) return false;
    return this.#hasAllRules(this.#made);
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
    if (before === wanted) return;
    this.#made = undefined;
    try {
      if (before === undefined) throw new Error('it is not known what there is');
      await this.#nft(difference(before, wanted));
    } catch {
      // Somebody else may have changed it: all of it anew.
      const removal = removalScript(await this.left());
      await this.#nft(`${removal}${difference(NO_RULES, wanted)}`);
    }
    this.#made = wanted;
    this.#main = this.#readMain();
  }

  async #nft(stdin: string): Promise<void> {
    const options = { ...this.#options.where, stdin, timeoutMs: TIMEOUT_MS };
    if (stdin !== '') await runCommand(['nft', '-f', '-'], options);
  }

  #exists(): boolean {
    const { mainChain, what } = this.#options;
    try {
      const request = nft.getChain(NFT_TABLE, mainChain);
      this.#netfilter.ask({ request, doing: `looking for the nftables chain of ${what}` });
      return true;
    } catch (error) {
      // EOPNOTSUPP and EINVAL: a kernel without nf_tables.
      if (isRefusal(error, 'ENOENT', 'EOPNOTSUPP', 'EINVAL')) return false;
      throw error;
    }
  }

  /** The main chain's rules as the kernel tells them, which is not how they are written; undefined if it is gone. */
  #readMain(): string | undefined {
    const { mainChain, what } = this.#options;
    try {
      const doing = `reading the nftables chain of ${what}`;
      const rules = this.#netfilter.dump({ request: nft.getRules(NFT_TABLE, mainChain), doing });
      return rules.map((rule) => Buffer.from(nft.decodeRuleExpressions(rule)).toString('base64')).join(' ');
    } catch (error) {
      if (isRefusal(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  /** Whether each chain has as many rules as it is to have. */
  #hasAllRules({ chains }: RenderedState): boolean {
    const counts = new Map<string, number>();
    const doing = `reading the nftables chains of ${this.#options.what}`;
    for (const message of this.#netfilter.dump({ request: nft.getRules(NFT_TABLE), doing })) {
      const { table, chain } = nft.decodeRulePlace(message);
      if (table === NFT_TABLE && chains.has(chain)) counts.set(chain, (counts.get(chain) ?? 0) + 1);
    }
    return [...chains].every(([name, { rules }]) => (counts.get(name) ?? 0) === rules.length);
  }
}
