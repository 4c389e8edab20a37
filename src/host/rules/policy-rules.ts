/**
 * The rules of network policies in the agent's nftables table (policy/nft/render.ts says which there are), and what the kernel
 * has counted by them. Loaded when there is a policy.
 */
import type { Family } from '../../ip/address.ts';
import type { NetlinkConversation } from '../../netlink/conversation.ts';
import { isRefusal } from '../../netlink/error.ts';
import * as nft from '../../netlink/nf-tables.ts';
import { z } from '../../zod.ts';
import { HostCommandError, type InNetns, runCommand } from '../command.ts';
import { NFT_TABLE } from '../nft-table.ts';
import type { CountedRule, DeniedConnection, PolicyRules } from './host-rules.ts';
import type { RenderedState } from './nft-difference.ts';
import { RenderedRules } from './rendered-rules.ts';

/** A host may have no /etc/protocols. */
const PROTOCOLS: Readonly<Record<string, string>> = {
  '1': 'icmp',
  '6': 'tcp',
  '17': 'udp',
  '58': 'icmp',
  '132': 'sctp',
  'ipv6-icmp': 'icmp',
};

const deniedSchema = z.object({
  nftables: z.array(
    z.object({
      set: z
        .object({
          timeout: z.number(),
          elem: z
            .array(
              z.object({
                elem: z.object({
                  val: z.object({ concat: z.array(z.union([z.string(), z.number()])).length(4) }),
                  expires: z.number(),
                  counter: z.object({ packets: z.number() }),
                }),
              }),
            )
            .optional(),
        })
        .optional(),
    }),
  ),
});

const rulesSchema = z.object({
  nftables: z.array(
    z.object({
      rule: z
        .object({
          comment: z.string().optional(),
          expr: z.array(
            z.looseObject({ counter: z.union([z.string(), z.object({ packets: z.number() })]).optional() }),
          ),
        })
        .optional(),
    }),
  ),
});

export class LinuxPolicyRules implements PolicyRules {
  readonly #prefix: string;
  readonly #where: InNetns;
  readonly #netfilter: NetlinkConversation;
  readonly #rules: RenderedRules;

  constructor({ tunName, ...where }: InNetns & { readonly tunName: string }, netfilter: NetlinkConversation) {
    this.#prefix = `policy_${tunName}_`;
    this.#where = where;
    this.#netfilter = netfilter;
    const mainChain = `${this.#prefix}forward`;
    this.#rules = new RenderedRules(
      { prefix: this.#prefix, mainChain, what: 'policies', ...where },
      netfilter,
    );
  }

  apply(state: RenderedState): Promise<void> {
    return this.#rules.apply(state);
  }

  async left(): Promise<ReadonlyMap<string, readonly string[]>> {
    return (await this.#rules.left()).sets;
  }

  remove(): Promise<void> {
    return this.#rules.remove();
  }

  isRight(): boolean {
    return this.#rules.isRight();
  }

  repair(): Promise<boolean> {
    return this.#rules.repair();
  }

  counts(): ReadonlyMap<string, number> {
    try {
      const doing = 'reading the counters of policies';
      const found = this.#netfilter.dump({ request: nft.getCounters(NFT_TABLE), doing });
      return new Map(
        found.flatMap((message) => {
          const { table, name } = nft.decodeCounterPlace(message);
          if (table !== NFT_TABLE || !name.startsWith(this.#prefix)) return [];
          return [[name.slice(this.#prefix.length), nft.decodeCounter(message)] as const];
        }),
      );
    } catch (error) {
      if (isRefusal(error, 'ENOENT')) return new Map();
      throw error;
    }
  }

  async denied(which: 'denied' | 'trial'): Promise<readonly DeniedConnection[]> {
    const all = await Promise.all(([4, 6] as const).map((family) => this.#denied(which, family)));
    return all.flat();
  }

  async #denied(which: string, family: Family): Promise<DeniedConnection[]> {
    const json = await this.#list('set', `${which}${family}`);
    if (json === undefined) return [];
    const { nftables } = deniedSchema.parse(JSON.parse(json));
    return nftables.flatMap(({ set }) =>
      (set?.elem ?? []).map(({ elem: { val, expires, counter } }) => {
        const [source, destination, protocol, port] = val.concat;
        return {
          ...{ family, source: String(source), destination: String(destination) },
          ...{
            protocol: PROTOCOLS[String(protocol)] ?? String(protocol),
            port: Number(port),
            packets: counter.packets,
          },
          ageSeconds: Math.max(0, set!.timeout - expires),
        };
      }),
    );
  }

  async rulesOf(interfaceName: string, short: 'in' | 'out'): Promise<readonly CountedRule[]> {
    const json = await this.#list('chain', `${short}_${interfaceName}`);
    if (json === undefined) return [];
    return rulesSchema.parse(JSON.parse(json)).nftables.flatMap(({ rule }) => {
      const counter = rule?.expr.find(({ counter: one }) => typeof one === 'object')?.counter;
      if (rule?.comment === undefined || typeof counter !== 'object') return [];
      return [{ comment: rule.comment, packets: counter.packets }];
    });
  }

  /** Undefined if there is none. */
  async #list(what: 'set' | 'chain', name: string): Promise<string | undefined> {
    try {
      const argv = ['nft', '-j', '-n', 'list', what, 'inet', NFT_TABLE, `${this.#prefix}${name}`];
      return await runCommand(argv, this.#where);
    } catch (error) {
      if (error instanceof HostCommandError && /No such file/.test(error.stderr)) return undefined;
      throw error;
    }
  }
}
