/**
 * Who may have a stream open to this node, and for how long. A stream is `unproven` until a frame on it was opened
 * with a key of the cluster; anyone who can connect has as much, so few are let in, for a short time, and not all
 * from one place. Members' addresses have places of their own: strangers can never fill those.
 */
import { addressBits, type IpAddress } from '../ip/address.ts';
import { formatPrefix, prefixOf } from '../ip/prefix.ts';

/** `member`: the address of a member that this node knows; `outside`: not within `underlay.allowFrom`. */
export type Origin = 'member' | 'stranger' | 'outside';

/** An unproven stream is cut after this: a round trip between continents and a few lost packets fit. */
export const PROOF_MS = 2000;
/** Unproven streams at a time: of strangers, and as many again of members' addresses. */
export const MAX_UNPROVEN = 64;
/** Streams that wait for an answer at a time and have shown that they have the key. */
export const MAX_PROVEN = 128;
/** Of one address, unproven and proven together. */
export const MAX_PER_ADDRESS = 16;
/** Unproven streams of strangers in one IPv6 /64, which a single host can have all of. */
export const MAX_PER_SUBNET = 32;
const SUBNET_BITS = 64;
/** A stranger that has shown nothing for so long gives way to the next when all places are taken. */
const GIVES_WAY_MS = 250;

export interface Place {
  /** The stream has shown that it has the key. False: no room, the stream is to be refused. */
  proven(): boolean;
  /** It is closed, or counts elsewhere from now on. */
  release(): void;
}

interface Unproven {
  readonly sinceMs: number;
  readonly cut: () => void;
}

export class StreamAdmission {
  readonly #now: () => number;
  /** Oldest first; at most `MAX_UNPROVEN` each. */
  readonly #unproven = { member: new Set<Unproven>(), stranger: new Set<Unproven>() };
  #proven = 0;
  /** Bounded by the streams that hold a place. */
  readonly #ofAddress = new Map<string, number>();
  readonly #ofSubnet = new Map<string, number>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** A place for a stream that has come in; undefined: it is to be refused. `cut` ends it when it has to give way. */
  enter(address: IpAddress, origin: 'member' | 'stranger', cut: () => void): Place | undefined {
    const host = formatPrefix(prefixOf(address, addressBits(address.family)));
    const subnet =
      origin === 'stranger' && address.family === 6
        ? formatPrefix(prefixOf(address, SUBNET_BITS))
        : undefined;
    if ((this.#ofAddress.get(host) ?? 0) >= MAX_PER_ADDRESS) return undefined;
    if (subnet !== undefined && (this.#ofSubnet.get(subnet) ?? 0) >= MAX_PER_SUBNET) return undefined;
    const unproven = this.#unproven[origin];
    if (unproven.size >= MAX_UNPROVEN && !this.#makeRoom(unproven)) return undefined;
    const one: Unproven = { sinceMs: this.#now(), cut };
    unproven.add(one);
    add(this.#ofAddress, host, 1);
    if (subnet !== undefined) add(this.#ofSubnet, subnet, 1);
    let state: 'unproven' | 'proven' | 'released' = 'unproven';
    const leaveUnproven = () => {
      unproven.delete(one);
      if (subnet !== undefined) add(this.#ofSubnet, subnet, -1);
    };
    return {
      proven: () => {
        if (state !== 'unproven') return true;
        if (this.#proven >= MAX_PROVEN) return false;
        state = 'proven';
        leaveUnproven();
        this.#proven++;
        return true;
      },
      release: () => {
        if (state === 'unproven') leaveUnproven();
        else if (state === 'proven') this.#proven--;
        if (state !== 'released') add(this.#ofAddress, host, -1);
        state = 'released';
      },
    };
  }

  /** The one that has waited the longest goes, if it has had its time: its `cut` releases its place. */
  #makeRoom(unproven: Set<Unproven>): boolean {
    const [oldest] = unproven;
    if (!oldest || this.#now() - oldest.sinceMs < GIVES_WAY_MS) return false;
    oldest.cut();
    return unproven.size < MAX_UNPROVEN;
  }
}

function add(counts: Map<string, number>, key: string, by: 1 | -1): void {
  const left = (counts.get(key) ?? 0) + by;
  if (left > 0) counts.set(key, left);
  else counts.delete(key);
}
