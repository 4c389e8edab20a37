/**
 * What the compiler makes of policies: for each attachment of this node and each direction, rules in tiers. The renderer
 * and whoever explains a verdict read it; neither knows policies.
 *
 * Tiers are asked in their order. The first rule of a tier that matches decides: `allow` and `deny` are final, `pass` goes
 * on with the next tier. Where no rule matches, `otherwise` of the tier decides. What all tiers pass is allowed; an
 * attachment that no policy selects has no tier. Today there is one tier, of NetworkPolicy; one of an administrator before
 * it and a baseline behind it have their places here.
 *
 * Three things are no rules. What this node itself sends to its own pods is always allowed, and so is what a pod sends to
 * itself. Answers to what was allowed are allowed: rules are about who begins.
 */
import type { IpAddress } from '../ip/address.ts';
import type { Prefix } from '../ip/prefix.ts';

export type Protocol = 'TCP' | 'UDP' | 'SCTP';
export type Direction = 'ingress' | 'egress';

export interface PortRange {
  readonly protocol: Protocol;
  /** First and last port, both included; 0 to 65535 is every packet of the protocol. */
  readonly first: number;
  readonly last: number;
}

/** The other end: `pods` and `block` name a set of the model. */
export type RulePeer = { readonly kind: 'any' } | { readonly kind: 'pods' | 'block'; readonly set: string };

export interface Rule {
  readonly action: 'allow' | 'deny' | 'pass';
  readonly peer: RulePeer;
  /** Any of these destination ports; `any` is every packet, of other protocols too. */
  readonly ports: 'any' | readonly PortRange[];
  /** Where it comes from, for people: `shop/web ingress[0]`. */
  readonly source: string;
}

export interface Tier {
  readonly name: string;
  readonly rules: readonly Rule[];
  readonly otherwise: 'deny' | 'pass';
  /** The policies that make it so, as `namespace/name`. */
  readonly policies: readonly string[];
}

export type Tiers = Readonly<Record<Direction, readonly Tier[]>>;

export interface AttachmentRules extends Tiers {
  /** The attachment's interface on the node. */
  readonly interfaceName: string;
  /** What would be in force if staged policies were, where any selects it; their tiers name these policies alone. */
  readonly staged: Tiers;
}

export interface RuleModel {
  /** One for each attachment that a policy selects; all others may talk to everybody. */
  readonly attachments: readonly AttachmentRules[];
  /**
   * Addresses of pods, of both families. They come and go with pods; one that was given to a new pod before the old one is
   * forgotten stands there twice.
   */
  readonly podSets: ReadonlyMap<string, readonly IpAddress[]>;
  /** Prefixes of one family that do not overlap. A set of this id never changes. */
  readonly blockSets: ReadonlyMap<string, readonly Prefix[]>;
}
