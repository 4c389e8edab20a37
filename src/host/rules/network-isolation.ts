/**
 * Networks that do not reach each other, on the node's ends of the attachments that are in them:
 *
 *     table inet warren
 *       chain networks_TUN_forward               what is forwarded: by where it comes from, then by where it goes
 *       map networks_TUN_from, networks_TUN_to   interface of an attachment -> jump to the chain of its group
 *       chain networks_TUN_from_H, _to_H         a pod's address from where no pod is (forged-sources.ts): dropped. The other end is in the group's sets: it returns, and the other end's own
 *                                                group is asked; an ICMP error about what it sent too; the rest is counted and
 *                                                dropped
 *       set networks_TUN_4_H, _6_H               whom the group may reach; H says which group it is
 *
 * Dropped, not rejected: an address that is not known yet may be in a moment, and TCP asks again. What the node itself sends and
 * gets is in no such hook. An attachment that is in no group is in no map, and without groups there is nothing at all. It
 * outlives the agent. Several agents of one network namespace share the table, so every name has the TUN device in it.
 */
import { type Family, formatAddress, type IpAddress } from '../../ip/address.ts';
import type { Prefix } from '../../ip/prefix.ts';
import type { NetlinkConversation } from '../../netlink/conversation.ts';
import type { InNetns } from '../command.ts';
import { forgedSources } from './forged-sources.ts';
import type { RenderedChain, RenderedSet, RenderedState } from './nft-difference.ts';
import { NO_RULES, RenderedRules } from './rendered-rules.ts';

/** Before policies of pods, and before the filters of others (0). */
const PRIORITY = -20;
const WORDS = { 4: 'ip', 6: 'ip6' } as const;

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
  /** Addresses of pods are in these, and nobody else's. */
  readonly podRanges: readonly Prefix[];
  readonly where?: InNetns;
}

export function renderIsolation(
  groups: readonly IsolatedGroup[],
  { tunName, podRanges }: Pick<NetworkIsolationOptions, 'tunName' | 'podRanges'>,
): RenderedState {
  if (groups.length === 0) return NO_RULES;
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
      const errors = 'meta l4proto { 1, 58 } ct state related return';
      const forged = forgedSources(podRanges).map((match) => `${match} counter drop`);
      const rules = [
        ...(way === 'to' ? forged : []),
        ...[inSet(4), inSet(6)],
        ...(way === 'to' ? [errors] : []),
        'counter drop',
      ];
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

export class NetworkIsolation {
  readonly #options: NetworkIsolationOptions;
  readonly #rules: RenderedRules;

  constructor(options: NetworkIsolationOptions, netfilter: NetlinkConversation) {
    this.#options = options;
    const { tunName, where } = options;
    const prefix = prefixOf(tunName);
    const mainChain = `${prefix}forward`;
    this.#rules = new RenderedRules({ prefix, mainChain, what: 'networks', where }, netfilter);
  }

  /** In one transaction. Throws TOOL_MISSING, HostCommandError, NetlinkError. */
  apply(groups: readonly IsolatedGroup[]): Promise<void> {
    return this.#rules.apply(renderIsolation(groups, this.#options));
  }

  /** Whom groups could reach as an earlier run has left it, by their keys. */
  async left(): Promise<ReadonlyMap<string, readonly string[]>> {
    const prefix = prefixOf(this.#options.tunName);
    const { sets } = await this.#rules.left();
    const found = new Map<string, readonly string[]>();
    for (const [name, addresses] of sets) {
      const key = name.slice(prefix.length).replace(/^[46]_/, '');
      found.set(key, [...(found.get(key) ?? []), ...addresses]);
    }
    return found;
  }

  remove(): Promise<void> {
    return this.#rules.remove();
  }

  /** Asks the kernel, which takes microseconds. */
  isRight(): boolean {
    return this.#rules.isRight();
  }

  /** True if something had to be put back. */
  repair(): Promise<boolean> {
    return this.#rules.repair();
  }
}

function prefixOf(tunName: string): string {
  return `networks_${tunName}_`;
}
