/**
 * Post-quantum keys (post-quantum/pair-keys.ts) as an agent has them: loaded when the first session is wanted, or a peer asks,
 * since what does the arithmetic costs memory where Node does not have it itself.
 */
import type { Config } from '../config/config.ts';
import { errorMessage } from '../errors.ts';
import type { KnownPeer } from '../peers/peer-view.ts';
import { AGREE_METHOD, KEY_METHOD } from '../post-quantum/method.ts';
import type {
  PairKeyExchange,
  PairKeyOptions,
  PairKeyPeer,
  PairKeyState,
} from '../post-quantum/pair-keys.ts';

export type LoadPairKeys = (options: PairKeyOptions) => Promise<PairKeyExchange>;

/** Undefined: sessions are made without. */
export function postQuantumOf(
  { encapsulation: { postQuantum } }: Config,
  { pairKeys }: { readonly pairKeys?: LoadPairKeys },
): 'on' | 'require' | undefined {
  return pairKeys === undefined || postQuantum === 'off' ? undefined : postQuantum;
}

/** Finds a peer by its id; undefined: it needs no keys of this kind, or must not be sent to. */
export function pairKeyPeers(peers: () => readonly KnownPeer[]): (id: string) => PairKeyPeer | undefined {
  let known: readonly KnownPeer[] = [];
  let byKey = new Map<string, KnownPeer>();
  return (id) => {
    const now = peers();
    if (now !== known) {
      known = now;
      byKey = new Map(now.map((peer) => [peer.key, peer]));
    }
    return pairKeyPeer(byKey.get(id));
  };
}

function pairKeyPeer(peer: KnownPeer | undefined): PairKeyPeer | undefined {
  if (peer?.postQuantum !== 'needed' || peer.unreachable !== undefined) return undefined;
  const { id, name, run = '', status, publicKey, pairKeyHash } = peer;
  const isThere = status === 'alive' || status === 'suspect';
  return publicKey && { id, name, run, isThere, tunnelKey: publicKey, keyHash: pairKeyHash };
}

export class PairKeying {
  readonly #options: PairKeyOptions;
  readonly #load: LoadPairKeys;
  #exchange: PairKeyExchange | undefined;
  #loading: Promise<PairKeyExchange> | undefined;
  #failure: string | undefined;
  #isStopped = false;

  constructor(load: LoadPairKeys, options: PairKeyOptions) {
    this.#options = options;
    this.#load = load;
    const exchange = () => this.#loaded();
    options.rpc.serve(KEY_METHOD, async (_body, caller) => (await exchange()).answerKey(caller));
    options.rpc.serve(AGREE_METHOD, async (body, caller) => (await exchange()).answerAgree(body, caller));
  }

  /** What does the arithmetic; undefined before there was any. */
  get library(): string | undefined {
    return this.#exchange?.library;
  }

  /** How many exchanges came out how; empty before there was any. */
  get counts(): Readonly<Record<string, number>> {
    return this.#exchange?.counts ?? {};
  }

  state(id: string): PairKeyState {
    return this.#exchange?.state(id) ?? (this.#failure === undefined ? 'offered' : 'failed');
  }

  problems(): string[] {
    if (this.#failure !== undefined) return [`no post-quantum keys can be made: ${this.#failure}`];
    return this.#exchange?.problems() ?? [];
  }

  wanted(id: string): void {
    if (this.#exchange) this.#exchange.wanted(id);
    else
      void this.#loaded().then(
        (exchange) => exchange.wanted(id),
        () => {},
      );
  }

  peersChanged(): void {
    this.#exchange?.peersChanged();
  }

  stop(): void {
    this.#isStopped = true;
    this.#exchange?.close();
  }

  #loaded(): Promise<PairKeyExchange> {
    if (this.#loading) return this.#loading;
    this.#loading = this.#load(this.#options).then((exchange) => {
      this.#exchange = exchange;
      if (this.#isStopped) exchange.close();
      return exchange;
    });
    // What cannot be loaded once never can: sessions that need it are never made.
    this.#loading.catch((err) => {
      this.#failure = errorMessage(err);
      this.#options.log.error({ err }, 'no post-quantum keys can be made');
    });
    return this.#loading;
  }
}
