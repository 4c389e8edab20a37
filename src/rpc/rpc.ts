/**
 * Requests between nodes, apart from the gossip: who asks signs, who answers signs, and both go sealed under the
 * cluster key. Methods are registered by what serves them (inventory, key rotation, `warren check`, ...).
 */

/** Who asked: a member whose signature held. */
export interface RpcCaller {
  readonly id: string;
  readonly name: string;
}

/**
 * What serves a method. May throw a WarrenError, at once or in between, which the caller gets with its code, message
 * and hint; anything else is a bug, of which the caller learns no more than that. The signal aborts when the caller
 * has gone, or its time is up: the handler is to end then, and its place is taken until it does. Parts are at most
 * 1 MiB, and are asked for no faster than the caller takes them.
 */
export type RpcHandler = (
  body: Uint8Array,
  caller: RpcCaller,
  signal: AbortSignal,
) => AsyncIterable<Uint8Array> | Iterable<Uint8Array> | Promise<Iterable<Uint8Array>>;

export interface RpcCallOptions {
  /** Of the whole call, at most an hour; default 10 s. */
  readonly timeoutMs?: number;
  /** For how long nothing may come; default: as long as the whole call may take. */
  readonly idleTimeoutMs?: number;
  /** The most bytes of an answer that are taken; default 4 MiB. */
  readonly maxAnswerBytes?: number;
  readonly signal?: AbortSignal;
}

export interface Rpc {
  /**
   * `method`: at most 64 letters, digits, `.`, `_` and `-`, such as `inventory.pull`. A second handler of one method
   * is a bug, and throws.
   */
  serve(method: string, handler: RpcHandler): void;
  /**
   * Asks a member, by its id. Rejects with RPC_UNREACHABLE (no such member, no answer, timeout), RPC_UNSUPPORTED (its
   * agent does not know the method, or no RPC at all), RPC_REFUSED (signature, limits), RPC_INTERNAL (a bug there),
   * RPC_CANCELLED (`signal`), or the error that was thrown there. `body`: 1 MiB at most.
   */
  call(memberId: string, method: string, body: Uint8Array, options?: RpcCallOptions): Promise<Uint8Array[]>;
  /**
   * The same, part by part as it comes. It begins with the first `next`, and leaving the loop ends the call. The
   * other node signs its answer as a whole: parts are handed out before that, and where the signature does not hold
   * the loop ends with RPC_REFUSED.
   */
  stream(
    memberId: string,
    method: string,
    body: Uint8Array,
    options?: RpcCallOptions,
  ): AsyncIterableIterator<Uint8Array>;
}
