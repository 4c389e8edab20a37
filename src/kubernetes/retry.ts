/**
 * When an API server is asked again. All nodes of a cluster ask one server, and lose it in the same moment: so every pause has
 * a random part, and what costs the server much is spread over a time that grows with the cluster.
 */

const FIRST_MS = 500;
const LAST_MS = 30_000;
/** Of whole lists. */
const LAST_LIST_MS = 300_000;
const MAX_SPREAD_MS = 1_200_000;
/** A server that asks for a longer pause is asked after this all the same. */
const MAX_RETRY_AFTER_MS = 120_000;

/** `random`: from 0 up to 1. The first failure is number 1. */
export function retryDelayMs(failures: number, random: number, retryAfterMs = 0): number {
  return Math.max(
    grown(failures, LAST_MS) * (0.5 + random),
    Math.min(retryAfterMs, MAX_RETRY_AFTER_MS) * (1 + random / 2),
  );
}

/** Before a watch is begun again that many nodes have lost at once: 10,000 of them within 11 s. */
export function watchSpreadMs(nodes: number, random: number): number {
  return random * Math.min(20_000, 500 + nodes);
}

/**
 * Before all nodes are listed again, which costs some 40 requests of 250 nodes each for 10,000: that many agents do so within 17
 * minutes, ten in 2 s; and ever later where lists do not help.
 */
export function relistDelayMs(
  expiries: number,
  nodes: number,
  random: number,
  spreadMs = 1000 + 100 * nodes,
): number {
  return Math.max(random * Math.min(MAX_SPREAD_MS, spreadMs), grown(expiries, LAST_LIST_MS) * (0.5 + random));
}

/**
 * The same of what costs each of `nodes` agents `pages` requests, and is missed sooner, such as policies: 200 requests in a second. A
 * hundred agents list 1,000 policies within 3 s and 10,000 pods within 21 s.
 */
export function listSpreadMs(nodes: number, pages: number): number {
  return 1000 + 5 * nodes * pages;
}

function grown(failures: number, lastMs: number): number {
  return Math.min(lastMs, FIRST_MS * 2 ** Math.min(failures - 1, 16));
}
