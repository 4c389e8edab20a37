/**
 * Keeps up with the objects of one kind of an API server: one list in pages, then watches that go on from where the last one ended.
 *
 *     listing ---- last page ----> watching <--- ends as it should, in minutes ---+
 *        ^                          |  |  ^                                       |
 *        |                          |  |  +--- after a pause: breaks off, is refused, is silent
 *        |                          |  v
 *        +--- much later --- resuming: the server does not know that place any more (410)
 *
 * A server that was restarted knows no place of before, and then all agents of a cluster are told so at once. Were they all
 * to list everything, it would be restarted again. So each asks where the server is now, by a list of one, watches from there, looks at
 * its own object, if it has one, and lists what it may have missed later, at a time that is spread over the more minutes the more there is.
 *
 * Every pause is bounded, grows while nothing works, and has a random part (retry.ts). Nothing is kept of the objects but
 * what `onEvent` does with them: a page of 250 is what is in memory at a time.
 */
import { type Clock, type Timer, TimerGroup } from '../clock.ts';
import type { Answer, KubernetesApi, Pending } from './api.ts';
import { fieldsOf, listOf, resourceVersionOf } from './node-object.ts';
import { relistDelayMs, retryDelayMs, watchSpreadMs } from './retry.ts';
import { refusalText } from './text.ts';

export const PAGE_OBJECTS = 250;
const MAX_CONTINUE = 16_384;
/** The server ends a watch after this and up to as much again, chosen by each node for itself. */
const WATCH_SECONDS = 300;
/** A server says where it is (bookmarks) about once a minute; one that says nothing for so long is asked anew. */
const SILENCE_MS = 150_000;
/** A watch that ended sooner than this brought nothing. */
const SHORT_WATCH_MS = 5000;

export type ResourceEvent =
  | { readonly type: 'page'; readonly objects: readonly unknown[] }
  | { readonly type: 'listed' }
  /** What the pages so far had counts no more: the list begins anew. */
  | { readonly type: 'relisting' }
  | { readonly type: 'changed'; readonly object: unknown }
  | { readonly type: 'deleted'; readonly object: unknown };

export interface Resource {
  /** `/api/v1/nodes` */
  readonly path: string;
  /** For people: `nodes`. */
  readonly name: string;
  /** How many are kept. A server that gives out pages of twice as many gives out no list. */
  readonly max: number;
}

export interface ResourceWatchOptions {
  readonly api: KubernetesApi;
  readonly resource: Resource;
  /** Asked for by itself, first of all, and again where something may have been missed; undefined: none. */
  readonly ownName?: string | undefined;
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** How many there are (or how many nodes ask), as far as that is known. */
  readonly count: () => number;
  /** Over how long all agents' lists are spread where all have missed something; absent: as 100 of them in ten seconds. */
  readonly listSpreadMs?: (() => number) | undefined;
  readonly onEvent: (event: ResourceEvent) => void;
  /** The server has answered as it should. */
  readonly onContact: () => void;
  /** It has not, and this is why. */
  readonly onTrouble: (reason: string) => void;
}

export class ResourceWatch {
  readonly #options: ResourceWatchOptions;
  readonly #timers: TimerGroup;
  /** Requests under way: two at most. */
  readonly #pending = new Set<Pending>();
  /** The watch that is under way. */
  #watching: Pending | undefined;
  /** Where the next watch goes on. */
  #version = '';
  /** A list was complete. */
  #hasListed = false;
  /** Of the list that is to come, where something may have been missed. */
  #listTimer: Timer | undefined;
  /** Its time has come. */
  #isListDue = false;
  /** Requests that failed since a watch brought something, or lasted. */
  #failures = 0;
  /** How often the server did not know a place since then. */
  #expiries = 0;
  #isStopped = false;

  constructor(options: ResourceWatchOptions) {
    this.#options = options;
    this.#timers = new TimerGroup(options.clock);
  }

  start(): void {
    this.#askOwn();
    this.#list();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timers.close();
    this.#watching?.cancel();
    for (const pending of this.#pending) pending.cancel();
    this.#pending.clear();
  }

  /** Whatever comes of it: lists and watches say the same. */
  #askOwn(): void {
    const { resource, ownName, onEvent } = this.#options;
    if (ownName === undefined) return;
    this.#ask(`${resource.path}/${encodeURIComponent(ownName)}`, (answer) => {
      if (isDone(answer)) onEvent({ type: 'changed', object: answer.body });
    });
  }

  #list(): void {
    this.#listTimer?.cancel();
    this.#listTimer = undefined;
    this.#isListDue = false;
    this.#options.onEvent({ type: 'relisting' });
    this.#page('', 1);
  }

  #page(continued: string, number: number): void {
    const { resource, onEvent, onContact } = this.#options;
    const more = continued === '' ? '' : `&continue=${encodeURIComponent(continued)}`;
    this.#ask(`${resource.path}?limit=${PAGE_OBJECTS}${more}`, (answer) => {
      if (isExpired(answer)) return this.#expired();
      // A page that did not come is asked for again; what came before it is not.
      if (!isDone(answer)) return this.#failed(answer, () => this.#page(continued, number));
      const { continue: next = '' } = fieldsOf(fieldsOf(answer.body).metadata);
      const version = resourceVersionOf(answer.body);
      if (
        version === undefined ||
        typeof next !== 'string' ||
        next.length > MAX_CONTINUE ||
        number > 2 * Math.ceil(resource.max / PAGE_OBJECTS)
      ) {
        this.#options.onTrouble(`what it answers is no list of ${resource.name}`);
        return this.#expired();
      }
      onContact();
      onEvent({ type: 'page', objects: listOf(fieldsOf(answer.body).items) });
      if (next !== '') return this.#page(next, number + 1);
      this.#hasListed = true;
      onEvent({ type: 'listed' });
      this.#goOn(version);
    });
  }

  /** The server does not know our place in its history, or in its list, any more. */
  #expired(): void {
    const { count, listSpreadMs, random } = this.#options;
    this.#failures = 0;
    this.#expiries++;
    const listMs = relistDelayMs(this.#expiries, count(), random(), listSpreadMs?.());
    if (!this.#hasListed) {
      this.#timers.after(listMs, () => this.#list());
      return;
    }
    this.#listTimer ??= this.#timers.after(listMs, () => {
      this.#isListDue = true;
      if (!this.#watching) return;
      this.#watching.cancel();
      this.#list();
    });
    this.#timers.after(retryDelayMs(this.#expiries, random()), () => this.#resume());
  }

  /** Watches from where the server is now. What was between is for the next list. */
  #resume(): void {
    this.#askOwn();
    this.#ask(`${this.#options.resource.path}?limit=1`, (answer) => {
      const version = isDone(answer) ? resourceVersionOf(answer.body) : undefined;
      if (version === undefined) this.#failed(answer, () => this.#resume());
      else this.#goOn(version);
    });
  }

  /** Watches from `version` on, or lists where it is time for that. */
  #goOn(version: string): void {
    this.#version = version;
    if (this.#isListDue) this.#list();
    else this.#watch();
  }

  #watch(): void {
    const { api, resource, clock, random, onContact } = this.#options;
    const seconds = Math.round(WATCH_SECONDS * (1 + random()));
    const query = `watch=true&allowWatchBookmarks=true&timeoutSeconds=${seconds}`;
    const path = `${resource.path}?${query}&resourceVersion=${encodeURIComponent(this.#version)}`;
    const startedAtMs = clock.now();
    const onSilence = () => end({ error: `it was silent for ${SILENCE_MS / 1000} s` });
    let silence = this.#timers.after(SILENCE_MS, onSilence);
    const end = (answer: Answer) => {
      watching.cancel();
      this.#ended(answer, clock.now() - startedAtMs);
    };
    const pending = api.watch(path, {
      line: (value) => {
        silence.cancel();
        silence = this.#timers.after(SILENCE_MS, onSilence);
        const refusal = this.#line(value);
        if (refusal) return end(refusal);
        this.#failures = 0;
        this.#expiries = 0;
        onContact();
      },
      end,
    });
    const watching: Pending = {
      cancel: () => {
        silence.cancel();
        pending.cancel();
        this.#watching = undefined;
      },
    };
    this.#watching = watching;
  }

  /** Why the watch cannot go on; undefined where it can. */
  #line(value: unknown): Answer | undefined {
    const { resource, onEvent } = this.#options;
    const { type, object } = fieldsOf(value);
    if (type === 'ERROR') {
      const { code } = fieldsOf(object);
      return { status: typeof code === 'number' ? code : 500, body: object };
    }
    const version = resourceVersionOf(object);
    if (version === undefined) return { error: `what it tells is no change of ${resource.name}` };
    if (type === 'ADDED' || type === 'MODIFIED') onEvent({ type: 'changed', object });
    else if (type === 'DELETED') onEvent({ type: 'deleted', object });
    // Only now: what could not be taken is told again.
    this.#version = version;
    return undefined;
  }

  #ended(answer: Answer, lastedMs: number): void {
    const { count, random } = this.#options;
    if (this.#isStopped) return;
    const isLasting = lastedMs >= SHORT_WATCH_MS;
    if (isLasting) this.#failures = 0;
    const next = () => this.#goOn(this.#version);
    if (isExpired(answer)) this.#expired();
    // As it should be, after minutes that each node has chosen for itself.
    else if (isLasting && isDone(answer)) next();
    else this.#failed(answer, next, this.#failures === 0 ? watchSpreadMs(count(), random()) : 0);
  }

  #ask(path: string, done: (answer: Answer) => void): void {
    const pending = this.#options.api.ask({ method: 'GET', path }, (answer) => {
      this.#pending.delete(pending);
      if (!this.#isStopped) done(answer);
    });
    this.#pending.add(pending);
  }

  /** `next` follows after the pause that the failure asks for, or `atLeastMs`. */
  #failed(answer: Answer, next: () => void, atLeastMs = 0): void {
    const { random, onTrouble } = this.#options;
    this.#failures++;
    const retryAfterMs = 'error' in answer ? undefined : answer.retryAfterMs;
    const delayMs = Math.max(atLeastMs, retryDelayMs(this.#failures, random(), retryAfterMs));
    onTrouble(isDone(answer) ? 'its answer is not what was asked for' : refusalText(answer));
    this.#timers.after(delayMs, next);
  }
}

function isDone(answer: Answer): answer is Exclude<Answer, { readonly error: string }> {
  return 'status' in answer && answer.status === 200;
}

/** 410: the server does not know that version, or that place in a list, any more. */
function isExpired(answer: Answer): boolean {
  return 'status' in answer && answer.status === 410;
}
