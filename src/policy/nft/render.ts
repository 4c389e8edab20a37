/**
 * A rule model as nftables holds it, in the one table of ours, beside the attachments' source check, which comes first:
 *
 *     table inet warren
 *       map policy_TUN_out, policy_TUN_in    interface of an attachment -> jump to its chain
 *       chain policy_TUN_forward             what is forwarded: known connections; then by where it comes from (`out`),
 *                                            then by where it goes (`in`)
 *       chain policy_TUN_input               what pods send to the node: known connections, neighbour discovery, `out`
 *       chain policy_TUN_known               established and related (ICMP errors too), unless it is in policy_TUN_cut
 *       set policy_TUN_cut                   connection tracking ids of connections that a new policy denies
 *       chain policy_TUN_out_IF, _in_IF      the rules of one attachment: allowed returns, so that the other end's rules are
 *                                            asked too; the rest is counted and dropped. A further tier is a further chain
 *       set policy_TUN_pods4_H, _pods6_H     addresses that come and go, each by itself
 *       set policy_TUN_block_H               prefixes that do not overlap. H says what is in it, so it never changes
 *
 * What the node itself sends is in neither hook, which is why it always reaches its own pods. An attachment without rules is
 * in no map, and without any attachment with rules there is nothing at all: connection tracking costs nobody who has no
 * policies. Several agents of one network namespace share the table, so every name has the agent's TUN device in it.
 */
import { createHash } from 'node:crypto';
import type { RenderedChain, RenderedSet, RenderedState } from '../../host/rules/nft-difference.ts';
import { type Family, formatAddress } from '../../ip/address.ts';
import { formatPrefix } from '../../ip/prefix.ts';
import type { AttachmentRules, Direction, PortRange, Rule, RuleModel, Tier } from '../model.ts';

/** Behind dstnat (-100), so that a Service's packet shows its pod, and before the filters of others (0). */
const PRIORITY = -10;
/** After it the agent has to have ended the connection, or to say so again. */
const CUT_TIMEOUT = '1h';
/** NFTNL_UDATA_COMMENT_MAXLEN is 128 with the closing zero. */
const MAX_COMMENT = 120;
const WORDS = { 4: 'ip', 6: 'ip6' } as const;
const FAMILIES: readonly Family[] = [4, 6];

export function renderRules(model: RuleModel, { tunName }: { readonly tunName: string }): RenderedState {
  if (model.attachments.length === 0) return { sets: new Map(), chains: new Map() };
  return new Renderer(model, `policy_${tunName}`).render();
}

class Renderer {
  readonly #model: RuleModel;
  readonly #prefix: string;
  readonly #sets = new Map<string, RenderedSet>();
  readonly #chains = new Map<string, RenderedChain>();

  constructor(model: RuleModel, prefix: string) {
    this.#model = model;
    this.#prefix = prefix;
  }

  render(): RenderedState {
    const p = this.#prefix;
    this.#sets.set(`${p}_cut`, {
      kind: 'set',
      type: `typeof ct id; flags timeout; timeout ${CUT_TIMEOUT};`,
      elements: new Set(),
    });
    this.#chains.set(`${p}_known`, { hook: '', rules: [`ct id @${p}_cut counter drop`] });
    const known = `ct state established,related goto ${p}_known`;
    this.#chains.set(`${p}_forward`, {
      hook: `type filter hook forward priority ${PRIORITY}; policy accept;`,
      rules: [known, `iifname vmap @${p}_out`, `oifname vmap @${p}_in`],
    });
    this.#chains.set(`${p}_input`, {
      hook: `type filter hook input priority ${PRIORITY}; policy accept;`,
      rules: [
        known,
        'ip6 hoplimit 255 icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept',
        'ip6 hoplimit 1 icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } accept',
        `iifname vmap @${p}_out`,
      ],
    });
    for (const [short, direction] of [
      ['out', 'egress'],
      ['in', 'ingress'],
    ] as const) {
      const elements = this.#model.attachments
        .filter((one) => one[direction].length > 0)
        .map((one) => this.#attachment(one, direction, `${p}_${short}_${one.interfaceName}`));
      const type = 'type ifname : verdict;';
      this.#sets.set(`${p}_${short}`, { kind: 'map', type, elements: new Set(elements) });
    }
    return { sets: this.#sets, chains: this.#chains };
  }

  /** Makes the chains of one direction; the map's element that leads to them. */
  #attachment(attachment: AttachmentRules, direction: Direction, name: string): string {
    const { interfaceName } = attachment;
    const tiers = attachment[direction];
    const chainOf = (tier: number): string => (tier === 0 ? name : `${name}_${tier}`);
    // A pod's packet to itself, which a Service has sent back to it.
    const own = `${direction === 'egress' ? 'oifname' : 'iifname'} "${interfaceName}" return`;
    for (const [i, tier] of tiers.entries()) {
      const next = i + 1 < tiers.length ? `goto ${chainOf(i + 1)}` : 'return';
      const rules = [...(i === 0 ? [own] : []), ...this.#tier(tier, direction, next)];
      this.#chains.set(chainOf(i), { hook: '', rules });
    }
    return `"${interfaceName}" : jump ${name}`;
  }

  #tier({ rules, otherwise }: Tier, direction: Direction, next: string): string[] {
    const lines = rules.flatMap((rule) => {
      const verdict = rule.action === 'pass' ? next : rule.action === 'allow' ? 'return' : 'drop';
      const comment = `comment "${rule.source.replace(/["\\\n]/g, '').slice(0, MAX_COMMENT)}"`;
      return this.#peerMatches(rule, direction).flatMap((peer) =>
        portMatches(rule.ports).map((port) =>
          [peer, port, 'counter', verdict, comment].filter(Boolean).join(' '),
        ),
      );
    });
    return [...lines, otherwise === 'deny' ? 'counter drop' : next];
  }

  /** One match for each family that the peer has; none for a block of which nothing is left. */
  #peerMatches({ peer }: Rule, direction: Direction): string[] {
    if (peer.kind === 'any') return [''];
    const end = direction === 'egress' ? 'daddr' : 'saddr';
    if (peer.kind === 'block') {
      const prefixes = this.#model.blockSets.get(peer.set)!;
      if (prefixes.length === 0) return [];
      const { family } = prefixes[0]!;
      const name = `${this.#prefix}_block_${hash(peer.set)}`;
      const elements = new Set(prefixes.map(formatPrefix));
      if (!this.#sets.has(name))
        this.#sets.set(name, { kind: 'set', type: `${typeOf(family)} flags interval;`, elements });
      return [`${WORDS[family]} ${end} @${name}`];
    }
    return FAMILIES.map((family) => {
      const name = `${this.#prefix}_pods${family}_${hash(peer.set)}`;
      if (!this.#sets.has(name)) {
        const addresses = this.#model.podSets.get(peer.set)!.filter((one) => one.family === family);
        const elements = new Set(addresses.map(formatAddress));
        this.#sets.set(name, { kind: 'set', type: typeOf(family), elements });
      }
      return `${WORDS[family]} ${end} @${name}`;
    });
  }
}

/** One match for each protocol. Ports that overlap or touch are one interval: nft takes none that overlap. */
function portMatches(ports: Rule['ports']): string[] {
  if (ports === 'any') return [''];
  return [...new Set(ports.map(({ protocol }) => protocol))].map((protocol) => {
    const word = protocol.toLowerCase();
    const ranges = mergeRanges(ports.filter((one) => one.protocol === protocol));
    if (ranges.some(({ first, last }) => first === 0 && last === 65_535)) return `meta l4proto ${word}`;
    const texts = ranges.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`));
    return `${word} dport { ${texts.join(', ')} }`;
  });
}

function mergeRanges(ranges: readonly PortRange[]): PortRange[] {
  const merged: PortRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.first - b.first)) {
    const before = merged.at(-1);
    if (before === undefined || range.first > before.last + 1) merged.push(range);
    else merged[merged.length - 1] = { ...before, last: Math.max(before.last, range.last) };
  }
  return merged;
}

function typeOf(family: Family): string {
  return `type ipv${family}_addr;`;
}

/** 64 bits: names stay short, and two of thousands are not the same. */
function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
