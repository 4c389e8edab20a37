/** What can be subscribed to, and what it is worth looking at again although nothing was said to have changed. */

/** The reports of the read model, by the name of its method. */
export const TOPICS = [
  'status',
  'peers',
  'routes',
  'pods',
  'inventory',
  'targets',
  'leases',
  'events',
] as const;
export type Topic = (typeof TOPICS)[number];

/** Topics with counters, which grow without a change being told. */
export const COUNTING_TOPICS: ReadonlySet<Topic> = new Set(['status', 'peers']);
