/** Which network namespaces attachments may be in, and whether those that are remembered are still the same. */
import { basename, isAbsolute } from 'node:path';
import { WarrenError } from '../errors.ts';
import type { AttachmentRecord, WantedAttachment } from './attachment.ts';
import type { AttachmentNetwork } from './link.ts';

/** An attachment in memory. */
export interface AttachmentEntry {
  record: AttachmentRecord;
  /** What was done with it last. After a start all are taken for ready, until `restore` has looked. */
  state: 'adding' | 'ready' | 'missing' | 'removing';
  /** Which namespace it is in, as far as that was asked for; its own ones too. */
  identity: string | undefined;
  /** `record` is other than in the state file, and a write of it failed. */
  isUnsaved: boolean;
  /** It is in the state file no longer, or will not be after the write that is on its way. */
  isForgotten: boolean;
}

export interface FoundNamespace {
  /** It was the caller's and is no longer there; only its end of the node is left. */
  readonly isGone: boolean;
  /** It was our own and is no longer there. */
  readonly isToMake: boolean;
  /** Which one it is now, if it is the caller's. */
  readonly identity: string | undefined;
}

export class NamespaceRules {
  readonly #network: AttachmentNetwork;
  readonly #nodeNetns: string;

  constructor(network: AttachmentNetwork, nodeNetns: string) {
    this.#network = network;
    this.#nodeNetns = nodeNetns;
  }

  /**
   * Which namespace a new attachment is in, if it is the caller's. Throws POD_NETNS_MISSING, POD_NETNS_IS_NODE,
   * POD_NETNS_EXISTS, ATTACHMENT_INTERFACE_TAKEN.
   */
  admit(wanted: WantedAttachment, others: Iterable<AttachmentEntry>): string | undefined {
    const { netns, ownsNetns } = wanted;
    let identity: string | undefined;
    if (ownsNetns) this.#refuseExisting(netns!);
    else if (netns !== undefined) identity = this.#identityOfGiven(netns);
    this.#refuseTaken(wanted, identity, others);
    return identity;
  }

  /** The namespace of an attachment that is remembered. With `isSamePath` the one at its path is its own. */
  find(
    record: AttachmentRecord,
    others: Iterable<AttachmentEntry>,
    options: { readonly isSamePath: boolean },
  ): FoundNamespace {
    const { netns, ownsNetns, netnsIdentity } = record;
    const isThere = { isGone: false, isToMake: false };
    if (netns === undefined) return { ...isThere, identity: undefined };
    if (options.isSamePath && !ownsNetns) {
      const identity = this.#identityOfGiven(netns);
      this.#refuseTaken(record, identity, others);
      return { ...isThere, identity };
    }
    const identity = this.#network.identityOf(netns);
    if (ownsNetns) return { isGone: false, isToMake: identity === undefined, identity: undefined };
    // A path under /proc names a process, and after its end another process may have its number.
    const isOther = identity !== netnsIdentity && netns.startsWith('/proc/');
    return { isGone: identity === undefined || isOther, isToMake: false, identity };
  }

  isPresent({ record }: AttachmentEntry): boolean {
    if (record.netns === undefined) return true;
    const identity = this.#network.identityOf(record.netns);
    return identity !== undefined && (record.ownsNetns || identity === record.netnsIdentity);
  }

  /** Those that are in the namespace `identity`. */
  within(entries: Iterable<AttachmentEntry>, identity: string | undefined): AttachmentEntry[] {
    if (identity === undefined) return [];
    return [...entries].filter((entry) => {
      const { netns } = entry.record;
      if (netns === undefined) return false;
      entry.identity ??= this.#network.identityOf(netns);
      // The kernel gives the number of a namespace that is gone to another one.
      return entry.identity === identity && this.#network.identityOf(netns) === identity;
    });
  }

  #identityOfGiven(path: string): string {
    const identity = isAbsolute(path) ? this.#network.identityOf(path) : undefined;
    if (identity === undefined) {
      throw new WarrenError('POD_NETNS_MISSING', `"${path}" is not the path of a network namespace`, {
        hint: 'Give an absolute path such as /run/netns/NAME (of `ip netns add NAME`) or /proc/PID/ns/net.',
      });
    }
    if (identity === this.#network.identityOf(this.#nodeNetns)) {
      throw new WarrenError('POD_NETNS_IS_NODE', `${path} is the node's own network namespace`, {
        hint: 'A pod needs a namespace of its own.',
      });
    }
    return identity;
  }

  #refuseExisting(path: string): void {
    if (this.#network.identityOf(path) === undefined) return;
    throw new WarrenError(
      'POD_NETNS_EXISTS',
      `the network namespace ${path} exists, and no pod of this node has it`,
      { hint: `If nothing uses it, remove it: ip netns delete ${basename(path)}` },
    );
  }

  #refuseTaken(
    { id, hostInterface, interfaceName, netns }: WantedAttachment,
    identity: string | undefined,
    all: Iterable<AttachmentEntry>,
  ): void {
    const others = [...all].filter(({ record }) => record.id !== id);
    const onHost = others.find(({ record }) => record.hostInterface === hostInterface);
    if (onHost !== undefined) throw taken(hostInterface, 'of this node', onHost);
    if (netns === undefined) return;
    const named = others.filter(({ record }) => record.interfaceName === interfaceName);
    const inside = named.find(({ record }) => record.netns === netns) ?? this.within(named, identity)[0];
    if (inside !== undefined) throw taken(interfaceName, `in ${netns}`, inside);
  }
}

function taken(name: string, where: string, { record }: AttachmentEntry): WarrenError {
  return new WarrenError(
    'ATTACHMENT_INTERFACE_TAKEN',
    `the interface ${name} ${where} belongs to the attachment ${record.id}`,
  );
}
