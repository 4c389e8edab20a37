/** Where names come from: what all nodes have attached, as one node knows it. Names are in lower case everywhere. */
import type { IpAddress } from '../ip/address.ts';
import type { Port } from './entry-names.ts';

/** One attachment on a node that is there. */
export interface Instance {
  /** Of the attachment, as labels of a DNS name; undefined: it cannot be one. */
  readonly name: string | undefined;
  /** Its node's name. */
  readonly node: string;
  /** Empty: it is of none. */
  readonly network: string;
  /** Those that its node may speak of. */
  readonly addresses: readonly IpAddress[];
  readonly ports: readonly Port[];
  readonly isHealthy: boolean;
}

export interface NameSource {
  /** The attachments called `name` on the nodes called `node`; mostly one, more where it is in several networks. */
  onNode(name: string, node: string): Instance[];
  /** All on all nodes that `network` knows by that name. */
  inNetwork(service: string, network: string): Instance[];
  /** Of the nodes called so that are there: their own addresses; undefined: there is no such node. */
  node(name: string): readonly IpAddress[] | undefined;
  /** Whether anything is attached to it. */
  hasNetwork(network: string): boolean;
  /** Who has an address. */
  at(address: IpAddress): Instance | { readonly node: string } | undefined;
}
