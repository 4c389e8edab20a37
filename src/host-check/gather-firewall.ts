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
    const chains = parseDroppingChains((await output(['nft', '-j', 'list', 'chains'])) ?? '');
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
    dropsByDefault: (_family, _table, chain) => lines.includes(`-P ${chain} DROP`),
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
    }),
  ),
});

/** Base chains that drop by default, of `nft -j list chains`; none if that is something else. */
export function parseDroppingChains(text: string): Omit<DroppingChain, 'namesInterfaces'>[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return [];
  }
  const parsed = listing.safeParse(value);
  if (!parsed.success) return [];
  return parsed.data.nftables.flatMap(({ chain }) => {
    if (chain?.hook === undefined || chain.policy !== 'drop') return [];
    return [{ family: chain.family, table: chain.table, chain: chain.name, hook: chain.hook }];
  });
}

function namesOurs(chain: Omit<DroppingChain, 'namesInterfaces'>, view: View, tunName: string): boolean {
  if (!Object.hasOwn(FILTER_FAMILY, chain.family)) return false;
  const family = FILTER_FAMILY[chain.family as keyof typeof FILTER_FAMILY];
  return view.mentions(family, chain.table, chain.chain, tunName, ATTACHMENT_INTERFACES.slice(0, -1));
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
