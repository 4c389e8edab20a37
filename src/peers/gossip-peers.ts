/** The members of the cluster as peers: who can be sent to, and which subnets the conflict rule gives each. */
import { type AdmissionGate, everybody } from '../admission/gate.ts';
import type { Family } from '../ip/address.ts';
import type { Prefix } from '../ip/prefix.ts';
import type { Owner } from '../lease/lease-source.ts';
import type { Member } from '../membership/types.ts';
import type { KnownPeer, PeerSource } from './peer-view.ts';

/** The part of membership that is needed here. */
export interface Members {
  readonly id: string;
  members(): Member[];
  on(event: 'change' | 'removed', listener: () => void): unknown;
  off(event: 'change' | 'removed', listener: () => void): unknown;
}

/** The part of the lease source that is needed here. */
export interface Owners {
  owners(): Owner[];
  on(event: 'change', listener: () => void): unknown;
  off(event: 'change', listener: () => void): unknown;
}

/** What this node's own end of a tunnel is like. */
export interface TunnelEnd {
  readonly encapsulation: {
    readonly type: string;
    readonly accept?: string | undefined;
    readonly vni: number;
  };
  /** Whether sessions take post-quantum keys: absent: never. */
  readonly postQuantum?: 'on' | 'require' | undefined;
  /** X25519, if the encapsulation has keys. */
  readonly tunnelKey?: Uint8Array | undefined;
  /** Whether it takes partial transport checksums now. */
  partialChecksums(): boolean;
  /** Of the underlay now. */
  family(): Family;
}

export class GossipPeers implements PeerSource {
  readonly #members: Members;
  readonly #leases: Owners;
  readonly #own: TunnelEnd;
  readonly #admission: AdmissionGate;
  readonly #listeners: (() => void)[] = [];

  /** `admission`: who may take part in forwarding; absent: everybody. */
  constructor(members: Members, leases: Owners, own: TunnelEnd, admission: AdmissionGate = everybody) {
    this.#members = members;
    this.#leases = leases;
    this.#own = own;
    this.#admission = admission;
    admission.on('change', this.#changed);
    members.on('change', this.#changed);
    members.on('removed', this.#changed);
    leases.on('change', this.#changed);
  }

  peers(): KnownPeer[] {
    const subnets = subnetsByOwner(this.#leases.owners());
    const others = this.#members.members().filter((member) => member.id !== this.#members.id);
    // One that is not admitted takes no key away from one that is.
    const holders = holdersOfKeys(others.filter(({ id }) => this.#admission.admits(id)));
    return others.map((member) => this.#peer(member, subnets.get(member.id) ?? [], holders));
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** To be called when this node's own end of the tunnels is another. */
  ownEndChanged(): void {
    this.#changed();
  }

  close(): void {
    this.#members.off('change', this.#changed);
    this.#members.off('removed', this.#changed);
    this.#leases.off('change', this.#changed);
    this.#admission.off('change', this.#changed);
  }

  readonly #changed = () => {
    for (const listener of this.#listeners) listener();
  };

  #peer(member: Member, subnets: readonly Prefix[], holders: ReadonlyMap<string, string>): KnownPeer {
    const { encapsulation } = member;
    const publicKey = this.#sealedFor(member);
    const unreachable = this.#unreachable(member, holders);
    return {
      key: member.id,
      id: member.id,
      name: member.name,
      kind: 'gossip',
      status: member.status,
      endpoint: member.vtep,
      subnets,
      // Both ends must want it: to send one to a node that we have not announced it to would be in vain.
      partialChecksums:
        this.#own.partialChecksums() &&
        this.#own.encapsulation.type === 'vxlan-gpe' &&
        encapsulation.type === 'vxlan-gpe' &&
        encapsulation.partialChecksums &&
        subnets.length > 0 &&
        unreachable === undefined,
      mtu: member.mtu,
      ...(publicKey && { publicKey, run: member.session, ...this.#postQuantum(member) }),
      // Agents say their MTU since the release in which they began to look at the outer header's ECN.
      ...(member.mtu === undefined && { losesMarks: true as const }),
      unreachable,
    };
  }

  /** Where both ends have keys, nothing else goes between them. */
  #sealedFor({ encapsulation }: Pick<Member, 'encapsulation'>): Uint8Array | undefined {
    return this.#own.tunnelKey && keyOf(encapsulation);
  }

  #postQuantum({ postQuantum }: Member): Pick<KnownPeer, 'postQuantum' | 'pairKeyHash'> {
    if (this.#own.postQuantum === undefined) return {};
    if (postQuantum === undefined) return { postQuantum: 'not-offered' };
    const { keyHash } = postQuantum;
    return { postQuantum: 'needed', ...(keyHash && { pairKeyHash: keyHash }) };
  }

  #unreachable(
    { id, name, encapsulation, vtep, postQuantum }: Member,
    holders: ReadonlyMap<string, string>,
  ): string | undefined {
    if (!this.#admission.admits(this.#members.id)) return 'this node is not admitted to the cluster';
    if (!this.#admission.admits(id))
      return `${name} is not admitted to the cluster: see \`warren node list\``;
    const own = this.#own.encapsulation;
    if (encapsulation.type === 'unknown')
      return `${name} uses an encapsulation that this version does not have`;
    const publicKey = this.#sealedFor({ encapsulation });
    const ownClear = own.accept ?? own.type;
    if (publicKey === undefined && encapsulation.type !== ownClear) {
      return `${name} uses ${encapsulation.type}, this node ${own.type}: set the same encapsulation.type`;
    }
    if (publicKey === undefined && encapsulation.type === 'vxlan-gpe' && encapsulation.vni !== own.vni) {
      return `${name} uses VNI ${encapsulation.vni}, this node ${own.vni}: set the same encapsulation.vni`;
    }
    if (publicKey !== undefined) {
      const key = keyText(publicKey);
      if (key === keyText(this.#own.tunnelKey!)) return `${name} announces this node's own tunnel key`;
      if (holders.get(key) !== id) return `${name} announces the tunnel key of another node`;
      if (this.#own.postQuantum === 'require' && postQuantum === undefined)
        return `${name} has no post-quantum keys, which encapsulation.postQuantum requires: upgrade it, or let it offer them`;
    }
    const family = this.#own.family();
    if (vtep.address.family !== family) {
      return `${name} has an IPv${vtep.address.family} underlay, this node IPv${family}`;
    }
    return undefined;
  }
}

/** Whose each tunnel key is: of several nodes that announce one, that with the smallest id. */
function holdersOfKeys(members: readonly Member[]): Map<string, string> {
  const holders = new Map<string, string>();
  for (const { id, encapsulation } of members) {
    const publicKey = keyOf(encapsulation);
    if (publicKey === undefined) continue;
    const key = keyText(publicKey);
    const known = holders.get(key);
    if (known === undefined || id < known) holders.set(key, id);
  }
  return holders;
}

function keyOf(encapsulation: Member['encapsulation']): Uint8Array | undefined {
  if (encapsulation.type === 'wireguard') return encapsulation.publicKey;
  return encapsulation.type === 'vxlan-gpe' ? encapsulation.tunnelKey : undefined;
}

function keyText(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('base64');
}

function subnetsByOwner(owners: readonly Owner[]): Map<string, Prefix[]> {
  const subnets = new Map<string, Prefix[]>();
  for (const { prefix, memberId } of owners) {
    const known = subnets.get(memberId);
    if (known) known.push(prefix);
    else subnets.set(memberId, [prefix]);
  }
  return subnets;
}
