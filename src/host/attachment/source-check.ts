/**
 * The check of sources: on the node's end of an attachment only the attachment's own addresses may be a source.
 *
 *     table inet warren
 *       chain source_check   every packet that comes in, before connection tracking: one look-up of the interface's
 *                            name in `attachments`; all other traffic is done with that
 *       chain sources        name and source address together in `ipv4_sources` or `ipv6_sources`: it may pass;
 *                            neighbour discovery and MLD on the link itself too; all else is counted and dropped
 *
 * The table is made by `nft`, once and as a whole; the elements of its three sets come and go by netlink, those of an
 * attachment in one transaction. ARP does not pass here. The table outlives the agent, so that a restart leaves no gap.
 *
 * Several agents of one network namespace share the table: none touches elements whose interface is not its own.
 */
import { WarrenError } from '../../errors.ts';
import { formatAddress, type IpAddress } from '../../ip/address.ts';
import type { Change, NetlinkConversation } from '../../netlink/conversation.ts';
import { isRefusal } from '../../netlink/error.ts';
import * as nft from '../../netlink/nf-tables.ts';
import { HostCommandError, type InNetns, runCommand } from '../command.ts';
import { EGRESS_CHAIN_PREFIX, NFT_TABLE } from '../nft-table.ts';

const ATTACHMENTS = 'attachments';
const SOURCES = { 4: 'ipv4_sources', 6: 'ipv6_sources' } as const;
const COUNTER = 'foreign_sources';
const RETRY_MS = 10_000;
/** How many rules the chains have. */
const RULES: Readonly<Record<string, number>> = { source_check: 1, sources: 7 };

/**
 * Adding what is there changes nothing, and flushed chains get their rules anew in the same transaction: this makes
 * the table, or brings that of another version up to date, and elements and counter stay.
 *
 * From fe80::/10 and :: only what a link needs to work (RFC 4861, 7.1: hop limit 255; RFC 3810, 5: hop limit 1).
 */
export const TABLE_SCRIPT = `
add table inet ${NFT_TABLE}
add counter inet ${NFT_TABLE} ${COUNTER}
add set inet ${NFT_TABLE} ${ATTACHMENTS} { type ifname; }
add set inet ${NFT_TABLE} ${SOURCES[4]} { type ifname . ipv4_addr; }
add set inet ${NFT_TABLE} ${SOURCES[6]} { type ifname . ipv6_addr; }
add chain inet ${NFT_TABLE} sources
add chain inet ${NFT_TABLE} source_check { type filter hook prerouting priority raw; policy accept; }
flush chain inet ${NFT_TABLE} sources
flush chain inet ${NFT_TABLE} source_check
add rule inet ${NFT_TABLE} sources iifname . ip saddr @${SOURCES[4]} accept
add rule inet ${NFT_TABLE} sources iifname . ip6 saddr @${SOURCES[6]} accept
${['fe80::/10', '::']
  .flatMap((source) => [
    `ip6 saddr ${source} ip6 hoplimit 255 icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }`,
    `ip6 saddr ${source} ip6 hoplimit 1 icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report }`,
  ])
  .map((rule) => `add rule inet ${NFT_TABLE} sources ${rule} accept`)
  .join('\n')}
add rule inet ${NFT_TABLE} sources counter name ${COUNTER} drop
add rule inet ${NFT_TABLE} source_check iifname @${ATTACHMENTS} goto sources
`;

/** What the sets hold of one interface. */
interface Known {
  isAttached: boolean;
  readonly addresses: Map<string, IpAddress>;
}

export class SourceCheck {
  readonly #netfilter: NetlinkConversation;
  readonly #where: InNetns;
  /** The sets' elements as they were read, and changed here since. Bounded by the sets. */
  #known: Map<string, Known> | undefined;
  /** The table is gone, or lacks rules. */
  #isBroken = false;
  /** Why it could not be made, and until when that is not tried again: a spawn that fails costs milliseconds. */
  #refusal: { readonly error: unknown; readonly untilMs: number } | undefined;

  constructor(netfilter: NetlinkConversation, where: InNetns) {
    this.#netfilter = netfilter;
    this.#where = where;
  }

  /** Makes the table, or what is missing of it. Throws TOOL_MISSING, HostCommandError. */
  async make(): Promise<void> {
    if (this.#refusal !== undefined && performance.now() < this.#refusal.untilMs) throw this.#refusal.error;
    try {
      await runCommand(['nft', '-f', '-'], { ...this.#where, stdin: TABLE_SCRIPT });
    } catch (error) {
      this.#refusal = { error, untilMs: performance.now() + RETRY_MS };
      throw error;
    }
    this.#refusal = undefined;
    this.#isBroken = false;
    this.#known = undefined;
  }

  /** From `interfaceName` those of `addresses` may be a source, and no others. */
  async permit(interfaceName: string, addresses: readonly IpAddress[]): Promise<void> {
    if (this.#isBroken) await this.make();
    try {
      this.#permit(interfaceName, addresses);
    } catch (error) {
      this.#known = undefined;
      if (!isRefusal(error, 'ENOENT')) throw error;
      // The table is gone, or somebody took out elements.
      await this.make();
      this.#permit(interfaceName, addresses);
    }
  }

  /** Takes out all of `interfaceName`. Nothing happens if there is nothing, not even the table. */
  forbid(interfaceName: string): void {
    for (const isLast of [false, true]) {
      try {
        const known = this.#load().get(interfaceName);
        if (known === undefined) return;
        this.#netfilter.transact([
          ...remove(interfaceName, [...known.addresses.values()]),
          ...(known.isAttached ? [change('delete', ATTACHMENTS, [{ interfaceName }])] : []),
        ]);
        this.#known?.delete(interfaceName);
        return;
      } catch (error) {
        this.#known = undefined;
        if (!isRefusal(error, 'ENOENT')) throw error;
        if (isLast) return;
      }
    }
  }

  /** Looks at the table: whether an interface lacks an element, or all do as the table itself is not right. */
  look(): (interfaceName: string, addresses: readonly IpAddress[]) => boolean {
    this.#known = undefined;
    this.#isBroken = !this.#hasRules();
    if (this.#isBroken) return () => true;
    const known = this.#load();
    return (interfaceName, addresses) => {
      const found = known.get(interfaceName);
      return !found?.isAttached || !addresses.every((address) => found.addresses.has(formatAddress(address)));
    };
  }

  /** Packets dropped since the table was made; 0 without a table. */
  countDropped(): number {
    try {
      const request = nft.getCounter(NFT_TABLE, COUNTER);
      return nft.decodeCounter(this.#netfilter.ask({ request, doing: `reading the counter ${COUNTER}` }));
    } catch (error) {
      if (isRefusal(error, 'ENOENT')) return 0;
      throw error;
    }
  }

  /** Removes the table, unless an interface of `present` has its attachment or its way out in there. */
  removeTable(present: ReadonlySet<string>): void {
    try {
      this.#known = undefined;
      const inUse = [...this.#countRules().keys()].some(
        (chain) =>
          chain.startsWith(EGRESS_CHAIN_PREFIX) && present.has(chain.slice(EGRESS_CHAIN_PREFIX.length)),
      );
      if (inUse) return;
      if ([...this.#load().keys()].some((name) => present.has(name))) return;
      this.#known = undefined;
      this.#netfilter.transact([
        { request: nft.deleteTable(NFT_TABLE), doing: `removing the nftables table ${NFT_TABLE}` },
      ]);
    } catch (error) {
      if (!isRefusal(error, 'ENOENT')) throw error;
    }
  }

  #permit(interfaceName: string, addresses: readonly IpAddress[]): void {
    const known = this.#load();
    const wanted = new Map(addresses.map((address) => [formatAddress(address), address]));
    const stale = [...(known.get(interfaceName)?.addresses ?? [])].filter(([text]) => !wanted.has(text));
    this.#netfilter.transact([
      ...remove(
        interfaceName,
        stale.map(([, address]) => address),
      ),
      change('add', ATTACHMENTS, [{ interfaceName }]),
      ...([4, 6] as const).flatMap((family) => {
        const keys = addresses
          .filter((address) => address.family === family)
          .map((address) => ({ interfaceName, address }));
        return keys.length === 0 ? [] : [change('add', SOURCES[family], keys)];
      }),
    ]);
    known.set(interfaceName, { isAttached: true, addresses: wanted });
  }

  #load(): Map<string, Known> {
    if (this.#known !== undefined) return this.#known;
    const known = new Map<string, Known>();
    for (const set of [ATTACHMENTS, SOURCES[4], SOURCES[6]]) {
      const request = nft.getElements(NFT_TABLE, set);
      const messages = this.#netfilter.dump({ request, doing: `reading the nftables set ${set}` });
      for (const { interfaceName, address } of messages.flatMap(nft.decodeElements)) {
        const entry = known.get(interfaceName) ?? { isAttached: false, addresses: new Map() };
        known.set(interfaceName, entry);
        if (address === undefined) entry.isAttached = true;
        else entry.addresses.set(formatAddress(address), address);
      }
    }
    this.#known = known;
    return known;
  }

  #hasRules(): boolean {
    try {
      const found = this.#countRules();
      this.#load();
      return Object.entries(RULES).every(([chain, count]) => found.get(chain) === count);
    } catch (error) {
      if (isRefusal(error, 'ENOENT')) return false;
      throw error;
    }
  }

  /** How many rules each chain of the table has. */
  #countRules(): Map<string, number> {
    const found = new Map<string, number>();
    const request = nft.getRules(NFT_TABLE);
    for (const message of this.#netfilter.dump({ request, doing: 'reading nftables rules' })) {
      const { table, chain } = nft.decodeRulePlace(message);
      if (table === NFT_TABLE) found.set(chain, (found.get(chain) ?? 0) + 1);
    }
    return found;
  }
}

/** Why there is no check here, for a person to read; undefined if `error` is of another kind. */
export function checkProblem(error: unknown): string | undefined {
  const isMissing = error instanceof WarrenError && error.code === 'TOOL_MISSING';
  const isRefused = error instanceof HostCommandError && error.exitCode !== null;
  const isUnknown =
    error instanceof WarrenError &&
    ['EPROTONOSUPPORT', 'EAFNOSUPPORT', 'ESOCKTNOSUPPORT'].includes(error.code);
  const isUnsupported = isRefusal(error, 'EOPNOTSUPP', 'EPROTONOSUPPORT', 'EINVAL');
  if (!isMissing && !isRefused && !isUnknown && !isUnsupported) return undefined;
  const { message, hint } = error as WarrenError;
  return (
    `the sources of attachments are not checked by nftables: ${message}. ` +
    `IPv4 has rp_filter, IPv6 has nothing.${hint === undefined ? '' : ` ${hint}`}`
  );
}

function remove(interfaceName: string, addresses: readonly IpAddress[]): Change[] {
  return ([4, 6] as const).flatMap((family) => {
    const keys = addresses
      .filter((address) => address.family === family)
      .map((address) => ({ interfaceName, address }));
    return keys.length === 0 ? [] : [change('delete', SOURCES[family], keys)];
  });
}

function change(what: 'add' | 'delete', set: string, keys: readonly nft.SetKey[]): Change {
  const [request, doing] =
    what === 'add'
      ? [nft.addElements(NFT_TABLE, set, keys), 'adding to']
      : [nft.deleteElements(NFT_TABLE, set, keys), 'deleting from'];
  return { request, doing: `${doing} the nftables set ${set}` };
}
