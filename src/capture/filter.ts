/**
 * What of a node's packets is captured. The filter that a person gives names pods and peers; the one here has their
 * addresses instead, so that every node understands it alike. Kinds of condition all have to hold, of one kind any.
 */
import { DROP_NAMES } from '../datapath/drops.ts';
import { addressWords } from '../ip/address.ts';
import { parsePrefix } from '../ip/prefix.ts';
import { IPV4_FRAGMENT, IPV4_FRAGMENT_OFFSET_MASK, IPV4_PROTOCOL, ipv4HeaderBytes } from '../wire/ipv4.ts';
import { IPV6_DESTINATION, IPV6_HEADER_BYTES, IPV6_NEXT_HEADER, IPV6_SOURCE } from '../wire/ipv6.ts';
import { PROTOCOL_TCP } from '../wire/tcp.ts';
import { PROTOCOL_UDP } from '../wire/udp.ts';
import { z } from '../zod.ts';

/** `inner`: what the TUN device sees. `outer`: what the underlay sees. `dropped`: what the packet path drops. */
export const SIDES = ['inner', 'outer', 'dropped'] as const;
export type Side = (typeof SIDES)[number];

const MAX_PREFIXES = 256;

const prefixText = z.string().max(64).refine(isPrefix, { error: 'must be a prefix' });

export const filterSchema = z.strictObject({
  sides: z.array(z.enum(SIDES)).min(1).max(SIDES.length),
  /** Of pods: an inner packet is to or from one of them. */
  pods: z.array(prefixText).max(MAX_PREFIXES),
  /** Subnets of peers, as inner packets have them. */
  peerSubnets: z.array(prefixText).max(MAX_PREFIXES),
  /** The same peers' underlay addresses, as datagrams have them. */
  peerEndpoints: z.array(prefixText).max(MAX_PREFIXES),
  protocols: z.array(z.number().int().min(0).max(255)).max(16),
  ports: z.array(z.number().int().min(1).max(65_535)).max(64),
  reasons: z.array(z.enum(DROP_NAMES as [string, ...string[]])).max(DROP_NAMES.length),
});
export type CaptureFilter = Readonly<z.infer<typeof filterSchema>>;

/** Whether it has a condition on what is in a datagram. */
export function looksInside({ pods, protocols, ports }: CaptureFilter): boolean {
  return pods.length + protocols.length + ports.length > 0;
}

function isPrefix(value: string): boolean {
  try {
    parsePrefix(value);
    return true;
  } catch {
    return false;
  }
}

const IPV4_SOURCE_AT = 12;
const IPV4_DESTINATION_AT = 16;

export class PacketFilter {
  readonly #pods: AddressSet;
  readonly #peers: AddressSet;
  readonly #endpoints: AddressSet;
  readonly #protocols: ReadonlySet<number>;
  readonly #ports: ReadonlySet<number>;
  readonly #reasons: ReadonlySet<string>;
  /** Whether datagrams whose inner packet cannot be seen may pass. */
  readonly #takesSealed: boolean;

  constructor(filter: CaptureFilter) {
    this.#pods = new AddressSet(filter.pods);
    this.#peers = new AddressSet(filter.peerSubnets);
    this.#endpoints = new AddressSet(filter.peerEndpoints);
    this.#protocols = new Set(filter.protocols);
    this.#ports = new Set(filter.ports);
    this.#reasons = new Set(filter.reasons);
    this.#takesSealed = !looksInside(filter);
  }

  takesReason(name: string): boolean {
    return this.#reasons.size === 0 || this.#reasons.has(name);
  }

  /** `bytes` at `at` are an inner packet, or its beginning. What cannot be read passes if nothing is asked for. */
  takesInner(view: DataView, at: number, bytes: number): boolean {
    return this.#takes(view, at, bytes, this.#peers);
  }

  /** An outer IP packet with UDP; `inner`: where its inner packet begins, 0 if that cannot be seen. */
  takesOuter(view: DataView, at: number, bytes: number, inner: number): boolean {
    if (!this.#endpoints.isEmpty && !this.#hasAddress(this.#endpoints, view, at, bytes)) return false;
    if (this.#takesSealed) return true;
    return inner !== 0 && this.#takes(view, inner, at + bytes - inner, NO_ADDRESSES);
  }

  #takes(view: DataView, at: number, bytes: number, peers: AddressSet): boolean {
    if (!this.#pods.isEmpty && !this.#hasAddress(this.#pods, view, at, bytes)) return false;
    if (!peers.isEmpty && !this.#hasAddress(peers, view, at, bytes)) return false;
    if (this.#protocols.size === 0 && this.#ports.size === 0) return true;
    const version = bytes > 0 ? view.getUint8(at) >> 4 : 0;
    if (bytes < (version === 4 ? 20 : IPV6_HEADER_BYTES)) return false;
    // Extension headers of IPv6 are not looked through, as on the packet path.
    const protocol = view.getUint8(at + (version === 4 ? IPV4_PROTOCOL : IPV6_NEXT_HEADER));
    if (this.#protocols.size > 0 && !this.#protocols.has(protocol)) return false;
    return this.#ports.size === 0 || this.#hasPort(view, at, bytes, version, protocol);
  }

  #hasPort(view: DataView, at: number, bytes: number, version: number, protocol: number): boolean {
    if (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP) return false;
    const headerBytes = version === 4 ? ipv4HeaderBytes(view, at) : IPV6_HEADER_BYTES;
    // Later fragments have no ports.
    if (version === 4 && (view.getUint16(at + IPV4_FRAGMENT) & IPV4_FRAGMENT_OFFSET_MASK) !== 0) return false;
    if (bytes < headerBytes + 4) return false;
    const ports = at + headerBytes;
    return this.#ports.has(view.getUint16(ports)) || this.#ports.has(view.getUint16(ports + 2));
  }

  #hasAddress(set: AddressSet, view: DataView, at: number, bytes: number): boolean {
    const version = bytes > 0 ? view.getUint8(at) >> 4 : 0;
    if (version === 4 && bytes >= 20) {
      return (
        set.has4(view.getInt32(at + IPV4_SOURCE_AT)) || set.has4(view.getInt32(at + IPV4_DESTINATION_AT))
      );
    }
    if (version !== 6 || bytes < IPV6_HEADER_BYTES) return false;
    return set.has6(view, at + IPV6_SOURCE) || set.has6(view, at + IPV6_DESTINATION);
  }
}

/** Addresses within some prefixes, looked through one by one: a person names a few. */
class AddressSet {
  /** One word and its mask for each prefix. */
  readonly #v4: (readonly [word: number, mask: number])[] = [];
  /** Four each. */
  readonly #v6: (readonly [words: Int32Array, masks: Int32Array])[] = [];

  constructor(prefixes: readonly string[]) {
    for (const prefix of prefixes.map(parsePrefix)) {
      const words = addressWords(prefix);
      const masks = words.map((_, i) => maskOf(prefix.length - 32 * i));
      if (words.length === 1) this.#v4.push([words[0]!, masks[0]!]);
      else this.#v6.push([words, masks]);
    }
  }

  get isEmpty(): boolean {
    return this.#v4.length === 0 && this.#v6.length === 0;
  }

  has4(address: number): boolean {
    return this.#v4.some(([word, mask]) => (address & mask) === word);
  }

  has6(view: DataView, at: number): boolean {
    return this.#v6.some(([words, masks]) =>
      words.every((word, i) => (view.getInt32(at + 4 * i) & masks[i]!) === word),
    );
  }
}

/** Of one word, of whose bits the first `length` count. */
export function maskOf(length: number): number {
  if (length <= 0) return 0;
  return length >= 32 ? -1 : ~(-1 >>> length) | 0;
}

const NO_ADDRESSES = new AddressSet([]);
