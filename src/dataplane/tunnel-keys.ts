/**
 * The keys of the tunnel: starts what makes sessions when packets are first to flow, and keeps it while packet paths come and
 * go. With an encapsulation that has no sessions all of it does nothing.
 */
import type { Clock } from '../clock.ts';
import type { WorkerCounters } from '../datapath/counters.ts';
import type { KeyedPeer, PairKeys } from '../encapsulation/wireguard/key-exchange.ts';
import type { KeyPair } from '../encapsulation/wireguard/x25519.ts';
import type { Family } from '../ip/address.ts';
import type { Endpoint } from '../ip/endpoint.ts';
import type { Logger } from '../log/logger.ts';
import type { RunningKeyExchange } from './key-exchange-thread.ts';
import type { TunnelSockets } from './tunnel-sockets.ts';
import type { UserspaceParts } from './userspace-parts.ts';
import type { SharedSessionSettings } from './worker-messages.ts';

/** This node's own key, and what outlives its agent. */
export interface OwnTunnelKey {
  readonly own: KeyPair;
  /** A file; see handshake-ceiling.ts. */
  readonly ceilingFile: string;
}

export interface TunnelKeysOptions {
  readonly clock: Clock;
  /** Undefined: the encapsulation has no keys. */
  readonly key: OwnTunnelKey | undefined;
  readonly parts: Pick<UserspaceParts, 'startKeyExchange'>;
  readonly workers: number;
  readonly counters: WorkerCounters | undefined;
  readonly log: Logger;
  readonly onFailure: (error: Error) => void;
  /** See UserspaceOptions; by VTEP. */
  readonly onPairKeyWanted: (vtep: number) => void;
}

export class TunnelKeys {
  readonly #options: TunnelKeysOptions;
  #running: RunningKeyExchange | undefined;
  #socket: number | undefined;
  /** By peer; bounded by those who set them, who take them away again. */
  readonly #pairKeys = new Map<string, PairKeys>();

  constructor(options: TunnelKeysOptions) {
    this.#options = options;
  }

  /** Undefined: there are none, or it has not begun. */
  get sessions(): SharedSessionSettings | undefined {
    return this.#running?.sessions;
  }

  get cipher(): RunningKeyExchange['cipher'] | undefined {
    return this.#running?.cipher;
  }

  /** Sessions are made with these peers and no others, by these sockets. Resolves once that is so. */
  async update(
    peers: (pairKeys: ReadonlyMap<string, PairKeys>) => readonly KeyedPeer[],
    mtu: number,
    sockets: TunnelSockets,
    family: Family,
  ): Promise<void> {
    const { clock, key, parts, workers, counters, log, onFailure, onPairKeyWanted } = this.#options;
    if (key === undefined) return;
    this.#running ??= await parts.startKeyExchange({
      ...key,
      clock,
      workers,
      counters: counters!,
      onFailed: (message) => log.warn({ reason: message }, 'a handshake could not begin'),
      onEnded: onFailure,
      onPairKeyWanted,
    });
    await this.useSockets(sockets, family);
    await this.#running.update(peers(this.#pairKeys), mtu);
  }

  async useSockets({ receivers: { handshakes } }: TunnelSockets, family: Family): Promise<void> {
    if (this.#running === undefined || handshakes === undefined || handshakes === this.#socket) return;
    await this.#running.useSocket(handshakes, family);
    this.#socket = handshakes;
  }

  /** `vtep`: the peer's, if it has one by now. */
  setPairKeys(key: string, vtep: number | undefined, keys: PairKeys | undefined): void {
    if (keys === undefined) this.#pairKeys.delete(key);
    else this.#pairKeys.set(key, keys);
    if (vtep !== undefined) this.#running?.setPairKeys(vtep, keys);
  }

  /** See RunningKeyExchange; undefined as well where there is no such VTEP. */
  sessionAgeMs(vtep: number | undefined): number | undefined {
    return vtep === undefined ? undefined : this.#running?.sessionAgeMs(vtep);
  }

  /** See RunningKeyExchange. */
  handshakeAgeMs(vtep: number | undefined): number | undefined {
    return vtep === undefined ? undefined : this.#running?.handshakeAgeMs(vtep);
  }

  /** See RunningKeyExchange. */
  movedTo(vtep: number | undefined, family: Family): Endpoint | undefined {
    return vtep === undefined ? undefined : this.#running?.movedTo(vtep, family);
  }

  async stop(): Promise<void> {
    await this.#running?.stop();
    this.#running = undefined;
  }
}
