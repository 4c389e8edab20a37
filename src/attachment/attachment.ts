/**
 * What an attachment is: what a caller asks for, what is remembered of it, and what others see of it. Everything in it
 * comes from callers and has a limit, so that the state file and what nodes tell each other of it stay bounded.
 */

import { isAbsolute } from 'node:path';
import { WarrenError } from '../errors.ts';
import { type IpAddress, sameAddress } from '../ip/address.ts';
import { MAX_MTU, MIN_MTU } from '../ip/mtu.ts';
import { ATTACHMENT_TEXT, UNPRINTABLE } from '../names.ts';
import { DEFAULT_INTERFACE, hostInterfaceName, isInterfaceName } from './interface-name.ts';

export const MAX_ATTACHMENTS = 4096;
/** Of keys and values together. */
const MAX_LABEL_BYTES = 2048;
const MAX_NETNS_BYTES = 512;

/** Printable ASCII without spaces. */
const ID = /^[\x21-\x7e]+$/;
const CLIENT = /^[a-z][a-z0-9-]{0,31}$/;

export interface AttachmentRequest {
  /** Opaque, unique on this node: a container id and interface name, a Docker endpoint, a pod's name. */
  readonly id: string;
  /** Who makes it: `pod`, `cni`, `docker`. What one client collects as garbage is never another's. */
  readonly client: string;
  /** What people call it. */
  readonly name: string;
  /** Of what the client calls a network; default: empty, for where there is only one. */
  readonly network?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Path of the network namespace; undefined: there is none yet, and the caller moves the inner end into it. */
  readonly netns?: string | undefined;
  /** The namespace is made under /run/netns with the attachment, and goes with it; default: it is the caller's. */
  readonly ownsNetns?: boolean | undefined;
  /** Inside of the namespace; default: eth0. */
  readonly interfaceName?: string | undefined;
  /** On the node; default: from the node's id and `id`. */
  readonly hostInterface?: string | undefined;
  /** Bytes of an inner packet; default: the data plane's, which is also the most. */
  readonly mtu?: number | undefined;
  /** One of each family at most; the others are the next free ones. */
  readonly addresses?: readonly IpAddress[] | undefined;
  /** Who has the addresses is no neighbour of this node: no interface is made, and something else carries the packets. */
  readonly remote?: true | undefined;
  /** Made from the node's configuration. It is no part of what makes two requests the same. */
  readonly static?: boolean | undefined;
}

/** What it is called: nothing on the host follows from it. */
export type AttachmentDescription = Pick<WantedAttachment, 'name' | 'network' | 'labels'>;

/** What was asked for, with the defaults that never change filled in. */
export interface WantedAttachment {
  readonly id: string;
  readonly client: string;
  readonly name: string;
  readonly network: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly netns: string | undefined;
  readonly ownsNetns: boolean;
  readonly interfaceName: string;
  readonly hostInterface: string;
  /** Undefined: the data plane's. */
  readonly mtu: number | undefined;
  readonly requested: readonly IpAddress[];
  /** Absent: there is an interface. */
  readonly remote?: true;
  readonly static: boolean;
}

/** What is remembered. */
export interface AttachmentRecord extends WantedAttachment {
  /** Which namespace `netns` was, if it is the caller's (`AttachmentNetwork.identityOf`). */
  readonly netnsIdentity: string | undefined;
  /** One of each family that the node had a subnet of. */
  readonly addresses: readonly IpAddress[];
}

/** An attachment as others see it: a value that changes no more. */
export interface Attachment extends Omit<WantedAttachment, 'requested' | 'mtu'> {
  readonly addresses: readonly IpAddress[];
  /** What it has now. */
  readonly mtu: number;
  /**
   * `pending`: it is being made or removed. `missing`: its network namespace is gone or its network could not be made;
   * the addresses stay its own until it is deleted.
   */
  readonly status: 'pending' | 'ready' | 'missing';
}

/** Checks a request against the limits and fills in what never changes. Throws ATTACHMENT_INVALID. */
export function wantedAttachment(request: AttachmentRequest, nodeId: string): WantedAttachment {
  const { id, client, name, network = '', labels = {}, netns, ownsNetns = false, mtu } = request;
  const { interfaceName = DEFAULT_INTERFACE, addresses: requested = [] } = request;
  if (!ID.test(id) || id.length > ATTACHMENT_TEXT.maxId) {
    throw invalid(`"${id.slice(0, 64)}" is not an id of 1 to ${ATTACHMENT_TEXT.maxId} printable characters`);
  }
  const hostInterface = request.hostInterface ?? hostInterfaceName(nodeId, id);
  if (!CLIENT.test(client)) throw invalid(`"${client}" is not the name of a client`);
  if (name === '' || !isPrintable(name, ATTACHMENT_TEXT.maxName)) {
    throw invalid(`the name of ${id} must have 1 to ${ATTACHMENT_TEXT.maxName} printable characters`);
  }
  if (!isPrintable(network, ATTACHMENT_TEXT.maxNetwork)) {
    throw invalid(
      `the network of ${id} must have at most ${ATTACHMENT_TEXT.maxNetwork} printable characters`,
    );
  }
  checkLabels(id, labels);
  if (netns !== undefined && Buffer.byteLength(netns) > MAX_NETNS_BYTES) {
    throw invalid(`the path of the network namespace of ${id} has more than ${MAX_NETNS_BYTES} bytes`);
  }
  if (ownsNetns && (netns === undefined || !isAbsolute(netns))) {
    throw invalid(`${id} is to have a network namespace of its own, and says no path for it`);
  }
  for (const one of [interfaceName, hostInterface]) {
    if (!isInterfaceName(one)) throw invalid(`"${one}" cannot be the name of an interface`);
  }
  if (mtu !== undefined && !(Number.isInteger(mtu) && mtu >= MIN_MTU && mtu <= MAX_MTU)) {
    throw invalid(`${mtu} bytes cannot be an MTU: it must be from ${MIN_MTU} to ${MAX_MTU}`);
  }
  if (new Set(requested.map(({ family }) => family)).size !== requested.length) {
    throw invalid(`${id} asks for two addresses of one family`);
  }
  return {
    ...{ id, client, name, network, labels: { ...labels }, netns, ownsNetns },
    ...{ interfaceName, hostInterface, mtu, requested, static: request.static ?? false },
    ...(request.remote && { remote: true as const }),
  };
}

/** Whether both ask for the same attachment. */
export function isSameRequest(a: WantedAttachment, b: WantedAttachment): boolean {
  const keys = Object.keys(a.labels);
  return (
    a.id === b.id &&
    a.client === b.client &&
    a.name === b.name &&
    a.network === b.network &&
    keys.length === Object.keys(b.labels).length &&
    keys.every((key) => a.labels[key] === b.labels[key]) &&
    a.netns === b.netns &&
    a.ownsNetns === b.ownsNetns &&
    a.interfaceName === b.interfaceName &&
    a.hostInterface === b.hostInterface &&
    a.mtu === b.mtu &&
    a.remote === b.remote &&
    a.requested.length === b.requested.length &&
    a.requested.every((one) => b.requested.some((other) => sameAddress(one, other)))
  );
}

function checkLabels(id: string, labels: Readonly<Record<string, string>>): void {
  const entries = Object.entries(labels);
  if (entries.length > ATTACHMENT_TEXT.maxLabels) {
    throw invalid(`${id} has ${entries.length} labels, and ${ATTACHMENT_TEXT.maxLabels} is the most`);
  }
  let bytes = 0;
  for (const [key, value] of entries) {
    if (key === '' || !isPrintable(key) || !isPrintable(value)) {
      throw invalid(`"${key}" of ${id} is not a label of printable text`);
    }
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (bytes > MAX_LABEL_BYTES) {
    throw invalid(`the labels of ${id} have ${bytes} bytes, and ${MAX_LABEL_BYTES} is the most`);
  }
}

function isPrintable(text: string, maxLength = Number.POSITIVE_INFINITY): boolean {
  return text.length <= maxLength && !UNPRINTABLE.test(text);
}

function invalid(message: string): WarrenError {
  return new WarrenError('ATTACHMENT_INVALID', message);
}
