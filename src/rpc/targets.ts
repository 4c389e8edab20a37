/** The question of `warren check` to other nodes: which addresses and pods do you have? */

import pLimit from 'p-limit';
import { errorMessage, WarrenError } from '../errors.ts';
import { addressBytes, formatAddress, parseAddress } from '../ip/address.ts';
import { NODE_NAME } from '../names.ts';
import {
  addressField,
  check,
  guarded,
  listField,
  messageField,
  nameField,
  type Raw,
} from '../protobuf/fields.ts';
import { ASKED_AT_ONCE } from './limits.ts';
import { targetsType } from './proto.ts';
import type { Rpc } from './rpc.ts';

const METHOD = 'targets';
/** More pods than this are not told of, and not taken. */
export const MAX_POD_TARGETS = 4096;
const MAX_ADDRESSES = 8;
const PODS_PER_PART = 256;
const MAX_ANSWER_BYTES = 1024 * 1024;
const EMPTY = new Uint8Array();

export interface PodTargets {
  readonly name: string;
  readonly addresses: readonly string[];
}

/** What can be reached on a node. */
export interface NodeTargets {
  readonly node: string;
  readonly addresses: readonly string[];
  readonly pods: readonly PodTargets[];
}

/** A node that could not be asked, or is not to be. */
export interface UnreachableNode {
  readonly node: string;
  readonly reason: string;
}

/** Answers for this node. */
export function serveTargets(rpc: Rpc, targets: () => NodeTargets): void {
  rpc.serve(METHOD, () => encodeTargets(targets()));
}

/** Rejects with what `Rpc.call` rejects with. */
export async function askTargets(rpc: Rpc, memberId: string): Promise<NodeTargets> {
  const parts = await rpc.call(memberId, METHOD, EMPTY, { maxAnswerBytes: MAX_ANSWER_BYTES });
  const decoded = guarded(() => decodeTargets(parts));
  if (decoded.ok) return decoded.value;
  throw new WarrenError('RPC_REFUSED', "the node's answer makes no sense");
}

/** Asks each of these nodes; those that answered by their names. */
export async function askAllTargets(
  rpc: Rpc,
  nodes: Iterable<{ readonly id: string; readonly name: string }>,
): Promise<{ readonly targets: readonly NodeTargets[]; readonly unreachable: readonly UnreachableNode[] }> {
  const targets: NodeTargets[] = [];
  const unreachable: UnreachableNode[] = [];
  await pLimit(ASKED_AT_ONCE).map(nodes, async ({ id, name }) => {
    try {
      targets.push(await askTargets(rpc, id));
    } catch (error) {
      unreachable.push({ node: name, reason: errorMessage(error) });
    }
  });
  targets.sort((a, b) => a.node.localeCompare(b.node));
  return { targets, unreachable };
}

/** Pods whose names are not host names cannot be told of. */
function* encodeTargets({ node, addresses, pods }: NodeTargets): Iterable<Uint8Array> {
  const told = pods.filter(({ name }) => NODE_NAME.test(name)).slice(0, MAX_POD_TARGETS);
  for (let at = 0; at === 0 || at < told.length; at += PODS_PER_PART) {
    const some = told.slice(at, at + PODS_PER_PART);
    yield targetsType
      .encode({
        ...(at === 0 && { node, addresses: rawAddresses(addresses) }),
        pods: some.map((pod) => ({ name: pod.name, addresses: rawAddresses(pod.addresses) })),
      })
      .finish();
  }
}

function decodeTargets(parts: readonly Uint8Array[]): NodeTargets {
  const raws = parts.map((part) => targetsType.decode(part) as unknown as Raw);
  const [first] = raws;
  check(first !== undefined);
  const pods = raws.flatMap((raw) => listField(raw.pods, PODS_PER_PART).map(podField));
  check(pods.length <= MAX_POD_TARGETS);
  return { node: nameField(first.node), addresses: addressesField(first.addresses), pods };
}

function podField(value: unknown): PodTargets {
  const raw = messageField(value);
  return { name: nameField(raw.name), addresses: addressesField(raw.addresses) };
}

function addressesField(value: unknown): string[] {
  return listField(value, MAX_ADDRESSES).map((one) => formatAddress(addressField(one)));
}

function rawAddresses(addresses: readonly string[]): Uint8Array[] {
  return addresses.slice(0, MAX_ADDRESSES).map((address) => addressBytes(parseAddress(address)));
}
