/** From members and leases to peers of the packet path: who can be sent to, and what they own. */
import type { Config } from '../config/config.ts';
import type { ForwardingPeer } from '../dataplane/dataplane.ts';
import type { Family } from '../ip/address.ts';
import type { Prefix } from '../ip/prefix.ts';
import type { Owner } from '../lease/lease-source.ts';
import type { Member } from '../membership/types.ts';

export function staticPeerKey(name: string): string {
  return `static/${name}`;
}

/** Every peer that owns something and can be sent to. A lease wins over a static peer's subnet. */
export function forwardingPeers(
  config: Config,
  selfId: string,
  underlayFamily: Family,
  members: readonly Member[],
  owners: readonly Owner[],
): ForwardingPeer[] {
  const subnets = subnetsByOwner(owners);
  const fromGossip = members
    .filter((member) => member.id !== selfId && subnets.has(member.id))
    .filter((member) => unreachableReason(config, underlayFamily, member) === undefined)
    .map((member) => ({
      key: member.id,
      name: member.name,
      endpoint: member.vtep,
      // Both ends must want it: to send one to a node that we have not announced it to would be in vain.
      partialChecksums:
        config.datapath.offload.checksum &&
        member.encapsulation.type === 'vxlan-gpe' &&
        member.encapsulation.partialChecksums,
      subnets: subnets.get(member.id)!,
    }));
  const fromConfig = config.staticPeers.map((peer) => ({
    key: staticPeerKey(peer.name),
    name: peer.name,
    endpoint: peer.endpoint,
    partialChecksums: false,
    subnets: peer.subnets,
  }));
  return [...fromConfig, ...fromGossip];
}

/** Why nothing can be sent to a member although it is there; undefined if all is well. */
export function unreachableReason(
  config: Config,
  underlayFamily: Family,
  member: Member,
): string | undefined {
  const { encapsulation } = member;
  if (encapsulation.type !== config.encapsulation.type) {
    return `${member.name} uses an encapsulation that this version does not have`;
  }
  if (encapsulation.vni !== config.encapsulation.vni) {
    return `${member.name} uses VNI ${encapsulation.vni}, this node ${config.encapsulation.vni}: set the same encapsulation.vni`;
  }
  if (member.vtep.address.family !== underlayFamily) {
    return `${member.name} has an IPv${member.vtep.address.family} underlay, this node IPv${underlayFamily}`;
  }
  return undefined;
}

export function subnetsByOwner(owners: readonly Owner[]): Map<string, Prefix[]> {
  const subnets = new Map<string, Prefix[]>();
  for (const { prefix, memberId } of owners) {
    const known = subnets.get(memberId);
    if (known) known.push(prefix);
    else subnets.set(memberId, [prefix]);
  }
  return subnets;
}
