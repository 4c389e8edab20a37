/** What membership tells the rest of the agent about the cluster's nodes. */
import type { Endpoint } from '../ip/endpoint.ts';
import type { Prefix } from '../ip/prefix.ts';

export type MemberStatus = 'alive' | 'suspect' | 'dead' | 'left';

export type Encapsulation =
  | {
      readonly type: 'vxlan-gpe';
      readonly vni: number;
      /** The node takes packets with partial transport checksums (wire/vxlan-gpe.ts). */
      readonly partialChecksums: boolean;
      /** It can be sent what is sealed for this key, too: X25519, 32 bytes. */
      readonly tunnelKey?: Uint8Array | undefined;
    }
  | {
      readonly type: 'wireguard';
      /** X25519, 32 bytes. */
      readonly publicKey: Uint8Array;
    }
  /** A kind that this version does not know; the member is shown, and nothing is sent to it. */
  | { readonly type: 'unknown' };

/** What a node says of its own pod subnet; signed with the rest of its record. */
export interface LeaseClaim {
  /** `claiming`: announced so that others keep off; not routed yet. */
  readonly state: 'claiming' | 'active';
  /** One subnet per family; at most 16. */
  readonly prefixes: readonly Prefix[];
  /**
   * When this run of the owner's agent took the lease: seconds since 1970 on its clock. A node that returns
   * late is thus younger than whoever has taken its place.
   */
  readonly sinceSeconds: number;
  /** Whether pods run in it. */
  readonly inUse: boolean;
  /** How often the subnet has been taken over from a node that was gone for too long (lease/conflict-rule.ts). */
  readonly reclaims: number;
  /** An orchestrator has handed it out to this node, and has not said otherwise since. */
  readonly isAssigned?: true | undefined;
}

/** What a node says of itself. Only the holder of its key can make a new one. */
export interface NodeRecord {
  readonly id: string;
  readonly publicKey: Uint8Array;
  /** 1 to 2^32-1; a record with a higher one replaces one with a lower. */
  readonly incarnation: number;
  readonly name: string;
  readonly gossip: Endpoint;
  readonly vtep: Endpoint;
  readonly encapsulation: Encapsulation;
  readonly lease: LeaseClaim | undefined;
  /** The node has left on its own accord. */
  readonly left: boolean;
  /** Of this run of its agent: its datagrams carry it; 16 hexadecimal digits. */
  readonly session: string;
  /** How often the node has been forgotten (tombstones.ts). */
  readonly generation: number;
  /** Bytes of an inner packet that its end of a path takes; undefined: an agent that does not say (0.1.0). */
  readonly mtu: number | undefined;
  /** What it has attached (inventory/); undefined: an agent that has no inventory (0.1.0). */
  readonly inventory: InventoryMark | undefined;
  /** It makes sessions by post-quantum keys alone with those that can; undefined: it does not (0.1.0). */
  readonly postQuantum?: PostQuantum | undefined;
  /** Of its network policies, hexadecimal; undefined: it has none. */
  readonly policyHash?: string | undefined;
}

export interface PostQuantum {
  /** SHA-256 of its public key (post-quantum/); undefined: it has made none yet. */
  readonly keyHash?: Uint8Array | undefined;
}

/** Which state of a node's inventory is the present one. */
export interface InventoryMark {
  /** Grows with each change, over restarts too. */
  readonly version: number;
  /** First 16 bytes of the SHA-256 over its entries (inventory/), hexadecimal. */
  readonly hash: string;
}

/** A record as it travels: the exact bytes that were signed, passed on unchanged. */
export interface SignedRecord {
  readonly bytes: Uint8Array;
  readonly signature: Uint8Array;
}

export interface Member {
  readonly id: string;
  readonly name: string;
  readonly status: MemberStatus;
  readonly incarnation: number;
  readonly gossip: Endpoint;
  readonly vtep: Endpoint;
  readonly encapsulation: Encapsulation;
  readonly lease: LeaseClaim | undefined;
  readonly mtu: number | undefined;
  readonly inventory: InventoryMark | undefined;
  readonly postQuantum?: PostQuantum | undefined;
  readonly policyHash?: string | undefined;
  /** Of the present run of its agent. */
  readonly session: string;
  /** How long it has had this status, as far as this node knows, milliseconds. */
  readonly statusAgeMs: number;
}

/** How a member is reached and known by what it signs. */
export interface MemberContact extends Pick<Member, 'id' | 'name' | 'status' | 'gossip'> {
  readonly publicKey: Uint8Array;
  /** Of its present run, as far as this node knows. */
  readonly session: string;
}
