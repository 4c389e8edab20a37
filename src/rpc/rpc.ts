/**
 * Requests between nodes, apart from the gossip: who asks signs, who answers signs, and both go sealed under the
 * cluster key. Methods are registered by what serves them (inventory, key rotation, `warren check`, ...).
 */

/** Who asked: a member whose signature held. */
export interface RpcCaller {
  readonly id: string;
  readonly name: string;
}

/** What serves a method. May throw a WarrenError, which the caller gets with its code, message and hint. */
export type RpcHandler = (
  body: Uint8Array,
  caller: RpcCaller,
  signal: AbortSignal,
) => AsyncIterable<Uint8Array> | Iterable<Uint8Array> | Promise<Iterable<Uint8Array>>;

export interface RpcCallOptions {
  /** Of the whole call; default 10 s. */
  readonly timeoutMs?: number;
  /** The most bytes of an answer that are taken; default 4 MiB. */
  readonly maxAnswerBytes?: number;
  readonly signal?: AbortSignal;
}

export interface Rpc {
  /** `method`: at most 64 characters, such as `inventory.pull`. A second handler of one method is a bug. */
  serve(method: string, handler: RpcHandler): void;
  /**
   * Asks a member, by its id. Rejects with RPC_UNREACHABLE (no such member, no answer, timeout), RPC_UNSUPPORTED (its
   * agent does not know the method, or no RPC at all), RPC_REFUSED (signature, limits), or the error that was thrown
   * there.
   */
  call(memberId: string, method: string, body: Uint8Array, options?: RpcCallOptions): Promise<Uint8Array[]>;
  /** The same, part by part as it comes. */
  stream(
    memberId: string,
    method: string,
    body: Uint8Array,
    options?: RpcCallOptions,
  ): AsyncIterable<Uint8Array>;
}
