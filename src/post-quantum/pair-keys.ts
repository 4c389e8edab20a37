/**
 * Agrees on pre-shared keys with the peers that sessions are wanted with, and renews them while they are in use:
 *
 *     asker                                              asked
 *     post-quantum.key                       ->
 *                                            <-          its public key, whose hash its record has
 *     makes a secret for it: a candidate
 *     post-quantum.agree, with the secret    ->          has the key, and knows that the asker has it
 *                                            <-          agreed: both know that both have it
 *
 * Whoever wants a key asks. Where both ask at once, the one with the smaller id goes on, and the other is told so. An answer
 * that is lost leaves both with keys that work (pair-key-list.ts), and the same secret is sent again.
 */
import { timingSafeEqual } from 'node:crypto';
import { type Clock, TimerGroup } from '../clock.ts';
import type { PairKeys } from '../encapsulation/wireguard/key-exchange.ts';
import { errorMessage, WarrenError } from '../errors.ts';
import type { Logger } from '../log/logger.ts';
import type { Rpc, RpcCaller } from '../rpc/rpc.ts';
import {
  type Agree,
  decodeAgree,
  decodeAgreed,
  decodePublicKey,
  encodeAgree,
  encodeAgreed,
  encodePublicKey,
  type Outcome,
} from './messages.ts';
import { AGREE_METHOD, KEY_METHOD } from './method.ts';
import type { MlKem } from './ml-kem.ts';
import { OwnKey } from './own-key.ts';
import { type Offer, Pair } from './pair.ts';
import { nameOfCiphertext, pairKey } from './pair-key.ts';
import { encapsulate, keyHash } from './x-wing.ts';

/** How long a node's own key lives, and the key of a pair while it is in use. */
export const RENEW_AFTER_MS = 24 * 3_600_000;
/** The one with the larger id leaves it to the other for so long. */
const OTHER_RENEWS_MS = 600_000;
const TICK_MS = 60_000;
/** Peers that are asked at the same time. The others wait; as many as there are peers. */
const MAX_AT_ONCE = 8;
const CALL = { timeoutMs: 3_000, maxAnswerBytes: 2_048 };
/** The record that has the hash of a key may come after the key. */
const RECORD_STEP_MS = 20;
const RECORD_STEPS = 50;
/** Problems that are told of: with one broken node it is one, with this one broken all. */
const MAX_PROBLEMS = 20;
const EMPTY = new Uint8Array();

/** A peer with which there is no session but by keys that are agreed on here. */
export interface PairKeyPeer {
  /** Hexadecimal; it is the data plane's key for it too. */
  readonly id: string;
  readonly name: string;
  /** Of its agent. */
  readonly run: string;
  /** X25519, of the tunnel. */
  readonly tunnelKey: Uint8Array;
  /** It is neither dead nor gone. */
  readonly isThere: boolean;
  /** Of its public key, as its record has it; undefined: it has made none yet. */
  readonly keyHash: Uint8Array | undefined;
}

export interface PairKeyOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly rpc: Rpc;
  readonly self: { readonly id: string; readonly tunnelKey: Uint8Array };
  /** By id; undefined: it is gone, or needs no such key. */
  readonly peer: (id: string) => PairKeyPeer | undefined;
  /** Whether there is a session with it now. */
  readonly isInUse: (id: string) => boolean;
  /** Sessions with the peer are made with these from now on. */
  readonly use: (id: string, keys: PairKeys | undefined) => void;
  /** This node's record is to have this hash. */
  readonly announce: (keyHash: Uint8Array) => void;
  /** This node's record is to be told to a peer directly. */
  readonly introduce: (id: string) => void;
  /** `state` of a peer is another. */
  readonly onChange: () => void;
}

export type PairKeyState = 'agreed' | 'offered' | 'failed';

export class PairKeyExchange {
  /** What does the arithmetic. */
  readonly library: string;
  readonly #options: PairKeyOptions;
  readonly #kem: MlKem;
  readonly #own: OwnKey;
  readonly #timers: TimerGroup;
  /** By id of peers; as many as there are of those. */
  readonly #pairs = new Map<string, Pair>();
  /** Those that wait for their turn, in its order. */
  readonly #queue = new Set<Pair>();
  readonly #counts = { agreed: 0, answered: 0, failed: 0 };
  #underWay = 0;
  /** Of all calls of this run. */
  #attempt = 0;
  #isClosed = false;
  #isFollowing = false;

  constructor(options: PairKeyOptions, kem: MlKem) {
    this.#options = options;
    this.#kem = kem;
    this.library = kem.name;
    this.#own = new OwnKey(kem, RENEW_AFTER_MS, options.announce);
    this.#timers = new TimerGroup(options.clock);
    this.#tickLater();
  }

  /** Keys by who asked for them, this node or the other; and what this node asked for in vain. */
  get counts(): Readonly<Record<'agreed' | 'answered' | 'failed', number>> {
    return this.#counts;
  }

  state(id: string): PairKeyState {
    const pair = this.#pairs.get(id);
    if (pair?.keys.sharedSinceMs !== undefined) return 'agreed';
    return pair?.failure(this.#nowMs) === undefined ? 'offered' : 'failed';
  }

  problems(): string[] {
    const problems: string[] = [];
    for (const pair of this.#pairs.values()) {
      const reason = pair.failure(this.#nowMs);
      const peer = reason === undefined ? undefined : this.#options.peer(pair.id);
      // Of one that is not there, its status says enough.
      if (!peer?.isThere) continue;
      const { name } = peer;
      if (problems.length === MAX_PROBLEMS) break;
      const what =
        pair.keys.sharedSinceMs === undefined
          ? `no post-quantum key with ${name}, so that nothing is sent to it and nothing taken`
          : `the post-quantum key with ${name} cannot be renewed`;
      problems.push(`${what}: ${reason}`);
    }
    return problems;
  }

  /** Something waits for a session with the peer. */
  wanted(id: string): void {
    const peer = this.#options.peer(id);
    if (peer === undefined || this.#isClosed) return;
    const pair = this.#pairOf(peer);
    pair.wanted(this.#nowMs);
    this.#enqueue(pair);
  }

  /** Peers have come, gone, or been started anew. */
  peersChanged(): void {
    if (this.#isFollowing) return;
    this.#isFollowing = true;
    this.#timers.after(0, () => {
      this.#isFollowing = false;
      for (const pair of [...this.#pairs.values()]) {
        if (this.#options.peer(pair.id)?.run !== pair.run) this.#drop(pair);
      }
    });
  }

  /** Serves `post-quantum.key`. */
  answerKey(caller: RpcCaller): Uint8Array[] {
    const { publicKey } = this.#own.get(this.#nowMs);
    this.#options.introduce(caller.id);
    return [encodePublicKey(publicKey)];
  }

  /** Serves `post-quantum.agree`. Throws PAIR_KEY_REFUSED or RPC_REFUSED. */
  answerAgree(body: Uint8Array, caller: RpcCaller): Uint8Array[] {
    const agree = decodeAgree(body);
    if (!agree.ok) throw new WarrenError('RPC_REFUSED', 'the question makes no sense');
    const peer = this.#options.peer(caller.id);
    if (peer === undefined)
      throw new WarrenError('PAIR_KEY_REFUSED', 'it makes no post-quantum key with this node');
    return [encodeAgreed(this.#take(peer, agree.value))];
  }

  close(): void {
    this.#isClosed = true;
    this.#timers.close();
    this.#queue.clear();
    for (const pair of [...this.#pairs.values()]) this.#drop(pair);
    this.#own.close();
  }

  get #nowMs(): number {
    return this.#options.clock.now();
  }

  #take(peer: PairKeyPeer, { keyHash: hash, ciphertext, proof, attempt }: Agree): Outcome {
    const { self } = this.#options;
    const pair = this.#pairOf(peer);
    const name = nameOfCiphertext(ciphertext);
    if (attempt < pair.heardAttempt) return 'outdated';
    pair.heardAttempt = attempt;
    if (pair.keys.has(name)) return 'agreed';
    if (pair.isAsking && self.id < peer.id) return 'asking';
    const own = this.#own.withHash(hash);
    if (own === undefined) return 'outdated';
    const secret = own.decapsulate(ciphertext);
    const made = secret && pairKey(secret, peer, self, ciphertext);
    if (made === undefined || !timingSafeEqual(made.proof, proof))
      throw new WarrenError('PAIR_KEY_REFUSED', 'the two nodes do not come to the same post-quantum key');
    pair.keys.add(name, made.key, true, this.#nowMs);
    this.#counts.answered++;
    this.#agreed(pair);
    return 'agreed';
  }

  #enqueue(pair: Pair): void {
    if (pair.isAsking || pair.isPaused || this.#isClosed) return;
    this.#queue.add(pair);
    this.#next();
  }

  #next(): void {
    for (const pair of this.#queue) {
      if (this.#underWay >= MAX_AT_ONCE) return;
      this.#queue.delete(pair);
      if (!this.#isCurrent(pair) || !this.#needsKey(pair)) continue;
      const pauseMs = pair.pauseMs(this.#nowMs);
      if (pauseMs > 0) this.#pause(pair, pauseMs);
      else void this.#ask(pair);
    }
  }

  #pause(pair: Pair, pauseMs: number): void {
    pair.isPaused = true;
    this.#timers.after(pauseMs, () => {
      pair.isPaused = false;
      this.#enqueue(pair);
    });
  }

  async #ask(pair: Pair): Promise<void> {
    const { log } = this.#options;
    pair.isAsking = true;
    this.#underWay++;
    const said = await this.#offered(pair).catch((error: unknown) => ({
      outcome: 'failed' as const,
      reason: errorMessage(error),
    }));
    this.#underWay--;
    pair.isAsking = false;
    if (this.#isClosed) return;
    if (this.#isCurrent(pair)) {
      if (said.outcome === 'agreed') {
        this.#counts.agreed++;
        pair.keys.share(said.offer.name);
        this.#agreed(pair);
      } else if (said.outcome === 'asking' || said.outcome === 'outdated') {
        pair.refused(this.#nowMs);
        this.#use(pair);
      } else if (said.outcome === 'failed') {
        const { reason } = said;
        this.#counts.failed++;
        pair.failed(this.#nowMs, reason);
        log.debug({ node: this.#options.peer(pair.id)?.name, reason }, 'no post-quantum key yet');
        this.#options.onChange();
      }
      // If there is a need for it still.
      this.#enqueue(pair);
    }
    this.#next();
  }

  /** What the peer says to a secret that was made for its key: the one of before, as long as it has not said anything. */
  async #offered(pair: Pair) {
    const { rpc } = this.#options;
    pair.offer ??= await this.#offer(pair);
    const { offer } = pair;
    // The peer was first.
    if (offer === undefined) return { outcome: 'needless' as const };
    const agree = encodeAgree({ ...offer, attempt: ++this.#attempt });
    const parts = await rpc.call(pair.id, AGREE_METHOD, agree, CALL);
    const outcome = decodeAgreed(parts[0]);
    if (!outcome.ok) throw noSense();
    return { outcome: outcome.value, offer };
  }

  /** Undefined: none is needed any more. */
  async #offer(pair: Pair): Promise<Offer | undefined> {
    const { rpc, self } = this.#options;
    const parts = await rpc.call(pair.id, KEY_METHOD, EMPTY, CALL);
    const key = decodePublicKey(parts[0]);
    if (!key.ok) throw noSense();
    const peer = await this.#announcing(pair, keyHash(key.value));
    if (!this.#isCurrent(pair) || !this.#needsKey(pair)) return undefined;
    const made = encapsulate(this.#kem, key.value);
    if (made === undefined) throw new WarrenError('PAIR_KEY_FOREIGN', 'what it sends is no key');
    const { ciphertext } = made;
    const name = nameOfCiphertext(ciphertext);
    const { key: candidate, proof } = pairKey(made.secret, self, peer, ciphertext);
    pair.keys.add(name, candidate, false, this.#nowMs);
    this.#use(pair);
    return { name, keyHash: keyHash(key.value), ciphertext, proof };
  }

  /** The peer, once its record has this hash: nobody else can have sent its key then. */
  async #announcing(pair: Pair, hash: Buffer): Promise<PairKeyPeer> {
    for (let step = 0; ; step++) {
      const peer = this.#options.peer(pair.id);
      if (peer === undefined || peer.run !== pair.run || this.#isClosed)
        throw new WarrenError('PAIR_KEY_FOREIGN', 'it was started anew meanwhile');
      if (peer.keyHash !== undefined && Buffer.compare(peer.keyHash, hash) === 0) return peer;
      if (step === RECORD_STEPS)
        throw new WarrenError('PAIR_KEY_FOREIGN', 'the key that it sends is not the one in its record');
      await new Promise<void>((resolve) => this.#timers.after(RECORD_STEP_MS, resolve));
    }
  }

  #agreed(pair: Pair): void {
    pair.agreed();
    this.#use(pair);
    this.#options.onChange();
  }

  /** To be called whenever a key is another: those that are gone are overwritten. */
  #use(pair: Pair): void {
    const { id, run, keys } = pair;
    this.#options.use(id, keys.isEmpty ? undefined : { run, ...keys.keys });
  }

  /** Of the run of the peer that is the present one. */
  #pairOf({ id, run }: PairKeyPeer): Pair {
    const known = this.#pairs.get(id);
    if (known?.run === run) return known;
    if (known) this.#drop(known);
    const pair = new Pair(id, run);
    this.#pairs.set(id, pair);
    return pair;
  }

  #drop(pair: Pair): void {
    this.#pairs.delete(pair.id);
    this.#queue.delete(pair);
    pair.close();
    this.#use(pair);
  }

  #isCurrent(pair: Pair): boolean {
    return this.#pairs.get(pair.id) === pair;
  }

  #needsKey(pair: Pair): boolean {
    const { self, isInUse } = this.#options;
    const renewAfterMs = RENEW_AFTER_MS + (self.id < pair.id ? 0 : OTHER_RENEWS_MS);
    return pair.needsKey(this.#nowMs, renewAfterMs, () => isInUse(pair.id));
  }

  #tickLater(): void {
    this.#timers.after(TICK_MS, () => {
      this.#tickLater();
      const nowMs = this.#nowMs;
      this.#own.tick(nowMs);
      for (const pair of [...this.#pairs.values()]) {
        const { sharedSinceMs } = pair.keys;
        const isOld = sharedSinceMs !== undefined && nowMs - sharedSinceMs >= 2 * RENEW_AFTER_MS;
        // Nobody talks by it: whoever wants to will want a new one.
        if (isOld && !this.#options.isInUse(pair.id)) this.#drop(pair);
        else if (this.#needsKey(pair)) this.#enqueue(pair);
      }
    });
  }
}

function noSense(): WarrenError {
  return new WarrenError('RPC_REFUSED', "the node's answer makes no sense");
}
