/**
 * What becomes of a device's interface and of the ways to its peers. An interface may be moved to another network namespace
 * than the one that its socket stays in, which is how a namespace gets a tunnel as its only way out; so it is asked for where
 * it is (TUNGETDEVNETNS).
 */
import { closeSync, openSync } from 'node:fs';
import { addressFromBytes, type IpAddress } from '../ip/address.ts';
import { NetlinkConversation } from '../netlink/conversation.ts';
import { NetlinkError } from '../netlink/error.ts';
import { decodeLink, getLink, type Link, setLink } from '../netlink/link.ts';
import { decodePathInterface, getPathTo } from '../netlink/route.ts';
import { NETLINK_ROUTE, TUNGETDEVNETNS } from '../sys/constants.ts';
import { SysError } from '../sys/errors.ts';
import * as libc from '../sys/libc.ts';
import { enterNetworkNamespace } from '../sys/namespaces.ts';
import { NetlinkSocket } from '../sys/netlink-socket.ts';
import { tunInterface } from '../tun/tun-device.ts';
import type { Source } from './sources.ts';
import { endpointParts } from './uapi-endpoint.ts';

/** What a descriptor gives whose device was deleted. */
const EBADFD = 77;
const OWN_NETNS = '/proc/thread-self/ns/net';

interface Asking {
  readonly socket: NetlinkSocket;
  readonly conversation: NetlinkConversation;
}

export class DeviceLink {
  readonly #tunFd: number;
  /** In this process's network namespace, where the socket is. */
  readonly #here: Asking = asking();
  /** Where the interface is. */
  #there: Asking;

  constructor(tunFd: number) {
    this.#tunFd = tunFd;
    this.#there = this.#here;
  }

  /** Undefined: it is somewhere that this process cannot look into. */
  look(): Link | 'deleted' | undefined {
    try {
      const { name } = tunInterface(this.#tunFd);
      return this.#find(name) ?? (this.#follow() ? this.#find(name) : undefined);
    } catch (error) {
      if (error instanceof SysError) return error.errno === EBADFD ? 'deleted' : undefined;
      throw error;
    }
  }

  /** Throws a NetlinkError. */
  setMtu(index: number, mtu: number): void {
    this.#there.conversation.change([{ doing: 'setting the MTU', request: setLink({ index, mtu }) }]);
  }

  /** Whether what is sent to a peer from `source` leaves by where the peer's own came in. */
  leadsBack(endpoint: Uint8Array, source: Source, fwmark: number): boolean {
    try {
      const request = getPathTo(peerAddress(endpoint), sourceAddress(source), fwmark);
      const answer = this.#here.conversation.ask({ doing: 'asking for the way to a peer', request });
      return decodePathInterface(answer) === source.interface;
    } catch (error) {
      // There is none from that address any more.
      if (error instanceof NetlinkError) return false;
      throw error;
    }
  }

  close(): void {
    if (this.#there !== this.#here) this.#there.socket.close();
    this.#here.socket.close();
  }

  #find(name: string): Link | undefined {
    try {
      return decodeLink(
        this.#there.conversation.ask({ doing: `looking for ${name}`, request: getLink(name) }),
      );
    } catch (error) {
      if (error instanceof NetlinkError) return undefined;
      throw error;
    }
  }

  /** To the namespace that it is in now; false where the kernel does not say (before Linux 5.2). */
  #follow(): boolean {
    const namespace = libc.ioctl(this.#tunFd, TUNGETDEVNETNS, 0);
    if (namespace < 0) return false;
    const own = openSync(OWN_NETNS, 'r');
    try {
      enterNetworkNamespace(namespace);
      try {
        const before = this.#there;
        this.#there = asking();
        if (before !== this.#here) before.socket.close();
      } finally {
        enterNetworkNamespace(own);
      }
      return true;
    } finally {
      closeSync(own);
      libc.close(namespace);
    }
  }
}

function asking(): Asking {
  const socket = NetlinkSocket.open(NETLINK_ROUTE);
  return { socket, conversation: new NetlinkConversation(socket) };
}

function peerAddress(endpoint: Uint8Array): IpAddress {
  const bytes = endpointParts(endpoint).words.length === 1 ? 4 : 16;
  return addressFromBytes(endpoint.subarray(0, bytes));
}

/** IPv4 as what it is. */
function sourceAddress({ address }: Source): IpAddress {
  const isMapped = address.subarray(0, 10).every((byte) => byte === 0) && address[10] === 0xff;
  return addressFromBytes(isMapped ? address.subarray(12) : address);
}
