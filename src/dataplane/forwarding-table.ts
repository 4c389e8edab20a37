/**
 * Who owns which prefix, in the form that the packet path takes: each peer gets a small index that it keeps for
 * as long as it is there, and prefixes point at indexes.
 *
 * An index whose peer is gone rests until the packet path works by a state without it: before that a worker may
 * still count for the old peer, and the next one would inherit its traffic.
 */
import { MAX_VTEPS } from '../datapath/counters.ts';
import {
  type ForwardingState,
  MAPPED_WORD,
  VTEP_GUEST,
  VTEP_LOSES_MARKS,
  VTEP_PARTIAL_CHECKSUMS,
  VTEP_SEALED,
  VTEP_SENT_SINGLY,
  VTEP_WORDS,
} from '../datapath/forwarding.ts';
import type { KeyedPeer, PairKeys } from '../encapsulation/wireguard/key-exchange.ts';
import { buildFdbSnapshot, FDB_LOCAL } from '../fdb/snapshot.ts';
import { addressWords, type IpAddress } from '../ip/address.ts';
import type { Endpoint } from '../ip/endpoint.ts';
import { type Prefix, prefixCovers } from '../ip/prefix.ts';
import type { ForwardingPeer } from './dataplane.ts';

export interface Forwarding {
  /** In order of growing precedence where subnets are the same. */
  readonly peers: readonly ForwardingPeer[];
  /** This node's own; they win over every peer's. */
  readonly ownSubnets: readonly Prefix[];
  /** This node's own overlay addresses. */
  readonly ownAddresses: readonly IpAddress[];
  /** Inner bytes that the path to a peer carries, by its key. */
  readonly pathMtu: (key: string) => number;
  /** Of the echoes by which paths are measured. */
  readonly probeIdentifier: number;
  /** Of ForwardingState. */
  readonly groupProbePort?: number | undefined;
}

export class ForwardingTable {
  readonly #maxPeers: number;
  #forwarding: Forwarding = {
    peers: [],
    ownSubnets: [],
    ownAddresses: [],
    pathMtu: () => 0,
    probeIdentifier: 0,
  };
  readonly #indexes = new Map<string, number>();
  /** Indexes below `#next` that can be given out again; bounded by `maxPeers`, as is the next one. */
  readonly #free: number[] = [];
  #resting: number[] = [];
  #next = 0;

  /** `maxPeers`: what the packet path has room for. */
  constructor(maxPeers = MAX_VTEPS) {
    this.#maxPeers = maxPeers;
  }

  get forwarding(): Forwarding {
    return this.#forwarding;
  }

  index(key: string): number | undefined {
    return this.#indexes.get(key);
  }

  /**
   * Replaces the whole table. Returns the peers that there was no room for, which stay unreachable; with indexes that
   * rest there may be room after `release`.
   */
  set(forwarding: Forwarding): { readonly refused: readonly ForwardingPeer[] } {
    const wanted = new Set(forwarding.peers.map((peer) => peer.key));
    for (const [key, index] of this.#indexes) {
      if (wanted.has(key)) continue;
      this.#indexes.delete(key);
      this.#resting.push(index);
    }
    const refused: ForwardingPeer[] = [];
    for (const peer of forwarding.peers) {
      if (this.#indexes.has(peer.key)) continue;
      const index = this.#free.pop() ?? (this.#next < this.#maxPeers ? this.#next++ : undefined);
      if (index === undefined) refused.push(peer);
      else this.#indexes.set(peer.key, index);
    }
    this.#forwarding = {
      ...forwarding,
      peers: forwarding.peers.filter((peer) => this.#indexes.has(peer.key)),
    };
    return { refused };
  }

  /**
   * To be called once the packet path works by the present state: gives the indexes that no peer has any more, whose
   * counters the caller clears. From now on other peers may get them.
   */
  release(): readonly number[] {
    const rested = this.#resting;
    this.#resting = [];
    this.#free.push(...rested);
    return rested;
  }

  /** Of the peer that has the index. */
  key(index: number): string | undefined {
    return this.#forwarding.peers.find((peer) => this.#indexes.get(peer.key) === index)?.key;
  }

  /** The peers that have keys, as sessions are made with them. */
  keyed(pairKeys: ReadonlyMap<string, PairKeys>): KeyedPeer[] {
    return this.#forwarding.peers.flatMap(({ key, publicKey, endpoint, ...peer }) => {
      if (publicKey === undefined) return [];
      const { presharedKey, persistentKeepaliveMs, run, isGreeted, needsPairKey } = peer;
      const vtep = this.#indexes.get(key)!;
      return [
        {
          ...{ vtep, publicKey, presharedKey, persistentKeepaliveMs, run, isGreeted },
          ...(needsPairKey && { needsPairKey, pairKeys: pairKeys.get(key) }),
          endpoint: endpoint && endpointBytes(endpoint),
        },
      ];
    });
  }

  /** The table as the packet path takes it. */
  state(): ForwardingState {
    const { peers, ownSubnets, ownAddresses, pathMtu, probeIdentifier, groupProbePort } = this.#forwarding;
    const vteps = new Int32Array(this.#next * VTEP_WORDS);
    for (const peer of peers) {
      const words = vtepWords(peer, pathMtu(peer.key), isGuestOf(ownSubnets, peer));
      vteps.set(words, this.#indexes.get(peer.key)! * VTEP_WORDS);
    }
    const peerEntries = peers.flatMap((peer) =>
      peer.subnets.map((prefix) => entry(prefix, this.#indexes.get(peer.key)!)),
    );
    const ownEntries = ownSubnets.map((prefix) => entry(prefix, FDB_LOCAL));
    const own = (family: 4 | 6) => ownAddresses.find((address) => address.family === family);
    const ownIpv4 = own(4);
    const ownIpv6 = own(6);
    return {
      vteps,
      fdb: buildFdbSnapshot([...peerEntries, ...ownEntries]),
      ownIpv4: ownIpv4 && addressWords(ownIpv4)[0],
      ownIpv6: ownIpv6 && addressWords(ownIpv6),
      probeIdentifier,
      groupProbePort,
    };
  }
}

/** In the order of `VTEP`. */
function vtepWords(
  { endpoint, partialChecksums, sentSingly, losesMarks, publicKey }: ForwardingPeer,
  mtu: number,
  isGuest: boolean,
): number[] {
  const words = endpoint ? [...addressWords(endpoint.address)] : [0];
  const mapped = words.length === 1 ? [0, 0, MAPPED_WORD, words[0]!] : words;
  const flags =
    (partialChecksums ? VTEP_PARTIAL_CHECKSUMS : 0) |
    (sentSingly ? VTEP_SENT_SINGLY : 0) |
    (losesMarks ? VTEP_LOSES_MARKS : 0) |
    (publicKey ? VTEP_SEALED : 0) |
    (isGuest ? VTEP_GUEST : 0);
  return [flags, endpoint?.port ?? 0, mtu, ...mapped];
}

/** One that is only known by its outer address is none: others could send from there. */
function isGuestOf(ownSubnets: readonly Prefix[], { isGuest, publicKey, subnets }: ForwardingPeer): boolean {
  if (isGuest !== true || publicKey === undefined) return false;
  return subnets.some((prefix) => ownSubnets.some((own) => prefixCovers(own, prefix)));
}

/** Address and port in network order. */
function endpointBytes({ address, port }: Endpoint): Uint8Array {
  const words = addressWords(address);
  const bytes = Buffer.alloc(4 * words.length + 2);
  words.forEach((word, i) => void bytes.writeInt32BE(word, 4 * i));
  bytes.writeUInt16BE(port, 4 * words.length);
  return new Uint8Array(bytes);
}

function entry(prefix: Prefix, value: number) {
  return { words: addressWords(prefix), length: prefix.length, value };
}
