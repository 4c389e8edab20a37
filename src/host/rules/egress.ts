/**
 * The way out of the overlay: connections of pods to anything outside of the pod ranges go out under their node's
 * address, and so get answers.
 *
 *     table inet warren
 *       chain egress_warren0     type nat hook postrouting, one chain for each TUN device
 *         out of another interface, from a pod range, to outside of it and of `except`   masquerade
 *         out of warren0, from an address of this host outside of the pod ranges         masquerade
 *
 * The second rule is for programs bound to the host's own address, and for connections whose destination another rule
 * has changed to a pod after the source was chosen (kube-proxy): peers drop a source that is not the node's, and now
 * it is the node's overlay address. Only what this host itself sends is given it: strangers that use this host as their
 * router do not get into the overlay by it.
 *
 * Both need connection tracking, which the first rule of this kind turns on for all traffic of the network namespace,
 * tunnel included. So there is no chain at all unless `egress.masquerade` asks for one. Without it the second rule
 * would help nobody to an answer from another node's underlay address: those are answers, which no nat chain sees.
 *
 * No packet marks are used: 0x4000 and 0x8000 are kube-proxy's.
 */
import { formatPrefix, type Prefix, prefixCovers } from '../../ip/prefix.ts';
import type { NetlinkConversation } from '../../netlink/conversation.ts';
import { isRefusal } from '../../netlink/error.ts';
import * as nft from '../../netlink/nf-tables.ts';
import { type InNetns, runCommand } from '../command.ts';
import { EGRESS_CHAIN_PREFIX, NFT_TABLE } from '../nft-table.ts';

export interface EgressRules {
  readonly masquerade: boolean;
  readonly except: readonly Prefix[];
}

export interface EgressOptions {
  readonly tunName: string;
  readonly podRanges: readonly Prefix[];
  readonly where?: InNetns;
}

const FAMILY_WORDS = { 4: 'ip', 6: 'ip6' } as const;

/** What `nft -f -` is to read: one transaction, which adds to the table what is missing and changes nothing else. */
export function egressScript({ tunName, podRanges }: EgressOptions, except: readonly Prefix[]): string {
  const chain = `inet ${NFT_TABLE} ${chainOf(tunName)}`;
  const rules = podRanges.flatMap((range) => {
    const word = FAMILY_WORDS[range.family];
    const inside = apart([range, ...except.filter(({ family }) => family === range.family)]);
    const own = formatPrefix(range);
    return [
      // Ports at random: two pods that use one port to the same destination at once otherwise lose packets to a race.
      `oifname != "${tunName}" ${word} saddr ${own} ${word} daddr != { ${inside.map(formatPrefix).join(', ')} } masquerade fully-random`,
      `oifname "${tunName}" ${word} saddr != ${own} fib saddr type local masquerade`,
    ];
  });
  return [
    `add table inet ${NFT_TABLE}`,
    // 100 is srcnat, by number for nft before 0.9.
    `add chain ${chain} { type nat hook postrouting priority 100; policy accept; }`,
    `flush chain ${chain}`,
    ...rules.map((rule) => `add rule ${chain} ${rule}`),
    '',
  ].join('\n');
}

function chainOf(tunName: string): string {
  return `${EGRESS_CHAIN_PREFIX}${tunName}`;
}

/** `prefixes` without those that others of them cover: nft takes no intervals that overlap. */
function apart(prefixes: readonly Prefix[]): Prefix[] {
  return prefixes.filter((one, i) =>
    prefixes.every((other, j) => {
      if (i === j || !prefixCovers(other, one)) return true;
      return prefixCovers(one, other) && i < j;
    }),
  );
}

export class Egress {
  readonly #options: EgressOptions;
  readonly #netfilter: NetlinkConversation;
  /** What the chain's rules were when they were made, as the kernel tells it; undefined: there is to be none. */
  #made: string | undefined;
  #except: readonly Prefix[] = [];

  constructor(options: EgressOptions, netfilter: NetlinkConversation) {
    this.#options = options;
    this.#netfilter = netfilter;
  }

  /** Throws TOOL_MISSING, HostCommandError, NetlinkError. */
  async apply({ masquerade, except }: EgressRules): Promise<void> {
    if (!masquerade) return this.remove();
    this.#except = except;
    await this.#make();
  }

  /** What an agent may have left is taken away; nothing happens if there is nothing. */
  async remove(): Promise<void> {
    this.#made = undefined;
    if (!this.#exists()) return;
    const chain = `inet ${NFT_TABLE} ${chainOf(this.#options.tunName)}`;
    await this.#nft(`flush chain ${chain}\ndelete chain ${chain}\n`);
  }

  /** Asks the kernel, which takes microseconds. */
  isRight(): boolean {
    return this.#made === undefined || this.#read() === this.#made;
  }

  /** True if something had to be put back. */
  async repair(): Promise<boolean> {
    if (this.isRight()) return false;
    await this.#make();
    return true;
  }

  async #make(): Promise<void> {
    await this.#nft(egressScript(this.#options, this.#except));
    this.#made = this.#read();
  }

  async #nft(stdin: string): Promise<void> {
    await runCommand(['nft', '-f', '-'], { ...this.#options.where, stdin });
  }

  #exists(): boolean {
    try {
      const request = nft.getChain(NFT_TABLE, chainOf(this.#options.tunName));
      this.#netfilter.ask({ request, doing: 'looking for the nftables chain of egress' });
      return true;
    } catch (error) {
      // EOPNOTSUPP and EINVAL: a kernel without nf_tables.
      if (isRefusal(error, 'ENOENT', 'EOPNOTSUPP', 'EINVAL')) return false;
      throw error;
    }
  }

  #read(): string {
    try {
      const request = nft.getRules(NFT_TABLE, chainOf(this.#options.tunName));
      const rules = this.#netfilter.dump({ request, doing: 'reading the nftables chain of egress' });
      return rules.map((rule) => Buffer.from(nft.decodeRuleExpressions(rule)).toString('base64')).join(' ');
    } catch (error) {
      if (isRefusal(error, 'ENOENT')) return '';
      throw error;
    }
  }
}
