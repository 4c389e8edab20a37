/**
 * What a trace knows: the flow, what each of the two nodes has seen of it, and what comes out. Plain data, which goes between
 * nodes as JSON, and which the diagnosis (diagnose.ts) makes sense of without asking anybody.
 */

export type Protocol = 'icmp' | 'tcp' | 'udp';

/** The packets that are followed. */
export interface Flow {
  readonly family: 4 | 6;
  readonly source: string;
  readonly destination: string;
  readonly protocol: Protocol;
  /** Of TCP and UDP, at the destination; 0 with ICMP. */
  readonly port: number;
  /** Source port, or identifier of the echo: what marks the packet that was sent; 0: all of the flow's packets are meant. */
  readonly mark: number;
  /** Of the whole IP packet; 0: whatever real packets have. */
  readonly bytes: number;
}

/** What a node is asked to look at. */
export const ROLES = ['source', 'destination', 'both'] as const;
export type Role = (typeof ROLES)[number];

/**
 * Where a packet was seen, in the order in which it gets there. `host-end` is the node's end of the pod's interface, coming from
 * the pod; `to-pod` the same one, going to the pod.
 */
export const POINTS = [
  'host-end',
  'into-tun',
  'underlay-out',
  'underlay-in',
  'out-of-tun',
  'to-pod',
] as const;
export type Point = (typeof POINTS)[number];

/** A message about the flow's packet that some node on the way sent back. */
export interface IcmpError {
  readonly from: string;
  readonly kind:
    | 'no-network'
    | 'no-host'
    | 'no-port'
    | 'no-protocol'
    | 'too-big'
    | 'prohibited'
    | 'expired'
    | 'other';
  /** Of `too-big`. */
  readonly mtu?: number | undefined;
}

export const ANSWERS = ['echo-reply', 'syn-ack', 'reset', 'data'] as const;
export type Answer = (typeof ANSWERS)[number];

/** One look at a packet. */
export interface Sighting {
  readonly point: Point;
  /** Since the epoch, by that node's clock. */
  readonly atUs: number;
  /**
   * `packet`: the flow's own; on the underlay of a sealed tunnel a datagram that is as long as it must be. `answer`: one from the
   * destination. `error`: see `error`. `handshake`: a message by which the tunnel's ends agree on keys.
   */
  readonly what: 'packet' | 'answer' | 'error' | 'handshake';
  readonly answer?: Answer | undefined;
  readonly error?: IcmpError | undefined;
  /** Of a sealed datagram: who it is for and its number, by which the other end knows it again. */
  readonly tag?: string | undefined;
}

/** A rule of the kernel's packet filter that dropped the packet, or the policy of a chain. */
export interface RuleDrop {
  /** `inet`, `ip`, `ip6`. */
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  /** As nft writes it; undefined: it was the chain's policy, or the rule is gone. */
  readonly rule?: string | undefined;
  readonly isPolicy: boolean;
  /** Chains of that table that the packet went through before, the last one last. */
  readonly via?: readonly string[] | undefined;
}

export const HOOKS = ['prerouting', 'input', 'forward', 'output', 'postrouting'] as const;
export type Hook = (typeof HOOKS)[number];

/** How far a packet came in one node's kernel, as nftrace tells it. */
export interface KernelPath {
  /** Hooks that it has come to, in order. */
  readonly reached: readonly Hook[];
  /** Of those, the ones that it has passed. */
  readonly passed: readonly Hook[];
  readonly inInterface?: string | undefined;
  readonly outInterface?: string | undefined;
  readonly drop?: RuleDrop | undefined;
}

export interface LinkFacts {
  readonly name: string;
  readonly isUp: boolean;
  /** The other end is up too. */
  readonly hasCarrier: boolean;
  readonly mtu: number;
}

export const ROUTE_PROBLEMS = [
  'no-route',
  'unreachable',
  'blackhole',
  'prohibited',
  'reverse-path',
  'other',
] as const;

/** What `ip route get` says. */
export type RouteLookup =
  | {
      readonly isFound: true;
      /** `lo`, or a type `local`: it is this host's own. */
      readonly isLocal: boolean;
      readonly device: string;
      readonly gateway?: string | undefined;
      readonly source?: string | undefined;
    }
  | { readonly isFound: false; readonly problem: (typeof ROUTE_PROBLEMS)[number]; readonly text: string };

/** The pod at this node's end of the flow. */
export interface PodFacts {
  readonly name: string;
  /** What the agent has given it. */
  readonly attached: readonly string[];
  /** Its network namespace is there. */
  readonly isThere: boolean;
  /** The node's end; null: it is gone. */
  readonly hostEnd: LinkFacts | null;
  /** Within the pod; null: it is gone. */
  readonly inner: LinkFacts | null;
  /** What it has now. */
  readonly addresses: readonly string[];
  /** From within it to the flow's other end, and the state of the next hop there. */
  readonly route: RouteLookup | null;
  readonly neighbour: string | null;
}

/** Who owns the flow's other end, as this node's forwarding has it. */
export interface OwnerFacts {
  readonly name: string;
  readonly kind: 'gossip' | 'static' | 'wireguard';
  readonly status: string;
  /** Empty: it is not known. */
  readonly endpoint: string;
  /** Of an inner packet. */
  readonly pathMtu: number | null;
  /** There are keys in use with it. */
  readonly hasSession: boolean;
  /** Why nothing can be sent to it although it is there. */
  readonly unreachable: string | null;
}

export interface MemberFacts {
  /** `alive`, `suspect`, `dead`, `left`. */
  readonly status: string;
  /** Whether it takes part in forwarding: `approved`, `pending`, `revoked`. */
  readonly admission: string;
}

export interface UnderlayFacts {
  readonly link: LinkFacts | null;
  /** To the other node's tunnel; null: it is not known where that is. */
  readonly route: RouteLookup | null;
  /** State of the next hop there: REACHABLE, FAILED, ...; null: none. */
  readonly neighbour: string | null;
  /** What came of a TCP connection to the other agent's gossip port; null: it was not tried. */
  readonly agent: 'open' | 'refused' | 'unreachable' | 'silent' | null;
}

/** What is so on a node, whether or not a packet came. */
export interface NodeFacts {
  /** Of the flow's end that is here. */
  readonly pod: PodFacts | null;
  readonly tun: LinkFacts | null;
  /** Packets flow: it has its subnet, and no thread hangs. */
  readonly isActive: boolean;
  readonly stuckWorkers: number;
  readonly isEncrypted: boolean;
  readonly tunnelPort: number;
  /** The kernel forwards packets that come in by the interface that the flow comes in by. */
  readonly forwards: boolean;
  /** What the kernel does with a packet of the flow that comes in here, as far as routes say. */
  readonly route: RouteLookup | null;
  /** Of IPv4: the kernel drops what comes in by another interface than answers would leave by. Null: it does not look. */
  readonly reversePath: {
    /** Where the packet comes in, and where answers to it would leave; null: nowhere. */
    readonly in: string;
    readonly back: string | null;
  } | null;
  readonly ownSubnets: readonly string[];
  /** Of the other end; null: nobody has it. `self`: this node. */
  readonly owner: OwnerFacts | 'self' | null;
  /** What this node knows of the node that the other end is on, whether it forwards to it or not; null: no such member. */
  readonly other: MemberFacts | null;
  readonly underlay: UnderlayFacts | null;
}

/** What the packet path dropped while the trace ran. */
export interface Drop {
  readonly reason: string;
  /** It was the flow's packet, by its addresses and its mark; else a datagram of the other node, of whose content nothing can be seen. */
  readonly isOurs: boolean;
}

export interface NodeObservation {
  readonly node: string;
  readonly role: Role;
  readonly facts: NodeFacts;
  /** `null`: it was not this node that had to send. `error`: a name of errno. */
  readonly sent: { readonly error: string | null; readonly source: string } | null;
  readonly sightings: readonly Sighting[];
  /** Of the flow's own packet, and of the tunnel's datagram to or from the other node; null: nothing was seen of it. */
  readonly inner: KernelPath | null;
  readonly outer: KernelPath | null;
  /** Why the kernel could not be asked for its rules; null: it was. */
  readonly blind: string | null;
  readonly drops: readonly Drop[];
  /** By how much counters of this node have grown meanwhile; those that have not are absent. */
  readonly grown: Readonly<Record<string, number>>;
}

/** A node that could not be asked. */
export interface MissingNode {
  readonly node: string;
  readonly missing: string;
  /** It said so itself, so that it is there: it is of another version, or refuses. */
  readonly hasAnswered?: true;
}

export interface TraceEnd {
  /** As people write it: `web.node-a`, `node:node-a`, an address. */
  readonly name: string;
  readonly address: string;
  /** Null: nobody knows whose it is. */
  readonly node: string | null;
  /** Of an address in a node's subnet that is attached to nothing there. */
  readonly isAttached: boolean;
}

export interface TraceInput {
  readonly flow: Flow;
  readonly from: TraceEnd;
  readonly to: TraceEnd;
  readonly source: NodeObservation | MissingNode;
  /** Null: there is no other node in it, as both ends are on one, or nobody has the destination. */
  readonly destination: NodeObservation | MissingNode | null;
  /** A second packet that was sent after the first was lost between the nodes, and whether that one came to the other node. */
  readonly smaller?: { readonly bytes: number; readonly hasArrived: boolean } | undefined;
  /** Of a flow whose real packets were followed. */
  readonly isLive?: boolean | undefined;
}

/** Why a packet does not arrive; the first ones: it does. */
export const CAUSES = [
  'arrives',
  'port-closed',
  'no-answer',
  'answer-lost',
  'nothing-seen',
  'source-unknown',
  'node-silent',
  'pod-missing',
  'pod-interface-down',
  'pod-address-missing',
  'pod-route-missing',
  'pod-firewall',
  'pod-neighbour',
  'pod-not-attached',
  'source-check',
  'isolation',
  'policy',
  'firewall',
  'route-missing',
  'route-elsewhere',
  'reverse-path',
  'forwarding-off',
  'tun-down',
  'queue-full',
  'path-stuck',
  'no-owner',
  'peer-unknown',
  'peer-unreachable',
  'peer-dead',
  'no-session',
  'too-big',
  'mtu-hole',
  'foreign-source',
  'not-local',
  'underlay-route',
  'underlay-link',
  'underlay-neighbour',
  'underlay-lost',
  'send-failed',
  'packet-path',
  'lost',
] as const;
export type Cause = (typeof CAUSES)[number];

export interface Step {
  readonly node: string;
  readonly what: string;
  readonly outcome: 'passed' | 'died' | 'unknown';
  readonly text: string;
}

export interface Verdict {
  readonly arrives: boolean;
  readonly cause: Cause;
  /** Where; null: on no node. */
  readonly node: string | null;
  /** One sentence without a full stop, and what to do. */
  readonly text: string;
  readonly advice: string | null;
  /** False: it is inferred from what is known, as nothing could be observed. The text says so too. */
  readonly isCertain: boolean;
}

export interface TraceReport {
  readonly from: TraceEnd;
  readonly to: TraceEnd;
  readonly flow: Flow;
  readonly arrives: boolean;
  readonly verdict: Verdict;
  /** The whole of it in one line. */
  readonly line: string;
  readonly steps: readonly Step[];
  readonly observations: readonly (NodeObservation | MissingNode)[];
}

export function isMissing(node: NodeObservation | MissingNode): node is MissingNode {
  return 'missing' in node;
}
