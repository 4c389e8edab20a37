/**
 * What one attachment is on the host, made over netlink and the same however often it is made:
 *
 *     the attachment's namespace           the node's namespace
 *     eth0  10.42.3.2/32          veth     wp4f1d…  fe80::1/64
 *           fd42:0:0:3::2/128  ─────────
 *     default via 10.42.3.1 (on-link)      10.42.3.2/32      dev wp4f1d… src 10.42.3.1
 *     default via fe80::1                  fd42:0:0:3::2/128 dev wp4f1d…
 *
 * 10.42.3.1 is the node's own overlay address on the TUN device; Linux answers ARP for it on every link. Everything
 * here runs on the namespace thread and blocks it, one operation after the other.
 */
import { closeSync } from 'node:fs';
import { hardwareAddress } from '../../attachment/interface-name.ts';
import type { AttachmentLink } from '../../attachment/link.ts';
import { errorMessage, WarrenError } from '../../errors.ts';
import type { IpAddress } from '../../ip/address.ts';
import { NetlinkConversation } from '../../netlink/conversation.ts';
import { isRefusal } from '../../netlink/error.ts';
import * as nl from '../../netlink/link.ts';
import { NETLINK_NETFILTER, NETLINK_ROUTE } from '../../sys/constants.ts';
import { NetlinkSocket } from '../../sys/netlink-socket.ts';
import { findDamage, missingAddresses } from './damage.ts';
import { configureInnerEnd, configureNodeEnd, type InnerNamespace } from './ends.ts';
import type { Journal } from './journal.ts';
import { addNamedNetns, removeNamedNetns } from './named-namespaces.ts';
import { checkProblem, SourceCheck } from './source-check.ts';
import { SOURCE_CHECK, type SourceCheckMode, type SourceCheckState } from './thread-messages.ts';
import { enterProblem, openNetns, ThreadNamespace } from './thread-namespace.ts';

/** Of interfaces that are about to be deleted; a number that nobody else chooses. */
const DYING_GROUP = 0x7761_7272;

export class AttachmentHost {
  readonly #thread = new ThreadNamespace();
  readonly #journal: Journal;
  readonly #warn: (text: string) => void;
  readonly #netns: string | undefined;
  /** The node's own namespace, where that is not the thread's. */
  readonly #nodeFd: number | undefined;
  readonly #node: NetlinkConversation;
  readonly #sockets: NetlinkSocket[] = [];
  #sources: SourceCheck | undefined;

  /** `netns`: path of the node's own namespace; undefined: this process's. Throws a SysError. */
  constructor(netns: string | undefined, journal: Journal, warn: (text: string) => void) {
    this.#journal = journal;
    this.#warn = warn;
    this.#netns = netns;
    this.#nodeFd = netns === undefined ? undefined : openNetns(netns);
    this.#node = new NetlinkConversation(this.#openSocket(this.#nodeFd, NETLINK_ROUTE));
  }

  /** `request` is written down as soon as something exists that did not before. */
  async ensure(link: AttachmentLink, mode: SourceCheckMode, request: number): Promise<SourceCheckState> {
    const inner = link.netns === undefined ? undefined : this.#openInner(link.netns);
    try {
      const kept = this.#findPair(link, inner);
      const pair = kept ?? this.#makePair(link, inner, request);
      try {
        // Before the interface is up: there must be no moment in which anything could be sent.
        const state = await this.#permit(link.hostInterface, link.addresses, mode);
        await configureNodeEnd({ link, index: pair.index, isNew: kept === undefined }, this.#nodeSide());
        if (inner !== undefined) await configureInnerEnd(link, inner, this.#thread, kept === undefined);
        else if (kept !== undefined) this.#resizeOther(link, pair);
        return state;
      } catch (error) {
        if (kept === undefined) this.#undo(link, mode);
        throw error;
      }
    } finally {
      this.#journal.finish();
      inner?.close();
    }
  }

  remove(hostInterface: string, mode: SourceCheckMode): void {
    this.#deleteLink(hostInterface);
    this.#forbid(hostInterface, mode);
  }

  /**
   * Deletes several interfaces, for `remove` to do the rest: the kernel waits for all processors to have let go of an
   * interface, some 30 ms, and for several at once it waits no longer.
   */
  deleteLinks(names: readonly string[]): void {
    for (const name of names) {
      const index = findLink(this.#node, name)?.index;
      if (index === undefined) continue;
      const request = nl.setLink({ index, group: DYING_GROUP });
      this.#node.change([{ request, doing: `removing the interface ${name}` }]);
    }
    try {
      this.#node.change([{ request: nl.deleteGroup(DYING_GROUP), doing: 'removing interfaces' }]);
    } catch (error) {
      if (!isRefusal(error, 'ENODEV')) throw error;
    }
  }

  #forbid(hostInterface: string, mode: SourceCheckMode): void {
    if (mode === SOURCE_CHECK.off) return;
    try {
      this.#sourceCheck().forbid(hostInterface);
    } catch (error) {
      if (checkProblem(error) === undefined) throw error;
    }
  }

  /** Places in `links`. */
  findDamaged(links: readonly AttachmentLink[], mode: SourceCheckMode): number[] {
    let lacks: ReturnType<SourceCheck['look']> = () => false;
    if (mode !== SOURCE_CHECK.off) {
      try {
        lacks = this.#sourceCheck().look();
      } catch (error) {
        if (checkProblem(error) === undefined) throw error;
      }
    }
    const isDamaged = findDamage(this.#node);
    return links.flatMap((link, i) =>
      isDamaged(link) || lacks(link.hostInterface, link.addresses) ? [i] : [],
    );
  }

  /** Routes are not looked at: whoever is in the namespace may have others. */
  findInnerDamage({ netns, hostInterface, interfaceName, addresses }: AttachmentLink): string | undefined {
    if (netns === undefined) return undefined;
    const inner = this.#openInner(netns);
    try {
      const outside = findLink(this.#node, hostInterface);
      const inside = findLink(inner.route, interfaceName);
      if (inside === undefined || outside === undefined || !this.#isPair(outside, inside, inner)) {
        return `${netns} has no interface ${interfaceName} that ends at ${hostInterface}`;
      }
      if (!inside.isUp) return `${interfaceName} in ${netns} is down`;
      const missing = missingAddresses(inner.route, inside.index, addresses);
      return missing.length === 0 ? undefined : `${interfaceName} in ${netns} lacks ${missing.join(' and ')}`;
    } finally {
      inner.close();
    }
  }

  addNamespace(name: string, request: number): void {
    try {
      addNamedNetns(name, this.#thread, () => this.#journal.begin(request));
    } finally {
      this.#journal.finish();
    }
  }

  removeNamespace(name: string): void {
    removeNamedNetns(name);
  }

  countDropped(): number {
    try {
      return this.#sourceCheck().countDropped();
    } catch (error) {
      if (checkProblem(error) === undefined) throw error;
      return 0;
    }
  }

  removeTable(): void {
    try {
      const links = this.#node.dump({ request: nl.getLinks(), doing: 'listing interfaces' });
      this.#sourceCheck().removeTable(new Set(links.map((message) => nl.decodeLink(message).name)));
    } catch (error) {
      if (checkProblem(error) === undefined) throw error;
    }
  }

  close(): void {
    for (const socket of this.#sockets.splice(0)) this.#closeSocket(socket);
    if (this.#nodeFd !== undefined) closeSync(this.#nodeFd);
  }

  /** The node's end of a pair that is whole and the right one. Throws POD_INTERFACE_EXISTS. */
  #findPair(link: AttachmentLink, inner: InnerNamespace | undefined): nl.Link | undefined {
    const outside = findLink(this.#node, link.hostInterface);
    if (outside !== undefined && outside.kind !== 'veth')
      throw taken(link.hostInterface, "the node's namespace");
    // The other end may have been moved to wherever its owner wanted it, and renamed.
    if (link.netns === undefined || inner === undefined) {
      if (outside !== undefined) return outside;
      const other = findLink(this.#node, link.interfaceName);
      if (other !== undefined) throw taken(link.interfaceName, "the node's namespace");
      return undefined;
    }
    const inside = findLink(inner.route, link.interfaceName);
    if (outside !== undefined && inside !== undefined && this.#isPair(outside, inside, inner)) return outside;
    if (inside !== undefined) throw taken(link.interfaceName, `the network namespace ${link.netns}`);
    return undefined;
  }

  /** Each is the other's other end, and `inner` is where the node's end says that it is. */
  #isPair(outside: nl.Link, inside: nl.Link, inner: InnerNamespace): boolean {
    if (outside.peerIndex !== inside.index || inside.peerIndex !== outside.index) return false;
    const answer = this.#node.ask({
      request: nl.getNamespaceId(inner.fd),
      doing: 'looking for the namespace of an interface',
    });
    const id = nl.decodeNamespaceId(answer);
    return id !== undefined && id === outside.peerNamespaceId;
  }

  /** Makes the pair, in place of what is left of an earlier one. */
  #makePair(link: AttachmentLink, inner: InnerNamespace | undefined, request: number): nl.Link {
    this.#deleteLink(link.hostInterface);
    this.#journal.begin(request);
    const { hostInterface, interfaceName, mtu, gsoMaxSegments } = link;
    const hardware = (end: 'host' | 'inner') =>
      Uint8Array.from(hardwareAddress(hostInterface, end).split(':'), (byte) => Number.parseInt(byte, 16));
    const peer = {
      ...{ name: interfaceName, mtu, gsoMaxSegments, namespaceFd: inner?.fd },
      hardwareAddress: hardware('inner'),
    };
    this.#node.change([
      {
        request: nl.newVeth({ name: hostInterface, mtu, hardwareAddress: hardware('host') }, peer),
        doing: `making the interfaces ${hostInterface} and ${interfaceName}`,
      },
    ]);
    const made = findLink(this.#node, hostInterface);
    if (made !== undefined) return made;
    throw new WarrenError(
      'POD_INTERFACE_GONE',
      `the interface ${hostInterface} vanished while it was set up`,
    );
  }

  /** The size of the other end, unless it has been moved: then it is its owner's. */
  #resizeOther({ mtu, gsoMaxSegments }: AttachmentLink, { peerIndex, peerNamespaceId }: nl.Link): void {
    if (peerIndex === undefined || peerNamespaceId !== undefined) return;
    const request = nl.setLink({ index: peerIndex, mtu, gsoMaxSegments });
    this.#node.change([{ request, doing: 'setting the MTU of the other end' }]);
  }

  /** Removes what a failed `ensure` made; the error that it failed with is the one that matters. */
  #undo(link: AttachmentLink, mode: SourceCheckMode): void {
    try {
      this.remove(link.hostInterface, mode);
    } catch (error) {
      this.#warn(`the interface ${link.hostInterface} could not be removed again: ${errorMessage(error)}`);
    }
  }

  #deleteLink(name: string): void {
    try {
      this.#node.change([{ request: nl.deleteLink(name), doing: `removing the interface ${name}` }]);
    } catch (error) {
      if (!isRefusal(error, 'ENODEV')) throw error;
    }
  }

  async #permit(
    name: string,
    addresses: readonly IpAddress[],
    mode: SourceCheckMode,
  ): Promise<SourceCheckState> {
    if (mode === SOURCE_CHECK.off) return { problem: undefined };
    try {
      const sources = this.#sourceCheck();
      if (mode === SOURCE_CHECK.make) await sources.make();
      await sources.permit(name, addresses);
      return { problem: undefined };
    } catch (error) {
      const problem = checkProblem(error);
      if (problem === undefined) throw error;
      return { problem };
    }
  }

  #sourceCheck(): SourceCheck {
    this.#sources ??= new SourceCheck(
      new NetlinkConversation(this.#openSocket(this.#nodeFd, NETLINK_NETFILTER)),
      { netns: this.#netns },
    );
    return this.#sources;
  }

  #nodeSide() {
    return {
      route: this.#node,
      netns: this.#netns,
      inside: <T>(work: () => T): T => this.#thread.inside(this.#nodeFd, work),
    };
  }

  #openInner(path: string): InnerNamespace {
    const fd = openNetns(path);
    let socket: NetlinkSocket;
    try {
      socket = this.#openSocket(fd, NETLINK_ROUTE);
    } catch (error) {
      closeSync(fd);
      throw enterProblem(path, error);
    }
    return {
      fd,
      path,
      route: new NetlinkConversation(socket),
      close: () => {
        this.#sockets.splice(this.#sockets.indexOf(socket), 1);
        this.#closeSocket(socket);
        closeSync(fd);
      },
    };
  }

  #openSocket(
    fd: number | undefined,
    family: typeof NETLINK_ROUTE | typeof NETLINK_NETFILTER,
  ): NetlinkSocket {
    const socket = this.#thread.inside(fd, () =>
      this.#journal.opens(
        () => NetlinkSocket.open(family),
        (opened) => opened.fd,
      ),
    );
    this.#sockets.push(socket);
    return socket;
  }

  #closeSocket(socket: NetlinkSocket): void {
    this.#journal.closes(socket.fd, () => socket.close());
  }
}

/** The interface called `name`; undefined if there is none. */
function findLink(route: NetlinkConversation, name: string): nl.Link | undefined {
  try {
    return nl.decodeLink(
      route.ask({ request: nl.getLink(name), doing: `looking for the interface ${name}` }),
    );
  } catch (error) {
    if (isRefusal(error, 'ENODEV')) return undefined;
    throw error;
  }
}

function taken(name: string, where: string): WarrenError {
  return new WarrenError(
    'POD_INTERFACE_EXISTS',
    `${where} already has an interface ${name} that warren did not make`,
    {
      hint: `Use a namespace without an interface ${name}, or remove that interface.`,
    },
  );
}
