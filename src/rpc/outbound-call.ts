/** A call of this node to another one, from the first byte to the verified outcome. */
import type { Clock, Timer } from '../clock.ts';
import type { ErrorCode } from '../error-codes.ts';
import { foreignCode, WarrenError } from '../errors.ts';
import { type Identity, verifySignature } from '../identity.ts';
import { type Link, PeerRefusedError } from '../link/link.ts';
import type { Exchange } from '../link/transport.ts';
import {
  type CallId,
  decodeAnswerMessage,
  encodeCall,
  encodeCallPiece,
  encodeSignedCall,
  type Outcome,
  STRANGER,
} from './codec.ts';
import type { DirectoryEntry } from './directory.ts';
import {
  DEFAULT_ANSWER_BYTES,
  DEFAULT_TIMEOUT_MS,
  MAX_PART_BYTES,
  MAX_PIECES,
  MAX_TIMEOUT_MS,
  MAX_UNTAKEN_BYTES,
  PIECE_BYTES,
} from './limits.ts';
import type { RpcCallOptions } from './rpc.ts';
import { bodyHash, PartsHash, signedCallBytes } from './signing.ts';

export interface OutboundCallParts {
  readonly identity: Identity;
  readonly link: Link;
  readonly clock: Clock;
  /** Of the next call of this run. */
  readonly nextNumber: () => number;
}

/** Signed anew: the other's run may be another by now, and its memory of our calls may have moved on. */
const MAX_RENEWALS = 2;
/** Sent again a little later, twice as late each time: the other is busy, or has yet to hear of this node's run. */
const MAX_WAITS = 6;
const FIRST_WAIT_MS = 50;
/** What pieces have besides their data in frames. */
const MESSAGE_OVERHEAD = 64;

interface Waiting {
  resolve(result: IteratorResult<Uint8Array>): void;
  reject(error: Error): void;
}

export class OutboundCall implements AsyncIterableIterator<Uint8Array> {
  readonly #parts: OutboundCallParts;
  readonly #to: DirectoryEntry;
  readonly #method: string;
  readonly #body: Uint8Array;
  readonly #options: RpcCallOptions;
  readonly #onEnd: () => void;
  readonly #maxAnswerBytes: number;
  #exchange: Exchange | undefined;
  #timer: Timer | undefined;
  #waitTimer: Timer | undefined;
  #endsAtMs = 0;
  #renewals = 0;
  #waits = 0;
  #hasBegun = false;
  /** Set when it is over: `error` undefined if all is well. */
  #end: { readonly error: Error | undefined } | undefined;
  /** Parts that nobody has taken; bounded by `MAX_UNTAKEN_BYTES` and what is on its way when that is reached. */
  readonly #untaken: Uint8Array[] = [];
  #untakenBytes = 0;
  #isPaused = false;
  readonly #waiting: Waiting[] = [];

  // Of the answer so far.
  #hash = new PartsHash();
  #pieces: Uint8Array[] = [];
  #partBytes = 0;
  #pieceCount = 0;
  #answerBytes = 0;
  #outcome: Outcome | undefined;

  constructor(
    parts: OutboundCallParts,
    to: DirectoryEntry,
    method: string,
    body: Uint8Array,
    options: RpcCallOptions,
    onEnd: () => void,
  ) {
    this.#parts = parts;
    this.#to = to;
    this.#method = method;
    this.#body = body;
    this.#options = options;
    this.#onEnd = onEnd;
    this.#maxAnswerBytes = options.maxAnswerBytes ?? DEFAULT_ANSWER_BYTES;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    this.#begin();
    const part = this.#untaken.shift();
    if (part) {
      this.#untakenBytes -= part.length;
      if (this.#isPaused && this.#untakenBytes < MAX_UNTAKEN_BYTES / 2) {
        this.#isPaused = false;
        this.#exchange?.resume();
      }
      return Promise.resolve({ done: false, value: part });
    }
    if (!this.#end) return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    const { error } = this.#end;
    this.#end = { error: undefined };
    return error ? Promise.reject(error) : Promise.resolve({ done: true, value: undefined });
  }

  return(): Promise<IteratorResult<Uint8Array>> {
    this.#hasBegun = true;
    this.#untaken.length = 0;
    this.#finish(undefined);
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Ends it with this error, unless it is over. */
  fail(code: ErrorCode, reason: string, options: { hint?: string; cause?: unknown } = {}): void {
    this.#finish(new WarrenError(code, `cannot ask ${this.#to.name}: ${reason}`, options));
  }

  #begin(): void {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    if (this.#end) return;
    const { signal, timeoutMs = DEFAULT_TIMEOUT_MS } = this.#options;
    const { clock } = this.#parts;
    if (signal?.aborted) {
      this.#onAbort();
      return;
    }
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    const limitMs = Math.max(1, Math.min(timeoutMs, MAX_TIMEOUT_MS));
    this.#endsAtMs = clock.now() + limitMs;
    this.#timer = clock.after(limitMs, () => {
      this.fail('RPC_UNREACHABLE', `no answer within ${limitMs} ms`);
    });
    this.#attempt(this.#to.session);
  }

  readonly #onAbort = () => this.fail('RPC_CANCELLED', 'the call was cancelled');

  #attempt(session: string): void {
    const { identity, link, clock, nextNumber } = this.#parts;
    const leftMs = Math.max(1, Math.ceil(this.#endsAtMs - clock.now()));
    const id: CallId = { session: link.session, number: nextNumber() };
    const bytes = encodeCall({
      method: this.#method,
      caller: identity.id,
      publicKey: identity.publicKey,
      target: this.#to.id,
      targetSession: session,
      id,
      bodyBytes: this.#body.length,
      bodyHash: bodyHash(this.#body),
      timeoutMs: Math.min(leftMs, MAX_TIMEOUT_MS),
    });
    const messages = [encodeSignedCall(bytes, identity.sign(signedCallBytes(bytes)))];
    for (let at = 0; at < this.#body.length; at += PIECE_BYTES) {
      messages.push(encodeCallPiece(this.#body.subarray(at, at + PIECE_BYTES)));
    }
    this.#hash = new PartsHash();
    this.#outcome = undefined;
    // The timer above comes first, and says it better.
    const totalMs = leftMs + 1000;
    const limitBytes = 2 * this.#maxAnswerBytes + MESSAGE_OVERHEAD * MAX_PIECES;
    this.#exchange = link.call(
      { gossip: this.#to.gossip, session },
      messages,
      { deadlines: { idleMs: this.#options.idleTimeoutMs ?? totalMs, totalMs }, limitBytes },
      {
        message: (message) => this.#message(id, message),
        done: (error) => this.#done(session, error),
      },
    );
  }

  #message(id: CallId, message: Uint8Array): void {
    if (this.#end) return;
    const decoded = decodeAnswerMessage(message);
    if (!decoded.ok || this.#outcome) {
      this.fail('RPC_REFUSED', 'its answer makes no sense');
      return;
    }
    if (decoded.value.kind === 'piece') {
      this.#piece(decoded.value.data, decoded.value.more);
      return;
    }
    const { outcome, bytes, signature } = decoded.value;
    if (!verifySignature(this.#to.publicKey, this.#hash.signedBytes(id, bytes), signature)) {
      this.fail('RPC_REFUSED', 'the signature of its answer does not hold', {
        hint: 'Another node may have its address.',
      });
      return;
    }
    this.#outcome = outcome;
    if (outcome.code === '' && this.#pieces.length > 0) this.fail('RPC_REFUSED', 'its answer makes no sense');
  }

  #piece(data: Uint8Array, more: boolean): void {
    this.#answerBytes += data.length;
    this.#pieces.push(data);
    this.#partBytes += data.length;
    if (
      this.#answerBytes > this.#maxAnswerBytes ||
      this.#partBytes > MAX_PART_BYTES ||
      ++this.#pieceCount > MAX_PIECES
    ) {
      this.fail('RPC_REFUSED', `its answer has more than ${this.#maxAnswerBytes} bytes, or too many parts`);
      return;
    }
    if (more) return;
    const part = this.#pieces.length === 1 ? data : Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#partBytes = 0;
    this.#hash.add(part);
    const waiting = this.#waiting.shift();
    if (waiting) {
      waiting.resolve({ done: false, value: part });
      return;
    }
    this.#untaken.push(part);
    this.#untakenBytes += part.length;
    if (this.#untakenBytes < MAX_UNTAKEN_BYTES || this.#isPaused) return;
    this.#isPaused = true;
    this.#exchange?.pause();
  }

  #done(session: string, error: Error | undefined): void {
    if (this.#end) return;
    const refusal = error instanceof PeerRefusedError ? error : undefined;
    if (this.#pieceCount === 0 && this.#triesAgain(session, refusal)) return;
    if (refusal) this.#refused(refusal);
    else if (error) this.fail('RPC_UNREACHABLE', error.message, { cause: error });
    else if (!this.#outcome) this.fail('RPC_REFUSED', 'its answer is not complete');
    else {
      const { code, message, hint } = this.#outcome;
      if (code === STRANGER) this.fail('RPC_REFUSED', message);
      else
        this.#finish(
          code === '' ? undefined : new WarrenError(foreignCode(code), message, hint === '' ? {} : { hint }),
        );
    }
  }

  /** Where nothing was served, and another attempt may fare better. */
  #triesAgain(session: string, refusal: PeerRefusedError | undefined): boolean {
    switch (refusal?.code ?? this.#outcome?.code) {
      case 'session':
      case 'replayed':
        if (this.#renewals++ >= MAX_RENEWALS) return false;
        this.#attempt(refusal?.code === 'session' ? refusal.session : session);
        return true;
      case 'busy':
      case STRANGER: {
        if (this.#waits >= MAX_WAITS) return false;
        // Nodes that were refused together do not come back together.
        const spread = Number.parseInt(this.#parts.identity.id.slice(0, 4), 16) / 0x1_0000;
        const waitMs = FIRST_WAIT_MS * 2 ** this.#waits++ * (1 + spread);
        this.#waitTimer = this.#parts.clock.after(waitMs, () => this.#attempt(session));
        return true;
      }
      default:
        return false;
    }
  }

  #refused(error: PeerRefusedError): void {
    switch (error.code) {
      case 'invalid':
      case 'version':
        this.fail('RPC_UNSUPPORTED', 'its agent does not understand the question', {
          hint: 'It is probably older than this one: upgrade it.',
          cause: error,
        });
        return;
      case 'session':
        this.fail('RPC_UNREACHABLE', 'its agent restarts again and again', { cause: error });
        return;
      default:
        this.fail('RPC_REFUSED', `it ${error.message}`, { cause: error });
    }
  }

  #finish(error: Error | undefined): void {
    if (this.#end) return;
    this.#end = { error };
    this.#timer?.cancel();
    this.#waitTimer?.cancel();
    this.#exchange?.cancel();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#onEnd();
    for (const [index, { resolve, reject }] of this.#waiting.splice(0).entries()) {
      if (error && index === 0) {
        this.#end = { error: undefined };
        reject(error);
      } else resolve({ done: true, value: undefined });
    }
  }
}
