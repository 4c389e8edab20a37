/**
 * The port between attachments and the host's network: what is to exist for one attachment, and who makes it exist.
 * The Linux one works by netlink (src/host); tests have one in memory.
 */
import type { IpAddress } from '../ip/address.ts';

/** The interfaces, addresses and routes of one attachment. The same value may be ensured again and again. */
export interface AttachmentLink {
  readonly id: string;
  /** The node's end of the pair. */
  readonly hostInterface: string;
  /** The other end, inside of `netns`. */
  readonly interfaceName: string;
  /** Path of the network namespace; undefined: the other end stays in the node's own, for the caller to move. */
  readonly netns: string | undefined;
  /** One of each family at most. */
  readonly addresses: readonly IpAddress[];
  /** The node's own overlay address, in the family of each address: IPv4's is the gateway and the source of routes. */
  readonly gateways: readonly IpAddress[];
  /** Bytes of an inner packet. */
  readonly mtu: number;
  /** Of a superpacket that leaves the pod (`gso_max_segs` of its end). */
  readonly gsoMaxSegments: number;
}

export interface AttachmentNetwork {
  /**
   * Makes what `link` says, or what is missing of it; a pair that is there is kept, so that connections survive. On
   * the host interface only `link.addresses` may be a source. Nothing is left if it throws and the pair is new.
   * Throws POD_INTERFACE_EXISTS if the namespace has an interface of that name that is not this pair's other end,
   * POD_NETNS_MISSING if there is no such namespace.
   */
  ensure(link: AttachmentLink): Promise<void>;
  /** Removes the pair and all that came with it, the permission to send included. Nothing happens if it is gone. */
  remove(link: Pick<AttachmentLink, 'hostInterface' | 'addresses'>): Promise<void>;
  /** Those of `links` of which something is missing or changed on the node's side. */
  findDamaged(links: readonly AttachmentLink[]): Promise<AttachmentLink[]>;
  /** What is missing of the other end, as a sentence; undefined if nothing is, or nobody can look. */
  findInnerDamage(link: AttachmentLink): Promise<string | undefined>;
  /** Makes a network namespace under /run/netns, replacing a dead file of that name. Throws POD_NETNS_FORBIDDEN. */
  addNamespace(name: string): Promise<void>;
  /** Nothing happens if there is none. */
  removeNamespace(name: string): Promise<void>;
  /** Which namespace `path` is: the same text means the same one, until it is gone. Undefined if it is none. */
  identityOf(path: string): string | undefined;
  /** Ends what it holds open. What it made on the host stays. */
  close(): Promise<void>;
}
