/**
 * Who owns which prefix, in the form that the packet path takes: each peer gets a small index that it keeps for
 * as long as it is there, and prefixes point at indexes.
 */
import { MAX_VTEPS } from '../datapath/counters.ts';
import {
  type ForwardingState,
  MAPPED_WORD,
  VTEP_PARTIAL_CHECKSUMS,
  VTEP_WORDS,
} from '../datapath/forwarding.ts';
import { buildFdbSnapshot, FDB_LOCAL } from '../fdb/snapshot.ts';
import { addressWords, type IpAddress } from '../ip/address.ts';
import type { Prefix } from '../ip/prefix.ts';
import type { ForwardingPeer } from './dataplane.ts';

export interface Forwarding {
  /** In order of growing precedence where subnets are the same. */
  readonly peers: readonly ForwardingPeer[];
  /** This node's own; they win over every peer's. */
  readonly ownSubnets: readonly Prefix[];
  /** This node's own overlay addresses. */
  readonly ownAddresses: readonly IpAddress[];
}

export class ForwardingTable {
  #forwarding: Forwarding = { peers: [], ownSubnets: [], ownAddresses: [] };
  readonly #indexes = new Map<string, number>();
  /** Indexes below `#next` that are free again; bounded by MAX_VTEPS. */
  readonly #free: number[] = [];
  #next = 0;

  get forwarding(): Forwarding {
    return this.#forwarding;
  }

  index(key: string): number | undefined {
    return this.#indexes.get(key);
  }

  /**
   * Replaces the whole table. Returns the indexes that now belong to another peer than before, or to none, and
   * the peers that there was no room for (over MAX_VTEPS), which stay unreachable.
   */
  set(forwarding: Forwarding): {
    readonly reused: readonly number[];
    readonly refused: readonly ForwardingPeer[];
  } {
    const wanted = new Set(forwarding.peers.map((peer) => peer.key));
    const reused: number[] = [];
    for (const [key, index] of this.#indexes) {
      if (wanted.has(key)) continue;
      this.#indexes.delete(key);
      this.#free.push(index);
      reused.push(index);
    }
    const refused: ForwardingPeer[] = [];
    for (const peer of forwarding.peers) {
      if (this.#indexes.has(peer.key)) continue;
      const index = this.#free.pop() ?? (this.#next < MAX_VTEPS ? this.#next++ : undefined);
      if (index === undefined) refused.push(peer);
      else this.#indexes.set(peer.key, index);
    }
    this.#forwarding = {
      ...forwarding,
      peers: forwarding.peers.filter((peer) => this.#indexes.has(peer.key)),
    };
    return { reused, refused };
  }

  /** The table as the packet path takes it. */
  state(): ForwardingState {
    const vteps = new Int32Array(this.#next * VTEP_WORDS);
    for (const peer of this.#forwarding.peers) {
      vteps.set(vtepWords(peer), this.#indexes.get(peer.key)! * VTEP_WORDS);
    }
    const peerEntries = this.#forwarding.peers.flatMap((peer) =>
      peer.subnets.map((prefix) => entry(prefix, this.#indexes.get(peer.key)!)),
    );
    const ownEntries = this.#forwarding.ownSubnets.map((prefix) => entry(prefix, FDB_LOCAL));
    const own = (family: 4 | 6) => this.#forwarding.ownAddresses.find((address) => address.family === family);
    const ownIpv4 = own(4);
    const ownIpv6 = own(6);
    return {
      vteps,
      fdb: buildFdbSnapshot([...peerEntries, ...ownEntries]),
      ownIpv4: ownIpv4 && addressWords(ownIpv4)[0],
      ownIpv6: ownIpv6 && addressWords(ownIpv6),
    };
  }
}

function vtepWords({ endpoint, partialChecksums }: ForwardingPeer): number[] {
  const words = [...addressWords(endpoint.address)];
  const mapped = words.length === 1 ? [0, 0, MAPPED_WORD, words[0]!] : words;
  return [partialChecksums ? VTEP_PARTIAL_CHECKSUMS : 0, endpoint.port, ...mapped];
}

function entry(prefix: Prefix, value: number) {
  return { words: addressWords(prefix), length: prefix.length, value };
}
