/** Who answers checks: this node's own program, and those of others, which are asked for by `check.respond`. */
import pLimit from 'p-limit';
import { errorMessage, WarrenError } from '../errors.ts';
import type { RespondersReport } from '../readmodel/check-reports.ts';
import type { UnreachableNode } from '../readmodel/reports.ts';
import type { Rpc, RpcCaller } from '../rpc/rpc.ts';
import { RESPONDER_METHOD } from './method.ts';
import {
  type ResponderAnswer,
  type ResponderSettings,
  responderAnswer,
  responderRequest,
} from './responder-messages.ts';

const ASKED_AT_ONCE = 16;
const CALL_TIMEOUT_MS = 20_000;
/** That run on this node at a time: each is a process. */
const MAX_RUNNING = 8;

export interface RespondersOptions {
  readonly rpc: Pick<Rpc, 'call'>;
  readonly nodeName: string;
  readonly others: () => Iterable<{ readonly id: string; readonly name: string }>;
  /** Whether the node with this id takes part in forwarding. */
  readonly admits: (nodeId: string) => boolean;
  /** Addresses of this node and its pods, just now. */
  readonly listenOn: () => ResponderSettings['listenOn'];
  readonly start: (settings: Omit<ResponderSettings, 'token'>) => Promise<ResponderAnswer>;
  readonly nowMs: () => number;
}

export class Responders {
  readonly #options: RespondersOptions;
  /** When those end that run; MAX_RUNNING at most. */
  #endsMs: number[] = [];

  constructor(options: RespondersOptions) {
    this.#options = options;
  }

  /** What another node gets. */
  async answer(body: Uint8Array, caller: RpcCaller): Promise<Iterable<Uint8Array>> {
    if (!this.#options.admits(caller.id)) {
      throw new WarrenError('CHECK_REFUSED', 'it answers only nodes that take part in forwarding');
    }
    return [Buffer.from(JSON.stringify(await this.#own(parsed(body))))];
  }

  /** Has this node and all others answer for so long. */
  async all(seconds: number): Promise<RespondersReport> {
    const { nodeName, others, rpc } = this.#options;
    const nodes: { node: string; answer: ResponderAnswer }[] = [
      { node: nodeName, answer: await this.#own({ seconds }) },
    ];
    const unreachable: UnreachableNode[] = [];
    const body = Buffer.from(JSON.stringify({ seconds }));
    await pLimit(ASKED_AT_ONCE).map(others(), async ({ id, name }) => {
      try {
        const parts = await rpc.call(id, RESPONDER_METHOD, body, { timeoutMs: CALL_TIMEOUT_MS });
        nodes.push({ node: name, answer: understood(parts) });
      } catch (error) {
        unreachable.push({ node: name, reason: errorMessage(error) });
      }
    });
    const [own, ...rest] = nodes;
    rest.sort((a, b) => a.node.localeCompare(b.node));
    return { nodes: [own!, ...rest].map(({ node, answer }) => ({ node, ...answer })), unreachable };
  }

  async #own({ seconds }: { readonly seconds: number }): Promise<ResponderAnswer> {
    const { listenOn, nowMs, start } = this.#options;
    this.#endsMs = this.#endsMs.filter((endMs) => endMs > nowMs());
    if (this.#endsMs.length >= MAX_RUNNING) {
      throw new WarrenError('CHECK_LIMIT', `${MAX_RUNNING} checks that this node answers run already`, {
        hint: 'Wait until one is over.',
      });
    }
    const endMs = nowMs() + seconds * 1000;
    this.#endsMs.push(endMs);
    try {
      return await start({ seconds, listenOn: listenOn() });
    } catch (error) {
      this.#endsMs.splice(this.#endsMs.indexOf(endMs), 1);
      throw error;
    }
  }
}

function parsed(body: Uint8Array): { readonly seconds: number } {
  try {
    return responderRequest.parse(JSON.parse(Buffer.from(body).toString('utf8')));
  } catch (cause) {
    throw new WarrenError('BAD_REQUEST', 'it does not understand for how long it is to answer', { cause });
  }
}

function understood(parts: readonly Uint8Array[]): ResponderAnswer {
  try {
    return responderAnswer.parse(JSON.parse(Buffer.concat(parts).toString('utf8')));
  } catch (cause) {
    throw new WarrenError('RPC_REFUSED', "the node's answer makes no sense", { cause });
  }
}
