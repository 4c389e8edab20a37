/** The question of `warren check` to another node: which addresses and pods do you have? */

import { WarrenError } from '../errors.ts';
import { formatAddress, parseAddress } from '../ip/address.ts';
import type { Link, Peer } from '../link/link.ts';
import { isName } from '../protobuf/fields.ts';
import type { NodeTargets } from '../readmodel/reports.ts';
import { encodeMessage } from './codec.ts';

/** More pods than this are not listed, and not accepted. */
export const MAX_POD_TARGETS = 4096;
const MAX_ADDRESSES = 8;

/** The messages that answer a TargetsRequest. Pods whose names are not host names cannot be told of. */
export function encodeTargets(targets: NodeTargets): Uint8Array[] {
  const pods = targets.pods.filter((pod) => isName(pod.name)).slice(0, MAX_POD_TARGETS);
  return [
    encodeMessage({
      kind: 'targetsResponse',
      node: targets.node,
      addresses: targets.addresses.slice(0, MAX_ADDRESSES).map(parseAddress),
    }),
    ...pods.map((pod) =>
      encodeMessage({
        kind: 'podTarget',
        name: pod.name,
        addresses: pod.addresses.slice(0, MAX_ADDRESSES).map(parseAddress),
      }),
    ),
  ];
}

/** Asks the node `id`; rejects with GOSSIP_REQUEST. */
export function requestTargets(link: Link, id: string, name: string, peer: Peer): Promise<NodeTargets> {
  return new Promise((resolve, reject) => {
    let node: { name: string; addresses: string[] } | undefined;
    const pods: { name: string; addresses: string[] }[] = [];
    link.exchange(
      peer,
      [encodeMessage({ kind: 'targetsRequest', target: id })],
      (message) => {
        if (message.kind === 'targetsResponse') {
          node = { name: message.node, addresses: message.addresses.map(formatAddress) };
        } else if (message.kind === 'podTarget' && pods.length < MAX_POD_TARGETS) {
          pods.push({ name: message.name, addresses: message.addresses.map(formatAddress) });
        }
      },
      (error) => {
        if (node && !error) resolve({ node: node.name, addresses: node.addresses, pods });
        else {
          const reason = error?.message ?? 'another node answers at its address';
          reject(
            new WarrenError('GOSSIP_REQUEST', `cannot ask ${name} for its pods: ${reason}`, { cause: error }),
          );
        }
      },
    );
  });
}
