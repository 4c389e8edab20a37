/** What happened in the cluster, as a person would tell it: the latest of it, bounded in number. */

export type EventKind =
  | 'joined'
  | 'suspect'
  | 'died'
  | 'recovered'
  | 'left'
  | 'forgotten'
  | 'moved'
  | 'repaired'
  | 'rekeyed'
  | 'offload-off'
  | 'offload-on';

export interface ClusterEvent {
  /** Grows by one with each event; begins anew with the agent. */
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly timeMs: number;
  readonly kind: EventKind;
  /** Id of the node that it is about: this node's own for what happened here. */
  readonly nodeId: string;
  /** Its name then. */
  readonly node: string;
  /** Such as the new address, the kind of what was put back, the offload. */
  readonly detail?: string;
  /** `rekeyed`: with how many more nodes at the same time. */
  readonly others?: number;
}

/** Of all but new keys. */
const MAX_EVENTS = 400;
/** Keys are new every two minutes with every peer: they may not push out the rest. */
const MAX_REKEYED = 100;

export class EventLog {
  /** MAX_EVENTS, oldest first. */
  readonly #events: ClusterEvent[] = [];
  /** MAX_REKEYED, oldest first. */
  readonly #rekeyed: ClusterEvent[] = [];
  #number = 0;

  add(event: Omit<ClusterEvent, 'number'>): void {
    const [list, limit] =
      event.kind === 'rekeyed' ? [this.#rekeyed, MAX_REKEYED] : [this.#events, MAX_EVENTS];
    list.push({ number: ++this.#number, ...event });
    if (list.length > limit) list.shift();
  }

  /** Newest first. */
  list(): ClusterEvent[] {
    return [...this.#events, ...this.#rekeyed].sort((a, b) => b.number - a.number);
  }
}
