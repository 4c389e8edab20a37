/**
 * Which free subnet a node asks for. Every node has its own order of preference, by hashing its id with the
 * subnet's number (rendezvous hashing), so that nodes that start together rarely ask for the same one, and a
 * node that lost its state asks for the one it had.
 */
import { mix } from '../membership/table-digest.ts';

/** Up to this many subnets all are weighed; in larger ranges a hashed sequence is walked. */
const WEIGH_ALL = 4096;
const HASHED_TRIES = 64;

/** A free subnet number, or undefined if all `count` are taken. */
export function preferredSubnet(
  nodeId: string,
  count: number,
  isTaken: (index: number) => boolean,
): number | undefined {
  const node = mix(Number.parseInt(nodeId.slice(0, 8), 16)) ^ Number.parseInt(nodeId.slice(8, 16), 16);
  if (count <= WEIGH_ALL) return heaviest(node, count, isTaken);
  let index = 0;
  for (let attempt = 0; attempt < HASHED_TRIES; attempt++) {
    index = hash(node, attempt) % count;
    if (!isTaken(index)) return index;
  }
  // Nearly full: on from there. There are no more taken ones than members, so this ends soon.
  for (let step = 1; step <= count; step++) {
    const next = (index + step) % count;
    if (!isTaken(next)) return next;
  }
  return undefined;
}

function heaviest(node: number, count: number, isTaken: (index: number) => boolean): number | undefined {
  let best: number | undefined;
  let bestWeight = -1;
  for (let index = 0; index < count; index++) {
    const weight = hash(node, index);
    if (weight > bestWeight && !isTaken(index)) {
      best = index;
      bestWeight = weight;
    }
  }
  return best;
}

function hash(node: number, value: number): number {
  return mix(node ^ mix(value ^ 0x5eed)) >>> 0;
}
