/**
 * This node's end of all calls: its own to others, and those of others to it.
 *
 * A call is served if its signature is that of a member that this node knows, it names this node and the present run
 * of its agent, and it has not been seen before. Nothing of a caller's is served before that.
 *
 * Promises are used here, unlike in what lies below. Timeouts come from the clock: where it is a virtual one, tests
 * let promises go on between its steps (simulate/in-time.ts).
 */
import { type Clock, TimerGroup } from '../clock.ts';
import { foreignCode, WarrenError } from '../errors.ts';
import { type Identity, idOfPublicKey, verifySignature } from '../identity.ts';
import type { Answer, CallReader, Link } from '../link/link.ts';
import { ReplayGuard } from '../link/replay-guard.ts';
import { isMethod, STRANGER } from './codec.ts';
import type { Directory } from './directory.ts';
import { InboundCall, type SignedCall } from './inbound-call.ts';
import {
  ARRIVAL_MS,
  MAX_BODY_BYTES,
  MAX_INBOUND_CALLS,
  MAX_INBOUND_CALLS_PER_CALLER,
  MAX_OUTBOUND_CALLS,
} from './limits.ts';
import { OutboundCall } from './outbound-call.ts';
import type { Rpc, RpcCallOptions, RpcHandler } from './rpc.ts';
import { bodyHash, signedCallBytes } from './signing.ts';

export interface RpcNodeOptions {
  readonly identity: Identity;
  /** Its calls are served from the moment this is built; it belongs to who opens and closes it. */
  readonly link: Link;
  readonly directory: Directory;
  readonly clock: Clock;
  /** A handler threw what is no WarrenError. */
  readonly onBug: (error: unknown) => void;
}

export class RpcNode implements Rpc {
  readonly #options: RpcNodeOptions;
  readonly #timers: TimerGroup;
  readonly #handlers = new Map<string, RpcHandler>();
  /** At most `MAX_OUTBOUND_CALLS`. */
  readonly #outbound = new Set<OutboundCall>();
  /** At most `MAX_INBOUND_CALLS`. */
  readonly #inbound = new Set<InboundCall>();
  /** Of those, the served ones by caller. */
  readonly #byCaller = new Map<string, number>();
  /** By caller and its run; bounded by itself. Of a member's earlier runs nothing is served. */
  readonly #replays = new ReplayGuard();
  #number = 0;
  #isClosed = false;

  constructor(options: RpcNodeOptions) {
    this.#options = options;
    this.#timers = new TimerGroup(options.clock);
    options.link.serveCalls((_from, answer) => this.#accept(answer));
  }

  serve(method: string, handler: RpcHandler): void {
    if (!isMethod(method)) throw new TypeError(`no method may be called ${method}`);
    if (this.#handlers.has(method)) throw new TypeError(`${method} has a handler`);
    this.#handlers.set(method, handler);
  }

  async call(
    memberId: string,
    method: string,
    body: Uint8Array,
    options: RpcCallOptions = {},
  ): Promise<Uint8Array[]> {
    const parts: Uint8Array[] = [];
    for await (const part of this.stream(memberId, method, body, options)) parts.push(part);
    return parts;
  }

  stream(
    memberId: string,
    method: string,
    body: Uint8Array,
    options: RpcCallOptions = {},
  ): AsyncIterableIterator<Uint8Array> {
    if (!isMethod(method)) throw new TypeError(`no method may be called ${method}`);
    return new LazyCall(() => this.#start(memberId, method, body, options));
  }

  /** Ends all calls, both ways. */
  close(): void {
    this.#isClosed = true;
    this.#timers.close();
    for (const call of [...this.#outbound]) call.fail('RPC_UNREACHABLE', 'this agent stops');
    for (const call of [...this.#inbound]) call.fail(stopping());
  }

  #start(memberId: string, method: string, body: Uint8Array, options: RpcCallOptions): OutboundCall {
    const { directory } = this.#options;
    const to = directory.find(memberId);
    if (!to) throw new WarrenError('RPC_UNREACHABLE', `no member has the id ${memberId}`);
    if (to.status === 'dead' || to.status === 'left') {
      const state = to.status === 'left' ? 'it has left' : 'it is dead';
      throw new WarrenError('RPC_UNREACHABLE', `cannot ask ${to.name}: ${state}`);
    }
    if (this.#isClosed) throw stopping();
    if (body.length > MAX_BODY_BYTES) {
      throw new WarrenError('RPC_REFUSED', `a question has ${MAX_BODY_BYTES} bytes at most`);
    }
    if (this.#outbound.size >= MAX_OUTBOUND_CALLS) {
      throw new WarrenError('RPC_REFUSED', 'this node asks too many questions at the moment', {
        hint: 'Try again in a moment.',
      });
    }
    const nextNumber = () => ++this.#number;
    const call: OutboundCall = new OutboundCall(
      { ...this.#options, nextNumber },
      to,
      method,
      body,
      options,
      () => this.#outbound.delete(call),
    );
    this.#outbound.add(call);
    return call;
  }

  #accept(answer: Answer): CallReader {
    const { identity, onBug } = this.#options;
    let caller: string | undefined;
    const call: InboundCall = new InboundCall({
      identity,
      answer,
      onComplete: (signed, body) => {
        arrival.cancel();
        if (this.#judge(call, answer, signed, body)) caller = signed.call.caller;
      },
      onRelease: () => {
        this.#inbound.delete(call);
        arrival.cancel();
        if (caller !== undefined) this.#countCaller(caller, -1);
      },
      onBug,
    });
    const arrival = this.#timers.after(ARRIVAL_MS, () => call.refuse('invalid'));
    if (this.#isClosed || this.#inbound.size >= MAX_INBOUND_CALLS) call.refuse('busy');
    else this.#inbound.add(call);
    return call;
  }

  /** Serves the call, or says why not; true if it is served. */
  #judge(
    inbound: InboundCall,
    answer: Answer,
    { call, bytes, signature }: SignedCall,
    body: Uint8Array,
  ): boolean {
    const { identity, link, directory } = this.#options;
    const refuse = (message: string, hint?: string): false => {
      inbound.fail(new WarrenError('RPC_REFUSED', message, hint === undefined ? {} : { hint }));
      return false;
    };
    if (call.target !== identity.id) return refuse('the question is for another node');
    if (!link.isOwnSession(call.targetSession)) {
      inbound.refuse('session');
      return false;
    }
    const caller = directory.find(call.caller);
    const isOwnKey =
      idOfPublicKey(call.publicKey) === call.caller &&
      verifySignature(call.publicKey, signedCallBytes(bytes), signature);
    if (!isOwnKey) return refuse('the signature of the question does not hold');
    if (Buffer.compare(bodyHash(body), call.bodyHash) !== 0)
      return refuse('the question was changed on its way');
    if (!caller || caller.session !== call.id.session) {
      inbound.fail(
        new WarrenError(foreignCode(STRANGER), 'it does not know this node, or not its present run'),
      );
      return false;
    }
    if (!this.#replays.accept(`${caller.id}/${call.id.session}`, call.id.number)) {
      inbound.refuse('replayed');
      return false;
    }
    const handler = this.#handlers.get(call.method);
    if (!handler) {
      inbound.fail(
        new WarrenError(
          'RPC_UNSUPPORTED',
          `the agent of that node does not know the question ${call.method}`,
          {
            hint: 'It is probably older than this one: upgrade it.',
          },
        ),
      );
      return false;
    }
    if ((this.#byCaller.get(caller.id) ?? 0) >= MAX_INBOUND_CALLS_PER_CALLER) {
      return refuse('too many questions of this node are open there', 'Try again in a moment.');
    }
    this.#countCaller(caller.id, 1);
    answer.keep({ idleMs: call.timeoutMs, totalMs: call.timeoutMs });
    inbound.serve(handler, call, { id: caller.id, name: caller.name }, body);
    return true;
  }

  #countCaller(id: string, by: 1 | -1): void {
    const count = (this.#byCaller.get(id) ?? 0) + by;
    if (count > 0) this.#byCaller.set(id, count);
    else this.#byCaller.delete(id);
  }
}

/** Finds out who is asked, and takes a place, when somebody begins to read. */
class LazyCall implements AsyncIterableIterator<Uint8Array> {
  readonly #start: () => OutboundCall;
  #call: OutboundCall | undefined;
  #isOver = false;

  constructor(start: () => OutboundCall) {
    this.#start = start;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    if (this.#isOver) return { done: true, value: undefined };
    try {
      this.#call ??= this.#start();
      return await this.#call.next();
    } catch (error) {
      this.#isOver = true;
      throw error;
    }
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    this.#isOver = true;
    return this.#call?.return() ?? { done: true, value: undefined };
  }
}

function stopping(): WarrenError {
  return new WarrenError('RPC_UNREACHABLE', 'the agent stops');
}
