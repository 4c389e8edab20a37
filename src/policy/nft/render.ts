/**
 * A rule model as nftables holds it, in the one table of ours, beside the attachments' source check, which comes first:
 *
 *     table inet warren
 *       map policy_TUN_out, policy_TUN_in    interface of an attachment -> jump to its chain
 *       set policy_TUN_seen                  connections that were asked for a moment ago, and may go on
 *       chain policy_TUN_forward             what is forwarded: the end that began the connection (`out`), then the other (`in`)
 *       chain policy_TUN_input               what pods send to the node: neighbour discovery, then `out`
 *       chain policy_TUN_closed              what connection tracking does not know, of interfaces in set policy_TUN_policed
 *       chain policy_TUN_out_IF, _in_IF      the rules of one attachment: allowed returns, so that the other end's rules are
 *                                            asked too; the rest goes to be denied. A further tier is a further chain
 *       chain policy_TUN_trial_out_IF, ...   what staged policies would deny of new connections: counted, and nothing else
 *       chain policy_TUN_deny, _note         who is denied is noted in policy_TUN_denied4 and 6; of trials in _trial4 and 6
 *       counter policy_TUN_denied_out_IF ... packets by attachment and direction; they stay when rules change
 *       set policy_TUN_pods4_H, _pods6_H     addresses that come and go, each by itself
 *       set policy_TUN_block_H               prefixes that do not overlap. H says what is in it, so it never changes
 *
 * Rules ask about the connection and not about the packet: who began it, with whom, at which port, as connection tracking has
 * them behind address translation. A connection is asked for again and again, in both directions, so that one that new rules
 * deny ends, and nothing has to look for it: its first packet always, and then one of each half second, since walking
 * through the rules for each packet takes a tenth of the throughput of two pods of one node. What is kept of a connection is
 * for that half second alone, so that nothing of it is worth keeping over a restart or a flush.
 *
 * Since rules go by addresses, a pod's address counts only where that pod can be: who forges one outside of the overlay is dropped.
 *
 * What the node itself sends is in neither hook, which is why it always reaches its own pods. An attachment without rules is
 * in no map, and without any attachment with rules there is nothing at all: connection tracking costs nobody who has no
 * policies. Several agents of one network namespace share the table, so every name has the agent's TUN device in it.
 */
import { createHash } from 'node:crypto';
import { forgedSources } from '../../host/rules/forged-sources.ts';
import type { RenderedChain, RenderedSet, RenderedState } from '../../host/rules/nft-difference.ts';
import { type Family, formatAddress, type IpAddress } from '../../ip/address.ts';
import { formatPrefix, type Prefix } from '../../ip/prefix.ts';
import type { AttachmentRules, Direction, PortRange, Rule, RuleModel, Tier } from '../model.ts';

/** Behind dstnat (-100), so that a Service's packet shows its pod, and before the filters of others (0). */
const PRIORITY = -10;
/** So long a connection that was let through is not asked for again; and so many of them, the rest is asked for each time. */
const SEEN_MS = 500;
const MAX_SEEN = 65_536;
/** So long it is remembered who was denied; and so many of them, the first ones, of each family. */
export const DENIED_SECONDS = 600;
const MAX_DENIED = 4096;
/** NFTNL_UDATA_COMMENT_MAXLEN is 128 with the closing zero. */
const MAX_COMMENT = 120;
const WORDS = { 4: 'ip', 6: 'ip6' } as const;
const FAMILIES: readonly Family[] = [4, 6];
const DIRECTIONS = [
  ['out', 'egress'],
  ['in', 'ingress'],
] as const;

interface ChainParts {
  readonly name: string;
  /** Rules that come before those of the tiers. */
  readonly first: readonly string[];
  readonly deny: string;
}

export interface RenderOptions {
  readonly tunName: string;
  /** Addresses of pods are in these, and nobody else's. */
  readonly podRanges: readonly Prefix[];
}

export function renderRules(model: RuleModel, options: RenderOptions): RenderedState {
  const steps = renderInSteps(model, options);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** The same with a pause after each attachment, for whoever has other work besides. */
export function* renderInSteps(
  model: RuleModel,
  { tunName, podRanges }: RenderOptions,
): Generator<void, RenderedState> {
  if (model.attachments.length === 0) return { sets: new Map(), chains: new Map() };
  return yield* new Renderer(model, `policy_${tunName}`, podRanges).render();
}

class Renderer {
  readonly #model: RuleModel;
  readonly #prefix: string;
  readonly #podRanges: readonly Prefix[];
  readonly #sets = new Map<string, RenderedSet>();
  readonly #chains = new Map<string, RenderedChain>();

  constructor(model: RuleModel, prefix: string, podRanges: readonly Prefix[]) {
    this.#model = model;
    this.#prefix = prefix;
    this.#podRanges = podRanges;
  }

  *render(): Generator<void, RenderedState> {
    const p = this.#prefix;
    for (const name of ['denied', 'trial'])
      for (const family of FAMILIES)
        this.#sets.set(`${p}_${name}${family}`, {
          kind: 'set',
          type: `type ipv${family}_addr . ipv${family}_addr . inet_proto . inet_service; flags dynamic,timeout; size ${MAX_DENIED}; timeout ${DENIED_SECONDS}s; counter;`,
          elements: new Set(),
        });
    this.#sets.set(`${p}_seen`, {
      kind: 'set',
      type: `typeof ct id; flags dynamic,timeout; size ${MAX_SEEN}; timeout ${SEEN_MS}ms;`,
      elements: new Set(),
    });
    const seen = `ct state established ct id @${p}_seen accept`;
    const see = `ct state established add @${p}_seen { ct id }`;
    this.#chains.set(`${p}_deny`, { hook: '', rules: [...this.#notes('denied'), 'drop'] });
    this.#chains.set(`${p}_note`, { hook: '', rules: this.#notes('trial') });
    this.#sets.set(`${p}_policed`, {
      kind: 'set',
      type: 'type ifname;',
      elements: new Set(this.#model.attachments.map(({ interfaceName }) => `"${interfaceName}"`)),
    });
    this.#chains.set(`${p}_closed`, {
      hook: '',
      rules: ['iifname', 'oifname'].map((end) => `${end} @${p}_policed counter drop`),
    });
    const closed = `ct state { invalid, untracked } goto ${p}_closed`;
    this.#chains.set(`${p}_forward`, {
      hook: `type filter hook forward priority ${PRIORITY}; policy accept;`,
      rules: [
        seen,
        closed,
        ...forgedSources(this.#podRanges).map((forged) => `oifname @${p}_policed ${forged} counter drop`),
        `ct direction original iifname vmap @${p}_out`,
        `ct direction original oifname vmap @${p}_in`,
        `ct direction reply oifname vmap @${p}_out`,
        `ct direction reply iifname vmap @${p}_in`,
        see,
      ],
    });
    this.#chains.set(`${p}_input`, {
      hook: `type filter hook input priority ${PRIORITY}; policy accept;`,
      rules: [
        'ip6 hoplimit 255 icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept',
        'ip6 hoplimit 1 icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } accept',
        seen,
        closed,
        `ct direction original iifname vmap @${p}_out`,
        see,
      ],
    });
    for (const [short, direction] of DIRECTIONS) {
      const elements: string[] = [];
      for (const one of this.#model.attachments) {
        if (one[direction].length + one.staged[direction].length === 0) continue;
        elements.push(this.#attachment(one, direction, short));
        yield;
      }
      const type = 'type ifname : verdict;';
      this.#sets.set(`${p}_${short}`, { kind: 'map', type, elements: new Set(elements) });
    }
    return { sets: this.#sets, chains: this.#chains };
  }

  /** Makes the chains of one direction; the map's element that leads to them. */
  #attachment(attachment: AttachmentRules, direction: Direction, short: string): string {
    const { interfaceName, staged } = attachment;
    const name = `${this.#prefix}_${short}_${interfaceName}`;
    const trial = `${this.#prefix}_trial_${short}_${interfaceName}`;
    const isStaged = staged[direction].length > 0;
    const first = [
      // A pod's packet to itself, which a Service has sent back to it.
      `iifname "${interfaceName}" oifname "${interfaceName}" return`,
      // ICMP of both families, by number: nft knows the name of ICMPv6 from /etc/protocols, which a container may not have.
      'meta l4proto { 1, 58 } ct state related return',
      ...(isStaged ? [`ct state new jump ${trial}`] : []),
    ];
    if (isStaged) {
      const note = `counter name ${this.#counter(`trial_${short}_${interfaceName}`)} jump ${this.#prefix}_note`;
      this.#tiers(staged[direction], direction, { name: trial, first: [], deny: note });
    }
    const deny = `counter name ${this.#counter(`denied_${short}_${interfaceName}`)} goto ${this.#prefix}_deny`;
    this.#tiers(attachment[direction], direction, { name, first, deny });
    return `"${interfaceName}" : jump ${name}`;
  }

  #tiers(tiers: readonly Tier[], direction: Direction, { name, first, deny }: ChainParts): void {
    if (tiers.length === 0) this.#chains.set(name, { hook: '', rules: first });
    const chainOf = (tier: number): string => (tier === 0 ? name : `${name}_${tier}`);
    for (const [i, tier] of tiers.entries()) {
      const next = i + 1 < tiers.length ? `goto ${chainOf(i + 1)}` : 'return';
      const rules = [...(i === 0 ? first : []), ...this.#tier(tier, direction, { next, deny })];
      this.#chains.set(chainOf(i), { hook: '', rules });
    }
  }

  #counter(name: string): string {
    const full = `${this.#prefix}_${name}`;
    this.#sets.set(full, { kind: 'counter', type: 'packets 0 bytes 0', elements: new Set() });
    return full;
  }

  /** Who, with whom, at which port, of a connection's first direction: its answers are denied for the same reason. */
  #notes(name: string): string[] {
    return FAMILIES.flatMap((family) => {
      const ends = `${WORDS[family]} saddr . ${WORDS[family]} daddr . meta l4proto`;
      const note = (port: string) => `update @${this.#prefix}_${name}${family} { ${ends} . ${port} }`;
      return [
        `ct direction original meta l4proto { tcp, udp, sctp } ${note('th dport')}`,
        `ct direction original meta l4proto { 1, 58 } ${note('0')}`,
      ];
    });
  }

  #tier({ rules, otherwise }: Tier, direction: Direction, to: { next: string; deny: string }): string[] {
    const lines = rules.flatMap((rule) => {
      const verdict = rule.action === 'pass' ? to.next : rule.action === 'allow' ? 'return' : to.deny;
      const comment = `comment "${rule.source.replace(/["\\\n]/g, '').slice(0, MAX_COMMENT)}"`;
      return this.#peerMatches(rule, direction).flatMap((peer) =>
        portMatches(rule.ports).map((port) =>
          [peer, port, rule.action === 'deny' ? '' : 'counter', verdict, comment].filter(Boolean).join(' '),
        ),
      );
    });
    return [...lines, otherwise === 'deny' ? to.deny : to.next];
  }

  /** One match for each family that the peer has; none for a block of which nothing is left. */
  #peerMatches({ peer }: Rule, direction: Direction): string[] {
    if (peer.kind === 'any') return [''];
    const end = (family: Family) =>
      direction === 'egress' ? `ct reply ${WORDS[family]} saddr` : `ct original ${WORDS[family]} saddr`;
    if (peer.kind === 'block') {
      const prefixes = this.#model.blockSets.get(peer.set)!;
      if (prefixes.length === 0) return [];
      const { family } = prefixes[0]!;
      const name = `${this.#prefix}_block_${hash(peer.set)}`;
      const elements = new Set(prefixes.map(formatPrefix));
      if (!this.#sets.has(name))
        this.#sets.set(name, { kind: 'set', type: `${typeOf(family)} flags interval;`, elements });
      return [`${end(family)} @${name}`];
    }
    return FAMILIES.map((family) => {
      const name = `${this.#prefix}_pods${family}_${hash(peer.set)}`;
      if (!this.#sets.has(name)) {
        const elements = new Set<string>();
        for (const one of this.#model.podSets.get(peer.set)!)
          if (one.family === family) elements.add(textOf(one));
        this.#sets.set(name, { kind: 'set', type: typeOf(family), elements });
      }
      return `${end(family)} @${name}`;
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
    return `meta l4proto ${word} ct reply proto-src { ${texts.join(', ')} }`;
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

/** An address is the same object as long as its pod has it, and its text is asked for at each change of anything. */
const TEXTS = new WeakMap<IpAddress, string>();

function textOf(address: IpAddress): string {
  const known = TEXTS.get(address);
  if (known !== undefined) return known;
  const text = formatAddress(address);
  TEXTS.set(address, text);
  return text;
}

function typeOf(family: Family): string {
  return `type ipv${family}_addr;`;
}

/** 64 bits: names stay short, and two of thousands are not the same. */
function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
