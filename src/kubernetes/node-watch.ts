/**
 * Keeps up with the Nodes of an API server: one list in pages, then watches that go on from where the last one ended. The list
 * is asked for again only where the server says that it does not know that place any more (410).
 *
 *     listing ---- last page ----> watching <--- ends as it should, in minutes ---+
 *        ^                            |   |                                       |
 *        |                            |   +--- breaks off, is refused, is silent -> waiting
 *        +------ 410, after a while --+
 *
 * Every pause is bounded, grows while nothing works, and has a random part (retry.ts). Nothing is kept of the objects but
 * what `onEvent` does with them: a page of 250 nodes is what is in memory at a time.
 */
import { type Clock, TimerGroup } from '../clock.ts';
import type { Answer, KubernetesApi, Pending } from './api.ts';
import { fieldsOf, listOf, resourceVersionOf } from './node-object.ts';
import { MAX_NODES, type NodeEvent } from './nodes-view.ts';
import { relistDelayMs, retryDelayMs, watchSpreadMs } from './retry.ts';
import { refusalText } from './text.ts';

export const PAGE_NODES = 250;
/** Pages that a server may give out for one list: more are no list of nodes. */
const MAX_PAGES = 2 * Math.ceil(MAX_NODES / PAGE_NODES);
const MAX_CONTINUE = 16_384;
/** The server ends a watch after this and up to as much again, chosen by each node for itself. */
const WATCH_SECONDS = 300;
/** A server says where it is (bookmarks) about once a minute; one that says nothing for so long is asked anew. */
const SILENCE_MS = 150_000;
/** A watch that ended sooner than this brought nothing. */
const SHORT_WATCH_MS = 5000;

export interface NodeWatchOptions {
  readonly api: KubernetesApi;
  /** Asked for by itself, first of all: a node need not wait for the list of all to know its own subnet. */
  readonly ownName: string;
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** How many nodes the cluster has, as far as that is known. */
  readonly nodeCount: () => number;
  readonly onEvent: (event: NodeEvent) => void;
  /** The server has answered as it should. */
  readonly onContact: () => void;
  /** It has not, and this is why. */
  readonly onTrouble: (reason: string) => void;
}

export class NodeWatch {
  readonly #options: NodeWatchOptions;
  readonly #timers: TimerGroup;
  /** Requests under way: two at most. */
  readonly #pending = new Set<Pending>();
  /** Where the next watch goes on; undefined: there must be a list first. */
  #version: string | undefined;
  /** Since a watch brought something, or lasted. */
  #failures = 0;
  #isStopped = false;

  constructor(options: NodeWatchOptions) {
    this.#options = options;
    this.#timers = new TimerGroup(options.clock);
  }

  start(): void {
    const { api, ownName, onEvent } = this.#options;
    const own = api.ask({ method: 'GET', path: `/api/v1/nodes/${encodeURIComponent(ownName)}` }, (answer) => {
      this.#pending.delete(own);
      // Whatever else comes: the list says it too.
      if ('status' in answer && answer.status === 200) onEvent({ type: 'changed', node: answer.body });
    });
    this.#pending.add(own);
    this.#list();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timers.close();
    for (const pending of this.#pending) pending.cancel();
    this.#pending.clear();
  }

  #list(): void {
    this.#version = undefined;
    this.#options.onEvent({ type: 'relisting' });
    this.#page('', 1);
  }

  #page(continued: string, number: number): void {
    const { api, onEvent, onContact } = this.#options;
    const more = continued === '' ? '' : `&continue=${encodeURIComponent(continued)}`;
    const pending = api.ask({ method: 'GET', path: `/api/v1/nodes?limit=${PAGE_NODES}${more}` }, (answer) => {
      this.#pending.delete(pending);
      if (this.#isStopped) return;
      // A page that did not come is asked for again; what came before it is not.
      if ('error' in answer || answer.status !== 200) {
        if (isExpired(answer)) this.#relistAfter(answer);
        else this.#failed(answer, () => this.#page(continued, number));
        return;
      }
      const { continue: next = '' } = fieldsOf(fieldsOf(answer.body).metadata);
      const version = resourceVersionOf(answer.body);
      if (
        version === undefined ||
        typeof next !== 'string' ||
        next.length > MAX_CONTINUE ||
        number > MAX_PAGES
      ) {
        this.#relistAfter({ error: 'what it answers is no list of nodes' });
        return;
      }
      onContact();
      onEvent({ type: 'page', nodes: listOf(fieldsOf(answer.body).items) });
      if (next !== '') {
        this.#page(next, number + 1);
        return;
      }
      this.#version = version;
      onEvent({ type: 'listed' });
      this.#watch();
    });
    this.#pending.add(pending);
  }

  #watch(): void {
    const { api, clock, random, onContact } = this.#options;
    const seconds = Math.round(WATCH_SECONDS * (1 + random()));
    const query = `watch=true&allowWatchBookmarks=true&timeoutSeconds=${seconds}`;
    const path = `/api/v1/nodes?${query}&resourceVersion=${encodeURIComponent(this.#version ?? '')}`;
    const startedAtMs = clock.now();
    let refusal: Answer | undefined;
    const end = (answer: Answer) => {
      silence.cancel();
      this.#pending.delete(pending);
      if (!this.#isStopped) this.#ended(refusal ?? answer, clock.now() - startedAtMs);
    };
    const onSilence = () => {
      pending.cancel();
      end({ error: `it was silent for ${SILENCE_MS / 1000} s` });
    };
    let silence = this.#timers.after(SILENCE_MS, onSilence);
    const pending = api.watch(path, {
      line: (value) => {
        if (this.#isStopped || refusal) return;
        silence.cancel();
        silence = this.#timers.after(SILENCE_MS, onSilence);
        refusal = this.#line(value);
        if (refusal) {
          pending.cancel();
          end(refusal);
          return;
        }
        this.#failures = 0;
        onContact();
      },
      end,
    });
    this.#pending.add(pending);
  }

  /** Why the watch cannot go on; undefined where it can. */
  #line(value: unknown): Answer | undefined {
    const { onEvent } = this.#options;
    const { type, object } = fieldsOf(value);
    if (type === 'ERROR') {
      const { code } = fieldsOf(object);
      return { status: typeof code === 'number' ? code : 500, body: object };
    }
    const version = resourceVersionOf(object);
    if (version === undefined) return { error: 'what it tells is no change of a node' };
    if (type === 'ADDED' || type === 'MODIFIED') onEvent({ type: 'changed', node: object });
    else if (type === 'DELETED') onEvent({ type: 'deleted', node: object });
    // Only now: what could not be taken is told again.
    this.#version = version;
    return undefined;
  }

  #ended(answer: Answer, lastedMs: number): void {
    const { nodeCount, random } = this.#options;
    if ('status' in answer && answer.status === 200 && lastedMs >= SHORT_WATCH_MS) {
      // As it should be, after minutes that each node has chosen for itself.
      this.#failures = 0;
      this.#watch();
    } else if (isExpired(answer)) {
      this.#relistAfter(answer);
    } else {
      const spreadMs = this.#failures === 0 ? watchSpreadMs(nodeCount(), random()) : 0;
      this.#failed(answer, () => this.#watch(), spreadMs);
    }
  }

  #relistAfter(answer: Answer): void {
    const { nodeCount, random } = this.#options;
    const delayMs = relistDelayMs(this.#failures + 1, nodeCount(), random());
    this.#failed(answer, () => this.#list(), delayMs);
  }

  /** `next` follows after the pause that the failure asks for, or `atLeastMs`. */
  #failed(answer: Answer, next: () => void, atLeastMs = 0): void {
    const { random, onTrouble } = this.#options;
    this.#failures++;
    const retryAfterMs = 'error' in answer ? undefined : answer.retryAfterMs;
    const delayMs = Math.max(atLeastMs, retryDelayMs(this.#failures, random(), retryAfterMs));
    onTrouble('status' in answer && answer.status === 200 ? 'it ended a watch at once' : refusalText(answer));
    this.#timers.after(delayMs, next);
  }
}

/** 410: the server does not know that version, or that place in a list, any more. */
function isExpired(answer: Answer): boolean {
  return 'status' in answer && answer.status === 410;
}
