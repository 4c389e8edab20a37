/**
 * Where nodes stand on the map: this node in the middle, the others on rings around it in the order of their names, each
 * with its pods around it. The same cluster gives the same picture, and nothing ever overlaps: each node has a circle of its
 * own, and on a ring of radius R a circle of radius r takes an angle of 2 asin(r / R).
 */

export interface Placed {
  readonly key: string;
  readonly x: number;
  readonly y: number;
  /** Of the circle that node and pods are in. */
  readonly radius: number;
}

export interface ToPlace {
  readonly key: string;
  readonly name: string;
  readonly isSelf: boolean;
  readonly pods: number;
}

export const NODE_RADIUS = 9;
export const POD_RADIUS = 2.6;
/** Pods of one node that are drawn; of more a number is. */
export const MAX_PODS_DRAWN = 150;
const POD_STEP = 7.4;
const FIRST_POD_RING = NODE_RADIUS + 6.5;
/** Between two nodes' circles; a name has room in it. */
export const GAP = 16;
const FIRST_RING_GAP = 64;

/** Where `count` pods of a node are, from its middle: the inner ring is full before the next begins. */
export function podOffsets(count: number): { readonly x: number; readonly y: number }[] {
  const offsets: { x: number; y: number }[] = [];
  const total = Math.min(count, MAX_PODS_DRAWN);
  for (let ring = 0; offsets.length < total; ring++) {
    const radius = FIRST_POD_RING + ring * POD_STEP;
    const room = Math.floor((2 * Math.PI * radius) / POD_STEP);
    const here = Math.min(room, total - offsets.length);
    for (let i = 0; i < here; i++) {
      const angle = (2 * Math.PI * i) / here - Math.PI / 2;
      offsets.push({ x: radius * Math.cos(angle), y: radius * Math.sin(angle) });
    }
  }
  return offsets;
}

/** Of the circle that a node with so many pods takes. */
export function radiusOf(pods: number): number {
  let left = Math.min(pods, MAX_PODS_DRAWN);
  let radius = NODE_RADIUS;
  for (let ring = 0; left > 0; ring++) {
    radius = FIRST_POD_RING + ring * POD_STEP;
    left -= Math.floor((2 * Math.PI * radius) / POD_STEP);
  }
  return radius + POD_RADIUS + 2;
}

export function layout(nodes: readonly ToPlace[]): Placed[] {
  const self = nodes.find(({ isSelf }) => isSelf);
  const others = nodes
    .filter((node) => node !== self)
    .map(({ key, name, pods }) => ({ key, name, radius: radiusOf(pods) }))
    .sort((a, b) => compare(a.name, b.name) || compare(a.key, b.key));
  const placed: Placed[] = [];
  const inner = self ? radiusOf(self.pods) : 0;
  if (self) placed.push({ key: self.key, x: 0, y: 0, radius: inner });
  let edge = inner;
  for (let next = 0; next < others.length; ) {
    const widest = Math.max(...others.slice(next).map(({ radius }) => radius));
    const ring = edge + widest + (next === 0 ? FIRST_RING_GAP : GAP);
    const angles: number[] = [];
    let used = 0;
    while (next + angles.length < others.length) {
      const angle = 2 * Math.asin(Math.min(1, (others[next + angles.length]!.radius + GAP / 2) / ring));
      if (used + angle > 2 * Math.PI && angles.length > 0) break;
      used += angle;
      angles.push(angle);
    }
    // What is left over is shared out, so that a ring is never half empty.
    const spare = (2 * Math.PI - used) / angles.length;
    let angle = angles.length === 1 ? 0 : -Math.PI / 2 - (angles.length === 2 ? Math.PI / 2 : 0);
    for (const [i, width] of angles.entries()) {
      const { key, radius } = others[next + i]!;
      if (i > 0) angle += (width + spare) / 2;
      placed.push({ key, x: ring * Math.cos(angle), y: ring * Math.sin(angle), radius });
      angle += (width + spare) / 2;
    }
    next += angles.length;
    edge = ring + widest;
  }
  return placed;
}

/** The rectangle around all of it. */
export function boundsOf(placed: readonly Placed[]): {
  readonly width: number;
  readonly height: number;
  readonly x: number;
  readonly y: number;
} {
  if (placed.length === 0) return { x: -1, y: -1, width: 2, height: 2 };
  const left = Math.min(...placed.map(({ x, radius }) => x - radius));
  const right = Math.max(...placed.map(({ x, radius }) => x + radius));
  const top = Math.min(...placed.map(({ y, radius }) => y - radius));
  const bottom = Math.max(...placed.map(({ y, radius }) => y + radius));
  return { x: left, y: top, width: right - left, height: bottom - top };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
