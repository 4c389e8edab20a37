/**
 * Whose rule it is that dropped a packet, by where it stands: the agent's own table has chains for several things; all else is
 * somebody's firewall. What makes further chains there, such as policies of pods, is a line in OWNERS.
 */
import { NFT_TABLE } from '../host/nft-table.ts';
import type { Cause, Hook, RuleDrop } from './model.ts';

export interface RuleOwner {
  readonly cause: Cause;
  /** What it does to the packet, behind "on NODE". */
  readonly text: string;
  readonly advice: string;
}

/** Who asks: what of the flow the rule saw. */
export interface DroppedThing {
  readonly hook: Hook | undefined;
  /** Such as "the packet", or "the tunnel's datagram". */
  readonly what: string;
  readonly source: string;
  readonly destination: string;
}

interface Owner {
  readonly chains: RegExp;
  readonly cause: Cause;
  readonly text: (thing: DroppedThing, drop: RuleDrop) => string;
  readonly advice: (thing: DroppedThing) => string;
}

const OWNERS: readonly Owner[] = [
  {
    chains: /^sources$/,
    cause: 'source-check',
    text: ({ source }) => `the check of sources drops it: ${source} is no address of the pod that sends it`,
    advice: () => 'let the pod send from the address that `warren pods` shows',
  },
  {
    chains: /^networks_/,
    cause: 'isolation',
    text: ({ source, destination }) =>
      `the isolation of networks drops it: the networks of ${source} and ${destination} do not reach each other`,
    advice: () => 'put both in one network, or let each name the other with `--opt warren.reach=NETWORK`',
  },
  {
    // Each end's rules are chains by its interface, from which what is denied goes to another one.
    chains: /^policy_/,
    cause: 'policy',
    text: ({ source, destination }, { via = [] }) => {
      const way = via.map((chain) => /^policy_.+_(out|in)_[^_]+$/.exec(chain)?.[1]).findLast((one) => one);
      if (way === undefined) return `a policy does not let ${source} reach ${destination}`;
      return way === 'out'
        ? `a policy of ${source} does not let it send that to ${destination}`
        : `a policy of ${destination} does not let that in from ${source}`;
    },
    advice: ({ source, destination }) => `see \`warren policy explain ${source} ${destination}\``,
  },
];

export function ownerOfRule(drop: RuleDrop, thing: DroppedThing): RuleOwner {
  const owner = drop.table === NFT_TABLE ? OWNERS.find(({ chains }) => chains.test(drop.chain)) : undefined;
  const place = `${drop.family} ${drop.table} ${drop.chain}`;
  if (owner !== undefined) {
    return { cause: owner.cause, text: `${owner.text(thing, drop)} (${place})`, advice: owner.advice(thing) };
  }
  const where = thing.hook === undefined ? '' : ` in the hook ${thing.hook}`;
  const by = drop.isPolicy
    ? `the policy of the chain ${place}`
    : drop.rule === undefined
      ? `a rule of the chain ${place}`
      : `the rule "${drop.rule}" of the chain ${place}`;
  return {
    cause: 'firewall',
    text: `a firewall drops ${thing.what}${where}: ${by}`,
    advice: `see \`nft -a list chain ${place}\``,
  };
}
