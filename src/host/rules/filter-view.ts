/** What others have in the packet filter, as far as it concerns what pods forward: read over netlink, in microseconds. */
import { NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6 } from '../../netlink/constants.ts';
import type { NetlinkConversation } from '../../netlink/conversation.ts';
import { isRefusal } from '../../netlink/error.ts';
import * as nft from '../../netlink/nf-tables.ts';

/** Of nf_tables: `iptables` and `ip6tables` have tables of their own, nftables' users mostly one of `inet`. */
export const FILTER_FAMILIES = { 4: NFPROTO_IPV4, 6: NFPROTO_IPV6, inet: NFPROTO_INET } as const;
export type FilterFamily = keyof typeof FILTER_FAMILIES;

export class FilterView {
  readonly #netfilter: NetlinkConversation;

  constructor(netfilter: NetlinkConversation) {
    this.#netfilter = netfilter;
  }

  has(family: FilterFamily, table: string, chain: string): boolean {
    return this.#chain(family, table, chain) !== undefined;
  }

  /** Whether the chain drops what none of its rules accepts; false if there is no such chain. */
  dropsByDefault(family: FilterFamily, table: string, chain: string): boolean {
    const found = this.#chain(family, table, chain);
    return found !== undefined && nft.decodeDropsByDefault(found);
  }

  /**
   * Whether a rule of the chain has each of `words`, one word in one rule or another: names of interfaces and chains
   * stand in the kernel's form of a rule as they are.
   */
  mentions(family: FilterFamily, table: string, chain: string, ...words: readonly string[]): boolean {
    const rules = this.#rules(family, table, chain);
    return words.every((word) => rules.some((rule) => rule.includes(word)));
  }

  countRules(family: FilterFamily, table: string, chain: string): number {
    return this.#rules(family, table, chain).length;
  }

  #chain(family: FilterFamily, table: string, chain: string) {
    try {
      const request = nft.getChain(table, chain, FILTER_FAMILIES[family]);
      return this.#netfilter.ask({ request, doing: `looking for the chain ${chain}` });
    } catch (error) {
      // The last two: a kernel without nf_tables.
      if (isRefusal(error, 'ENOENT', 'EOPNOTSUPP', 'EINVAL')) return undefined;
      throw error;
    }
  }

  #rules(family: FilterFamily, table: string, chain: string): Buffer[] {
    try {
      const request = nft.getRules(table, chain, FILTER_FAMILIES[family]);
      const messages = this.#netfilter.dump({ request, doing: `reading the chain ${chain}` });
      return messages.map((message) => Buffer.from(nft.decodeRuleExpressions(message)));
    } catch (error) {
      if (isRefusal(error, 'ENOENT')) return [];
      throw error;
    }
  }
}
