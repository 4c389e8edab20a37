/** What stands in the packet filter: nftables over netlink and by `nft -j`, the legacy iptables by its own program. */
import { WarrenError } from '../errors.ts';
import { runCommand } from '../host/command.ts';
import { ATTACHMENT_INTERFACES, DockerForwarding, hasLegacyFilter } from '../host/rules/docker-forwarding.ts';
import { FilterView } from '../host/rules/filter-view.ts';
import {
  type ForwardPolicy,
  type ForwardSources,
  hasFirewalld,
  readForwardPolicy,
} from '../host/rules/forward-policy.ts';
import { NetlinkConversation } from '../netlink/conversation.ts';
import { NETLINK_NETFILTER } from '../sys/constants.ts';
import { NetlinkSocket } from '../sys/netlink-socket.ts';
import { z } from '../zod.ts';
import type { DroppingChain, FirewallFacts } from './facts.ts';

const FAMILIES = [4, 6] as const;
const FILTER_FAMILY = { ip: 4, ip6: 6, inet: 'inet' } as const;

type View = ForwardSources['view'];

export async function gatherFirewall(tunName: string): Promise<FirewallFacts> {
  const forward: ForwardPolicy[] = [];
  for (const family of FAMILIES) {
    if (!hasLegacyFilter(family)) continue;
    const program = family === 4 ? 'iptables-legacy' : 'ip6tables-legacy';
    const rules = await output([program, '-w', '-S']);
    if (rules !== undefined) forward.push(readPolicy(family, legacyView(rules), tunName));
  }
  let socket: NetlinkSocket;
  try {
    socket = NetlinkSocket.open(NETLINK_NETFILTER);
  } catch {
    // A kernel without netfilter, or a user who may not ask: nothing is to be seen.
    return { forward, hasFirewalld: false, droppingChains: [] };
  }
  try {
    const view = new FilterView(new NetlinkConversation(socket));
    forward.push(...FAMILIES.map((family) => readPolicy(family, view, tunName)));
    // Without the elements of sets; older ones cannot leave them out.
    const listed =
      (await output(['nft', '-j', '-t', 'list', 'ruleset'])) ??
      (await output(['nft', '-j', 'list', 'chains']));
    const chains = parseDroppingChains(listed ?? '');
    return {
      forward,
      hasFirewalld: hasFirewalld(view),
      droppingChains: chains.map((chain) => ({ ...chain, namesInterfaces: namesOurs(chain, view, tunName) })),
    };
  } catch (error) {
    // Reading rules takes CAP_NET_ADMIN.
    if (!(error instanceof WarrenError)) throw error;
    return { forward, hasFirewalld: false, droppingChains: [] };
  } finally {
    socket.close();
  }
}

function readPolicy(family: 4 | 6, view: View, tunName: string): ForwardPolicy {
  return readForwardPolicy(family, { view, tunName, docker: new DockerForwarding({ tunName, view }) });
}

/** Rules as `iptables -S` prints them, in the same form as those that netlink shows. */
export function legacyView(rules: string): View {
  const lines = rules.split('\n');
  return {
    has: (_family, _table, chain) => lines.some((line) => line === `-N ${chain}`),
    dropsByDefault: (_family, _table, chain) =>
      lines.includes(`-P ${chain} DROP`) ||
      lines.some((line) => line.startsWith(`-A ${chain} -j REJECT`) || line === `-A ${chain} -j DROP`),
    mentions: (_family, _table, chain, ...words) =>
      words.every((word) => lines.some((line) => line.startsWith(`-A ${chain} `) && line.includes(word))),
  };
}

const listing = z.object({
  nftables: z.array(
    z.looseObject({
      chain: z
        .object({
          family: z.string(),
          table: z.string(),
          name: z.string(),
          hook: z.string().optional(),
          policy: z.string().optional(),
        })
        .optional(),
      rule: z
        .object({
          family: z.string(),
          table: z.string(),
          chain: z.string(),
          expr: z.array(z.record(z.string(), z.unknown())).default([]),
        })
        .optional(),
    }),
  ),
});

/** Base chains that drop by default, of `nft -j list`; none if that is something else. */
export function parseDroppingChains(text: string): Omit<DroppingChain, 'namesInterfaces'>[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return [];
  }
  const parsed = listing.safeParse(value);
  if (!parsed.success) return [];
  // What each chain does with all that comes to its first rule without a condition.
  const ends = new Map<string, Verdict>();
  for (const { rule } of parsed.data.nftables) {
    if (rule === undefined) continue;
    const place = placeOf(rule.family, rule.table, rule.chain);
    const verdict = verdictOf(rule.expr);
    if (verdict !== undefined && !ends.has(place)) ends.set(place, verdict);
  }
  return parsed.data.nftables.flatMap(({ chain }) => {
    if (chain?.hook === undefined) return [];
    const { family, table, name, hook, policy } = chain;
    const end = ends.get(placeOf(family, table, name));
    if (end === 'passes' || (end === undefined && policy !== 'drop')) return [];
    return [{ by: end === undefined ? 'policy' : 'rule', family, table, chain: name, hook } as const];
  });
}

type Verdict = 'drops' | 'passes';

/** Of a rule that concerns every packet; undefined: of some alone, or it decides nothing. */
function verdictOf(expressions: readonly Readonly<Record<string, unknown>>[]): Verdict | undefined {
  let verdict: Verdict | undefined;
  for (const expression of expressions) {
    const [kind] = Object.keys(expression);
    if (kind === 'counter' || kind === 'log') continue;
    if (kind === 'drop' || kind === 'reject' || isRejection(expression.xt)) verdict = 'drops';
    else if (kind === 'accept') verdict = 'passes';
    else return undefined;
  }
  return verdict;
}

/** The target of iptables, which nft shows as what it is. */
function isRejection(xt: unknown): boolean {
  const { type, name } = (xt ?? {}) as { readonly type?: unknown; readonly name?: unknown };
  return type === 'target' && name === 'REJECT';
}

function placeOf(family: string, table: string, chain: string): string {
  return `${family} ${table} ${chain}`;
}

function namesOurs(chain: Omit<DroppingChain, 'namesInterfaces'>, view: View, tunName: string): boolean {
  if (!Object.hasOwn(FILTER_FAMILY, chain.family)) return false;
  const family = FILTER_FAMILY[chain.family as keyof typeof FILTER_FAMILY];
  return (
    view.mentions(family, chain.table, chain.chain, tunName, ATTACHMENT_INTERFACES.slice(0, -1)) ||
    // The agent's own, which Docker asks before the others.
    (chain.hook === 'forward' && view.mentions(family, chain.table, 'DOCKER-USER', `WARREN-${tunName}`))
  );
}

/** Undefined where the program is absent or refuses. */
async function output(argv: readonly string[]): Promise<string | undefined> {
  try {
    return await runCommand(argv);
  } catch (error) {
    if (error instanceof WarrenError) return undefined;
    throw error;
  }
}
