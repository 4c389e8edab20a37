/** A call of another node: read, checked, served, and answered part by part. */
import { WarrenError } from '../errors.ts';
import type { Identity } from '../identity.ts';
import type { Answer, CallReader } from '../link/link.ts';
import {
  type Call,
  type CallMessage,
  decodeCallMessage,
  encodeAnswerPiece,
  encodeOutcome,
  encodeSignedOutcome,
  type Outcome,
} from './codec.ts';
import { MAX_PART_BYTES, MAX_PIECES, PIECE_BYTES } from './limits.ts';
import type { RpcCaller, RpcHandler } from './rpc.ts';
import { PartsHash } from './signing.ts';

export interface InboundCallOptions {
  readonly identity: Identity;
  readonly answer: Answer;
  /** The call has come in full: to be served, refused or ended. */
  readonly onComplete: (signed: SignedCall, body: Uint8Array) => void;
  /** It takes no more room here. */
  readonly onRelease: () => void;
  readonly onBug: (error: unknown) => void;
}

/** A call with what was signed of it. */
export type SignedCall = Extract<CallMessage, { kind: 'call' }>;

const WELL: Outcome = { code: '', message: '', hint: '' };

export class InboundCall implements CallReader {
  readonly #options: InboundCallOptions;
  readonly #abort = new AbortController();
  #signed: SignedCall | undefined;
  readonly #body: Uint8Array[] = [];
  #bodyBytes = 0;
  /** Nothing is read or sent any more. */
  #isOver = false;
  #isServed = false;
  /** The handler has. */
  #hasEnded = false;
  readonly #hash = new PartsHash();
  #pieceCount = 0;
  /** Who waits for room, if anybody does. */
  #room: (() => void) | undefined;

  constructor(options: InboundCallOptions) {
    this.#options = options;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  message(bytes: Uint8Array): void {
    if (this.#isOver) return;
    const decoded = decodeCallMessage(bytes);
    if (decoded.ok && decoded.value.kind === 'call' && !this.#signed) {
      this.#signed = decoded.value;
      return;
    }
    if (decoded.ok && decoded.value.kind === 'piece' && this.#signed) {
      const { data } = decoded.value;
      this.#bodyBytes += data.length;
      if (this.#bodyBytes <= this.#signed.call.bodyBytes) {
        this.#body.push(data);
        return;
      }
    }
    this.refuse('invalid');
  }

  end(): void {
    if (this.#isOver) return;
    if (!this.#signed || this.#bodyBytes !== this.#signed.call.bodyBytes) this.refuse('invalid');
    else this.#options.onComplete(this.#signed, Buffer.concat(this.#body));
  }

  drained(): void {
    this.#room?.();
  }

  closed(): void {
    this.#stop();
  }

  /** In clear text, without a signature: for what could not be read, or is for another run. */
  refuse(code: 'invalid' | 'session' | 'busy' | 'replayed'): void {
    if (this.#isOver) return;
    this.#options.answer.refuse(code);
    this.#stop();
  }

  /** The end of the answer. */
  finish(outcome: Outcome): void {
    if (this.#isOver || !this.#signed) return;
    const { identity, answer } = this.#options;
    const bytes = encodeOutcome(outcome);
    const signature = identity.sign(this.#hash.signedBytes(this.#signed.call.id, bytes));
    answer.end([encodeSignedOutcome(bytes, signature)]);
    this.#stop();
  }

  /** What this node's own agent has to say against it. */
  fail(error: WarrenError): void {
    this.finish({ code: error.code, message: error.message, hint: error.hint ?? '' });
  }

  serve(handler: RpcHandler, { method }: Call, caller: RpcCaller, body: Uint8Array): void {
    this.#isServed = true;
    this.#produce(handler, caller, body)
      .finally(() => {
        this.#hasEnded = true;
      })
      .then(
        () => this.finish(WELL),
        (error: unknown) => this.#failed(method, error),
      )
      .catch(this.#options.onBug)
      .finally(this.#options.onRelease);
  }

  async #produce(handler: RpcHandler, caller: RpcCaller, body: Uint8Array): Promise<void> {
    for await (const part of await handler(body, caller, this.#abort.signal)) {
      if (!this.#isOver) await this.#write(part);
      if (this.#isOver) return;
    }
  }

  async #write(part: Uint8Array): Promise<void> {
    if (part.length > MAX_PART_BYTES) throw new Error(`a part of an answer has ${part.length} bytes`);
    this.#pieceCount += Math.max(1, Math.ceil(part.length / PIECE_BYTES));
    if (this.#pieceCount > MAX_PIECES) {
      throw new WarrenError('RPC_REFUSED', 'the answer has too many parts', {
        hint: 'Ask again for the rest.',
      });
    }
    this.#hash.add(part);
    const messages: Uint8Array[] = [];
    let at = 0;
    do {
      const end = Math.min(at + PIECE_BYTES, part.length);
      messages.push(encodeAnswerPiece(part.subarray(at, end), end < part.length));
      at = end;
    } while (at < part.length);
    if (this.#options.answer.write(messages) || this.#isOver) return;
    await new Promise<void>((resolve) => {
      this.#room = resolve;
    });
    this.#room = undefined;
  }

  #failed(method: string, error: unknown): void {
    if (error instanceof WarrenError) {
      this.fail(error);
      return;
    }
    // A handler that was told to end may well throw.
    if (this.#isOver) return;
    this.#options.onBug(error);
    const message = `a bug in warren: ${method} could not be answered; the log of that node has more`;
    this.finish({ code: 'RPC_INTERNAL', message, hint: '' });
  }

  #stop(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#body.length = 0;
    if (!this.#hasEnded) this.#abort.abort();
    this.#room?.();
    // A handler that runs keeps its place until it has ended.
    if (!this.#isServed) this.#options.onRelease();
  }
}
