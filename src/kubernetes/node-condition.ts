/**
 * The condition NetworkUnavailable of this node's own Node, by which a scheduler keeps pods off a node whose network is not
 * there. Set where it is not as it should be, and not otherwise: a cloud may set it to True when it makes the Node, and waits
 * for whoever makes the network.
 */
import { type Clock, TimerGroup } from '../clock.ts';
import type { KubernetesApi, Pending } from './api.ts';
import { NETWORK_UNAVAILABLE, type NodeState } from './node-object.ts';
import { retryDelayMs } from './retry.ts';
import { refusalText } from './text.ts';

export interface Condition {
  readonly status: 'True' | 'False';
  /** A word in CamelCase. */
  readonly reason: string;
  readonly message: string;
}

/** Between two settings: the watch tells what came of the last one, and whoever else sets it is not raced. */
const PAUSE_MS = 10_000;

export interface NodeConditionOptions {
  readonly api: KubernetesApi;
  readonly nodeName: string;
  readonly clock: Clock;
  readonly random: () => number;
}

export class NodeCondition {
  readonly #options: NodeConditionOptions;
  readonly #timers: TimerGroup;
  #wanted: Condition | undefined;
  #seen: NodeState | undefined;
  #pending: Pending | undefined;
  #isPausing = false;
  #failures = 0;
  /** Why it cannot be set; undefined where it can. */
  problem: string | undefined;

  constructor(options: NodeConditionOptions) {
    this.#options = options;
    this.#timers = new TimerGroup(options.clock);
  }

  /** Undefined: it is left as it is. */
  want(condition: Condition | undefined): void {
    this.#wanted = condition;
    this.#set();
  }

  /** The Node as the API has it; undefined: there is none. */
  seen(node: NodeState | undefined): void {
    this.#seen = node;
    this.#set();
  }

  stop(): void {
    this.#timers.close();
    this.#pending?.cancel();
  }

  #set(): void {
    const { api, clock, nodeName, random } = this.#options;
    const [wanted, seen] = [this.#wanted, this.#seen];
    if (!wanted || !seen || this.#pending || this.#isPausing) return;
    const { status, reason } = seen.networkUnavailable ?? {};
    if (status === wanted.status && reason === wanted.reason) return;
    const now = `${new Date(clock.wallTime()).toISOString().slice(0, 19)}Z`;
    const condition = {
      ...{ type: NETWORK_UNAVAILABLE, ...wanted, lastHeartbeatTime: now },
      ...(status !== wanted.status && { lastTransitionTime: now }),
    };
    const path = `/api/v1/nodes/${encodeURIComponent(nodeName)}/status`;
    const body = { status: { conditions: [condition] } };
    this.#pending = api.ask({ method: 'PATCH', path, body }, (answer) => {
      this.#pending = undefined;
      const isDone = 'status' in answer && answer.status === 200;
      this.#failures = isDone ? 0 : this.#failures + 1;
      this.problem = isDone
        ? undefined
        : `the condition ${NETWORK_UNAVAILABLE} of Node ${nodeName} cannot be set (${refusalText(answer)})`;
      this.#isPausing = true;
      const retryAfterMs = 'error' in answer ? undefined : answer.retryAfterMs;
      const delayMs = isDone ? PAUSE_MS : retryDelayMs(this.#failures, random(), retryAfterMs);
      this.#timers.after(delayMs, () => {
        this.#isPausing = false;
        this.#set();
      });
    });
  }
}
