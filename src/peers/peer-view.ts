/**
 * Who the peers are and which prefix each owns, from all sources as one view: gossip, static peers, and whatever else
 * knows peers. The forwarding database, the host's routes and every report follow this view and nothing else.
 */
import { EventEmitter } from 'node:events';
import type { ForwardingPeer } from '../dataplane/dataplane.ts';
import type { Endpoint } from '../ip/endpoint.ts';
import type { Prefix } from '../ip/prefix.ts';
import type { MemberStatus } from '../membership/types.ts';

export interface KnownPeer {
  /** Unique and stable: a member's id, or `static/NAME`. */
  readonly key: string;
  /** A member's; empty where there is none. */
  readonly id: string;
  readonly name: string;
  /** `wireguard`: an ordinary WireGuard device that was added to this node. */
  readonly kind: 'gossip' | 'static' | 'wireguard';
  readonly status: MemberStatus | 'static' | 'wireguard';
  /** Undefined: it has to be heard from first. */
  readonly endpoint: Endpoint | undefined;
  readonly subnets: readonly Prefix[];
  /** Both ends leave transport checksums partial. */
  readonly partialChecksums: boolean;
  /** Bytes of an inner packet that its end of the path takes; undefined: it does not say. */
  readonly mtu: number | undefined;
  /** Groups of datagrams do not arrive there whole: it is sent single ones. */
  readonly sentSingly?: true;
  /** It does not pass on marks of congestion: it is sent datagrams that are not to be marked (RFC 6040, section 4.1). */
  readonly losesMarks?: true;
  /** X25519, 32 bytes: what is sent to it is sealed for that key. */
  readonly publicKey?: Uint8Array;
  /** 32 bytes that both have. */
  readonly presharedKey?: Uint8Array;
  /** Between signs of life; absent: none. */
  readonly persistentKeepaliveMs?: number;
  /** Whether sessions with it take keys that the two agree on (post-quantum/); absent: this node wants none, or it has no agent. */
  readonly postQuantum?: 'needed' | 'not-offered';
  /** Of the key that it makes them with, as its record has it. */
  readonly pairKeyHash?: Uint8Array;
  /** Another one after its agent was started anew, which has forgotten all sessions. */
  readonly run?: string;
  /** It does not hear that this agent was started anew, and is asked for keys at once. */
  readonly isGreeted?: true;
  /** Why nothing can be sent to it although it is there; undefined if all is well. */
  readonly unreachable: string | undefined;
}

export interface PeerSource {
  peers(): readonly KnownPeer[];
  /** `peers` may be others now. */
  onChange(listener: () => void): void;
  /** Ends its listening to others. */
  close(): void;
}

interface PeerViewEvents {
  change: [];
}

export class PeerView extends EventEmitter<PeerViewEvents> {
  readonly #sources: readonly PeerSource[];
  readonly #isSentSingly: (key: string) => boolean;
  /** Undefined once a source has changed. */
  #peers: readonly KnownPeer[] | undefined;

  /**
   * `sources` in order of growing precedence: of two that name an owner of the same prefix the later one counts.
   * `isSentSingly`: by key, whom groups of datagrams do not reach whole.
   */
  constructor(sources: readonly PeerSource[], isSentSingly: (key: string) => boolean = () => false) {
    super();
    this.#sources = sources;
    this.#isSentSingly = isSentSingly;
    for (const source of sources) source.onChange(() => this.refresh());
  }

  /** To be called when other peers than before are sent single datagrams. */
  refresh(): void {
    this.#peers = undefined;
    this.emit('change');
  }

  /** All of them, those too that cannot be sent to. */
  peers(): readonly KnownPeer[] {
    this.#peers ??= this.#sources
      .flatMap((source) => source.peers())
      .map((peer) => (this.#isSentSingly(peer.key) ? { ...peer, sentSingly: true } : peer));
    return this.#peers;
  }

  /** Those that own something and can be sent to, as the data plane takes them. A key is that of one peer: of the first. */
  forwarding(): ForwardingPeer[] {
    const keys = new Set<string>();
    return this.peers()
      .filter(({ subnets, unreachable }) => subnets.length > 0 && unreachable === undefined)
      .filter(({ publicKey }) => publicKey === undefined || isFirst(keys, publicKey))
      .map(forwardingPeer);
  }

  close(): void {
    for (const source of this.#sources) source.close();
  }
}

/** A node may announce whatever key it likes. */
function isFirst(keys: Set<string>, { buffer, byteOffset, byteLength }: Uint8Array): boolean {
  return keys.size < keys.add(Buffer.from(buffer, byteOffset, byteLength).toString('latin1')).size;
}

function forwardingPeer(peer: KnownPeer): ForwardingPeer {
  const { key, name, endpoint, partialChecksums, subnets, mtu, sentSingly, losesMarks, publicKey } = peer;
  const { presharedKey, persistentKeepaliveMs, run, kind, isGreeted, postQuantum } = peer;
  return {
    key,
    name,
    endpoint,
    partialChecksums,
    subnets,
    mtu,
    ...(sentSingly && { sentSingly }),
    ...(losesMarks && { losesMarks }),
    ...(publicKey && { publicKey, presharedKey, persistentKeepaliveMs, run, isGreeted }),
    ...(publicKey && kind !== 'gossip' && { isGuest: true }),
    ...(publicKey && postQuantum === 'needed' && { needsPairKey: true }),
  };
}
