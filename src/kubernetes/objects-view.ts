/**
 * The objects of one kind as an API server tells of them: events go in, and whether anything is another comes out. Pure, as
 * NodesView is. While a list is not complete what was known before it stays. Of an object that cannot be read any more what was read
 * last stays, too: what is half understood opens and closes nothing.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ResourceEvent } from './resource-watch.ts';

export interface ObjectReader<T> {
  /** At most so many are kept. */
  readonly max: number;
  /** `namespace/name`, or `name`; undefined for what is no such object. */
  readonly keyOf: (object: unknown) => string | undefined;
  /** What of it is kept. 'gone': it is there, and counts no more. 'unread': it cannot be read. */
  readonly read: (object: unknown) => T | 'gone' | 'unread';
}

export class ObjectsView<T extends object> {
  readonly #reader: ObjectReader<T>;
  /** Bounded by the reader's `max`. */
  readonly #objects = new Map<string, T>();
  /** Keys in the pages of a list that is not complete. */
  #listed = new Set<string>();
  /** Those that are there and cannot be read, or were too many. Bounded as the objects are; beyond it they count as one. */
  readonly #unread = new Set<string>();
  #isComplete = false;

  constructor(reader: ObjectReader<T>) {
    this.#reader = reader;
  }

  /** Whether a list was complete once. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  get size(): number {
    return this.#objects.size;
  }

  get unread(): number {
    return this.#unread.size;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  values(): IterableIterator<T> {
    return this.#objects.values();
  }

  /** Whether anything is another than before. */
  apply(event: ResourceEvent): boolean {
    switch (event.type) {
      case 'relisting':
        this.#listed = new Set();
        return false;
      case 'page': {
        let isOther = false;
        for (const object of event.objects) isOther = this.#take(object, this.#listed) || isOther;
        return isOther;
      }
      case 'listed': {
        const gone = [...this.#objects.keys()].filter((key) => !this.#listed.has(key));
        for (const key of gone) this.#objects.delete(key);
        for (const key of this.#unread) if (!this.#listed.has(key)) this.#unread.delete(key);
        const isFirst = !this.#isComplete;
        this.#listed = new Set();
        this.#isComplete = true;
        return isFirst || gone.length > 0;
      }
      case 'changed':
        return this.#take(event.object);
      case 'deleted': {
        const key = this.#reader.keyOf(event.object);
        if (key === undefined) return false;
        this.#unread.delete(key);
        return this.#objects.delete(key);
      }
    }
  }

  #take(object: unknown, listed?: Set<string>): boolean {
    const key = this.#reader.keyOf(object) ?? '';
    const before = this.#objects.get(key);
    const isFull = before === undefined && this.#objects.size >= this.#reader.max;
    const after = key === '' || isFull ? 'unread' : this.#reader.read(object);
    if ((listed?.size ?? 0) < 2 * this.#reader.max) listed?.add(key);
    if (after === 'unread') {
      this.#unread.add(this.#unread.size < this.#reader.max ? key : '');
      return false;
    }
    this.#unread.delete(key);
    if (after === 'gone') return this.#objects.delete(key);
    if (before !== undefined && isDeepStrictEqual(before, after)) return false;
    this.#objects.set(key, after);
    return true;
  }
}
