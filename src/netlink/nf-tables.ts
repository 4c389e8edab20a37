/**
 * nf_tables over nfnetlink (linux/netfilter/nfnetlink.h, struct nfgenmsg; linux/netfilter/nf_tables.h for the
 * attributes): the elements of sets, and looking at rules and counters. Tables, chains and rules are made by `nft`,
 * whose language says in a line what takes a page of expressions here.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *     |    family     |   version 0   |  resource, in network order   |
 *     +---------------+---------------+-------------------------------+
 *
 * The message's type is the subsystem's number in its upper byte and the operation in its lower one. Changes stand
 * between NFNL_MSG_BATCH_BEGIN and NFNL_MSG_BATCH_END, whose resource is the subsystem, and are done all or none.
 *
 * The key of an element of a set `ifname . ipv4_addr` is its parts one after the other, each filled up to a multiple
 * of four bytes: 16 bytes of name and NULs, then the address.
 */
import { addressBytes, addressFromBytes, type IpAddress } from '../ip/address.ts';
import {
  attribute,
  attributeList,
  attributes,
  be32,
  concat,
  nested,
  readText,
  text,
  viewOf,
} from './attribute.ts';
import * as nl from './constants.ts';
import { malformed } from './error.ts';
import type { Message, Request } from './message.ts';

const NFGENMSG_BYTES = 4;
/** IFNAMSIZ, the closing NUL included. */
const NAME_BYTES = 16;

/** A key of a set `ifname`, or `ifname . ipv4_addr`, or `ifname . ipv6_addr`. */
export interface SetKey {
  readonly interfaceName: string;
  readonly address?: IpAddress | undefined;
}

/** What begins and ends a batch. */
export function batchEdge(): Uint8Array {
  const header = new Uint8Array(NFGENMSG_BYTES);
  viewOf(header).setUint16(2, nl.NFNL_SUBSYS_NFTABLES);
  return header;
}

/** Adds elements that may be there already. */
export function addElements(table: string, set: string, keys: readonly SetKey[]): Request {
  return elements(nl.NFT_MSG_NEWSETELEM, nl.NLM_F_CREATE, table, set, keys);
}

/** ENOENT if one of them is not there. */
export function deleteElements(table: string, set: string, keys: readonly SetKey[]): Request {
  return elements(nl.NFT_MSG_DELSETELEM, 0, table, set, keys);
}

/** All elements of a set; to be sent as a dump. */
export function getElements(table: string, set: string): Request {
  return operation(nl.NFT_MSG_GETSETELEM, 0, [
    text(nl.NFTA_SET_ELEM_LIST_TABLE, table),
    text(nl.NFTA_SET_ELEM_LIST_SET, set),
  ]);
}

/** Throws NETLINK_MALFORMED. */
export function decodeElements({ type, body }: Message): SetKey[] {
  const found = bodyOf(type, body, nl.NFT_MSG_NEWSETELEM);
  const list = found.get(nl.NFTA_SET_ELEM_LIST_ELEMENTS);
  if (list === undefined) return [];
  return attributeList(list).flatMap(([kind, element]) => {
    if (kind !== nl.NFTA_LIST_ELEM) return [];
    const key = attributes(element).get(nl.NFTA_SET_ELEM_KEY);
    const value = key && attributes(key).get(nl.NFTA_DATA_VALUE);
    return value === undefined ? [] : [decodeKey(value)];
  });
}

/** All rules of the table in the family inet, or those of one chain; to be sent as a dump. */
export function getRules(table: string, chain?: string, family: number = nl.NFPROTO_INET): Request {
  const parts = [text(nl.NFTA_RULE_TABLE, table)];
  if (chain !== undefined) parts.push(text(nl.NFTA_RULE_CHAIN, chain));
  return operation(nl.NFT_MSG_GETRULE, 0, parts, family);
}

/** What a rule does, in bytes that stay the same until it is changed. Throws NETLINK_MALFORMED. */
export function decodeRuleExpressions({ type, body }: Message): Uint8Array {
  return bodyOf(type, body, nl.NFT_MSG_NEWRULE).get(nl.NFTA_RULE_EXPRESSIONS) ?? new Uint8Array(0);
}

/** One chain, to be asked for; ENOENT if there is none. */
export function getChain(table: string, chain: string, family: number = nl.NFPROTO_INET): Request {
  return operation(
    nl.NFT_MSG_GETCHAIN,
    0,
    [text(nl.NFTA_CHAIN_TABLE, table), text(nl.NFTA_CHAIN_NAME, chain)],
    family,
  );
}

/** The number of the rule set, to be asked for: another one after each change to any of its tables. */
export function getGeneration(): Request {
  return operation(nl.NFT_MSG_GETGEN, 0, []);
}

/** Throws NETLINK_MALFORMED. */
export function decodeGeneration({ type, body }: Message): number {
  const id = bodyOf(type, body, nl.NFT_MSG_NEWGEN).get(nl.NFTA_GEN_ID);
  if (id?.length !== 4) throw malformed('no number of the rule set');
  return viewOf(id).getUint32(0);
}

/** The table and chain that a rule is in. Throws NETLINK_MALFORMED. */
export function decodeRulePlace({ type, body }: Message): { table: string; chain: string } {
  const found = bodyOf(type, body, nl.NFT_MSG_NEWRULE);
  return {
    table: readText(found.get(nl.NFTA_RULE_TABLE)) ?? '',
    chain: readText(found.get(nl.NFTA_RULE_CHAIN)) ?? '',
  };
}

export function getCounter(table: string, name: string): Request {
  return operation(nl.NFT_MSG_GETOBJ, 0, [
    text(nl.NFTA_OBJ_TABLE, table),
    text(nl.NFTA_OBJ_NAME, name),
    be32(nl.NFTA_OBJ_TYPE, nl.NFT_OBJECT_COUNTER),
  ]);
}

/** The packets that a counter has counted. Throws NETLINK_MALFORMED. */
export function decodeCounter({ type, body }: Message): number {
  const data = bodyOf(type, body, nl.NFT_MSG_NEWOBJ).get(nl.NFTA_OBJ_DATA);
  const packets = data && attributes(data).get(nl.NFTA_COUNTER_PACKETS);
  if (packets?.length !== 8) throw malformed('a counter without a value');
  return Number(viewOf(packets).getBigUint64(0));
}

/** All counters with names of the table; to be sent as a dump. */
export function getCounters(table: string): Request {
  return operation(nl.NFT_MSG_GETOBJ, 0, [
    text(nl.NFTA_OBJ_TABLE, table),
    be32(nl.NFTA_OBJ_TYPE, nl.NFT_OBJECT_COUNTER),
  ]);
}

/** Throws NETLINK_MALFORMED. */
export function decodeCounterPlace({ type, body }: Message): { table: string; name: string } {
  const found = bodyOf(type, body, nl.NFT_MSG_NEWOBJ);
  return {
    table: readText(found.get(nl.NFTA_OBJ_TABLE)) ?? '',
    name: readText(found.get(nl.NFTA_OBJ_NAME)) ?? '',
  };
}

/** Removes a table of the family inet with all that is in it. */
export function deleteTable(table: string): Request {
  return operation(nl.NFT_MSG_DELTABLE, 0, [text(nl.NFTA_TABLE_NAME, table)]);
}

/** Whether a chain drops what none of its rules accepts. Throws NETLINK_MALFORMED. */
export function decodeDropsByDefault({ type, body }: Message): boolean {
  const policy = bodyOf(type, body, nl.NFT_MSG_NEWCHAIN).get(nl.NFTA_CHAIN_POLICY);
  return policy?.length === 4 && viewOf(policy).getUint32(0) === nl.NF_DROP;
}

function elements(kind: number, flags: number, table: string, set: string, keys: readonly SetKey[]): Request {
  const list = keys.map((key) =>
    nested(nl.NFTA_LIST_ELEM, nested(nl.NFTA_SET_ELEM_KEY, attribute(nl.NFTA_DATA_VALUE, encodeKey(key)))),
  );
  return operation(kind, flags, [
    text(nl.NFTA_SET_ELEM_LIST_TABLE, table),
    text(nl.NFTA_SET_ELEM_LIST_SET, set),
    nested(nl.NFTA_SET_ELEM_LIST_ELEMENTS, ...list),
  ]);
}

function operation(
  kind: number,
  flags: number,
  parts: readonly Uint8Array[],
  family: number = nl.NFPROTO_INET,
): Request {
  const header = Uint8Array.of(family, 0, 0, 0);
  return { type: typeOf(kind), flags, body: concat([header, ...parts]) };
}

function typeOf(kind: number): number {
  return (nl.NFNL_SUBSYS_NFTABLES << 8) | kind;
}

function bodyOf(type: number, body: Uint8Array, kind: number): ReadonlyMap<number, Uint8Array> {
  if (type !== typeOf(kind) || body.length < NFGENMSG_BYTES) {
    throw malformed(`a message of type ${type} in place of ${typeOf(kind)}`);
  }
  return attributes(body.subarray(NFGENMSG_BYTES));
}

function encodeKey({ interfaceName, address }: SetKey): Uint8Array {
  const name = new Uint8Array(NAME_BYTES);
  name.set(new TextEncoder().encode(interfaceName).subarray(0, NAME_BYTES - 1));
  return address === undefined ? name : concat([name, addressBytes(address)]);
}

function decodeKey(bytes: Uint8Array): SetKey {
  const rest = bytes.length - NAME_BYTES;
  if (rest !== 0 && rest !== 4 && rest !== 16) throw malformed(`a set's key of ${bytes.length} bytes`);
  const interfaceName = readText(bytes.subarray(0, NAME_BYTES))!;
  return rest === 0
    ? { interfaceName }
    : { interfaceName, address: addressFromBytes(bytes.subarray(NAME_BYTES)) };
}
