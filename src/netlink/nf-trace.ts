/**
 * What nftables says of a packet that is traced (`meta nftrace set 1`): one message for each rule that it meets, and for the
 * policy at the end of a chain, to whoever listens to the group NFNLGRP_NFTRACE. The first of each hook has the packet's
 * headers (linux/netfilter/nf_tables.h, enum nft_trace_attributes). A packet keeps its number from hook to hook while it is in
 * one network namespace and on one interface.
 */
import { attributes, readText, viewOf } from './attribute.ts';
import * as nl from './constants.ts';
import type { Message } from './message.ts';

const NFGENMSG_BYTES = 4;
const FAMILIES: Readonly<Record<number, string>> = {
  [nl.NFPROTO_INET]: 'inet',
  [nl.NFPROTO_IPV4]: 'ip',
  [nl.NFPROTO_IPV6]: 'ip6',
};

export interface TraceMessage {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  /** Of the rule; undefined: the message is about the policy of the chain, or about going back to the chain before. */
  readonly handle: number | undefined;
  readonly isPolicy: boolean;
  /** The packet ends here. */
  readonly drops: boolean;
  readonly id: number;
  /** The headers of the packet: the first message of a hook has them. Up to 40 bytes, and up to 20. */
  readonly network: Uint8Array | undefined;
  readonly transport: Uint8Array | undefined;
  /** Numbers of interfaces; 0: none. */
  readonly inIndex: number;
  readonly outIndex: number;
}

/** Undefined: it is a message of another kind. Throws NETLINK_MALFORMED. */
export function decodeTrace({ type, body }: Message): TraceMessage | undefined {
  if (type !== ((nl.NFNL_SUBSYS_NFTABLES << 8) | nl.NFT_MSG_TRACE) || body.length < NFGENMSG_BYTES)
    return undefined;
  const found = attributes(body.subarray(NFGENMSG_BYTES));
  const number = (attribute: number) => {
    const value = found.get(attribute);
    return value?.length === 4 ? viewOf(value).getInt32(0) : undefined;
  };
  const verdict = found.get(nl.NFTA_TRACE_VERDICT);
  const code = verdict && attributes(verdict).get(nl.NFTA_VERDICT_CODE);
  const handle = found.get(nl.NFTA_TRACE_RULE_HANDLE);
  const kind = number(nl.NFTA_TRACE_TYPE);
  const isPolicy = kind === nl.NFT_TRACETYPE_POLICY;
  const isDropped = code?.length === 4 && viewOf(code).getInt32(0) === nl.NF_DROP;
  return {
    family: FAMILIES[body[0]!] ?? String(body[0]),
    table: readText(found.get(nl.NFTA_TRACE_TABLE)) ?? '',
    chain: readText(found.get(nl.NFTA_TRACE_CHAIN)) ?? '',
    handle: handle?.length === 8 ? Number(viewOf(handle).getBigUint64(0)) : undefined,
    isPolicy,
    drops: isPolicy
      ? number(nl.NFTA_TRACE_POLICY) === nl.NF_DROP
      : kind === nl.NFT_TRACETYPE_RULE && isDropped,
    id: number(nl.NFTA_TRACE_ID) ?? 0,
    network: found.get(nl.NFTA_TRACE_NETWORK_HEADER),
    transport: found.get(nl.NFTA_TRACE_TRANSPORT_HEADER),
    inIndex: number(nl.NFTA_TRACE_IIF) ?? 0,
    outIndex: number(nl.NFTA_TRACE_OIF) ?? 0,
  };
}
