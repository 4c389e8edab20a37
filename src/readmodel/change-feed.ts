/** Tells subscribers what changed, at most once per turn of the event loop, and numbers the changes. */
import type { Topic } from './topics.ts';

export interface Change {
  /** Those of the subscribed topics that may have changed. */
  readonly topics: readonly Topic[];
  /** Of the latest change. */
  readonly version: number;
}

export type ChangeListener = (change: Change) => void;

interface Subscriber {
  readonly topics: ReadonlySet<Topic>;
  readonly listener: ChangeListener;
}

export class ChangeFeed {
  /** Bounded by the streams that the control socket allows, and what the agent itself subscribes. */
  readonly #subscribers = new Set<Subscriber>();
  #changed = new Set<Topic>();
  #version = 0;
  #due: NodeJS.Immediate | undefined;
  #isClosed = false;

  get version(): number {
    return this.#version;
  }

  touch(topics: readonly Topic[]): void {
    if (this.#isClosed) return;
    this.#version++;
    for (const topic of topics) this.#changed.add(topic);
    this.#due ??= setImmediate(() => this.#tell());
  }

  subscribe(topics: readonly Topic[], listener: ChangeListener): () => void {
    const subscriber: Subscriber = { topics: new Set(topics), listener };
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  }

  close(): void {
    this.#isClosed = true;
    clearImmediate(this.#due);
    this.#subscribers.clear();
  }

  #tell(): void {
    this.#due = undefined;
    const changed = this.#changed;
    this.#changed = new Set();
    // A listener may end subscriptions, its own or another's.
    for (const subscriber of [...this.#subscribers]) {
      const topics = [...changed].filter((topic) => subscriber.topics.has(topic));
      if (topics.length === 0 || !this.#subscribers.has(subscriber)) continue;
      subscriber.listener({ topics, version: this.#version });
    }
  }
}
