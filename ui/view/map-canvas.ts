/**
 * Draws the map on a canvas: thousands of things would be too many elements for a browser to keep. A frame is drawn only when
 * something is to be seen that was not before. How long the script of a frame takes is measured, always, and stands in the
 * canvas's `data-frame-ms` (mean) and `data-frame-most-ms` (most) of the last 120.
 */

import type { ForeignLink } from '../model/foreign-links.ts';
import { boundsOf, layout, MAX_PODS_DRAWN, NODE_RADIUS, POD_RADIUS, podOffsets } from '../model/layout.ts';
import type { NodeView } from '../model/nodes.ts';
import { drawMap, HEALTHS, type Spot } from './map-drawing.ts';
import { colour } from './theme.ts';

export type Hit = { readonly node: NodeView; readonly pod: number | undefined } | undefined;

const MEASURED_FRAMES = 120;
const MARGIN = 26;
const [LEAST_SCALE, MOST_SCALE] = [0.05, 8];
/** A step of a frame towards where a node belongs. */
const EASE = 0.22;

export class MapCanvas {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  #spots: Spot[] = [];
  #byKey = new Map<string, Spot>();
  #foreign: readonly ForeignLink[] = [];
  #scale = 1;
  #centre = { x: 0, y: 0 };
  #isFitted = true;
  #frame: number | undefined;
  #colours: Record<string, string> = {};
  #highlighted: string | undefined;
  #size = { width: 0, height: 0 };
  readonly #frameMs: number[] = [];
  #frames = 0;
  readonly #isStill: boolean;

  constructor(canvas: HTMLCanvasElement, isStill: boolean) {
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d')!;
    this.#isStill = isStill;
    this.takeColours();
  }

  takeColours(): void {
    const names = ['ink', 'quiet', 'card', 'hairline', 'sealed', 'idle', 'clear', 'pod', 'accent'];
    const all = [...names, ...HEALTHS.map((health) => `health-${health}`)];
    this.#colours = Object.fromEntries(all.map((name) => [name, colour(`--${name}`)]));
    this.#redraw();
  }

  /** Between other nodes. */
  showLinks(links: readonly ForeignLink[]): void {
    this.#foreign = links;
    this.#redraw();
  }

  show(nodes: readonly NodeView[]): void {
    const placed = layout(
      nodes.map(({ key, name, isSelf, pods }) => ({ key, name, isSelf, pods: pods.length })),
    );
    const targets = new Map(placed.map((one) => [one.key, one]));
    const before = this.#byKey;
    this.#spots = nodes.map((node) => {
      const target = targets.get(node.key)!;
      const old = before.get(node.key);
      const isSame = old?.offsets.length === Math.min(node.pods.length, MAX_PODS_DRAWN);
      return {
        node,
        x: old && !this.#isStill ? old.x : target.x,
        y: old && !this.#isStill ? old.y : target.y,
        target,
        offsets: isSame ? old!.offsets : podOffsets(node.pods.length),
      };
    });
    this.#byKey = new Map(this.#spots.map((spot) => [spot.node.key, spot]));
    if (this.#isFitted) this.#fit();
    this.#redraw();
  }

  resize(width: number, height: number): void {
    const ratio = devicePixelRatio || 1;
    this.#size = { width, height };
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    if (this.#isFitted) this.#fit();
    this.#redraw();
  }

  fit(): void {
    this.#isFitted = true;
    this.#fit();
    this.#redraw();
  }

  /** `x`, `y`: what stays where it is, in pixels; default: the middle. */
  zoom(factor: number, x = this.#size.width / 2, y = this.#size.height / 2): void {
    const before = this.#toMap(x, y);
    this.#scale = Math.min(MOST_SCALE, Math.max(LEAST_SCALE, this.#scale * factor));
    const after = this.#toMap(x, y);
    this.#move(before.x - after.x, before.y - after.y);
  }

  /** In pixels. */
  pan(x: number, y: number): void {
    this.#move(-x / this.#scale, -y / this.#scale);
  }

  highlight(key: string | undefined): void {
    if (key === this.#highlighted) return;
    this.#highlighted = key;
    this.#redraw();
  }

  /** What is at a point, in pixels. */
  at(x: number, y: number): Hit {
    const point = this.#toMap(x, y);
    for (const { node, x: nodeX, y: nodeY, target, offsets } of this.#spots) {
      const [dx, dy] = [point.x - nodeX, point.y - nodeY];
      const distance = Math.hypot(dx, dy);
      if (distance > target.radius) continue;
      if (distance <= NODE_RADIUS + 2) return { node, pod: undefined };
      const pod = offsets.findIndex((one) => Math.hypot(one.x - dx, one.y - dy) <= POD_RADIUS + 1.2);
      return { node, pod: pod < 0 ? undefined : pod };
    }
    return undefined;
  }

  close(): void {
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
  }

  #move(x: number, y: number): void {
    this.#isFitted = false;
    this.#centre = { x: this.#centre.x + x, y: this.#centre.y + y };
    this.#redraw();
  }

  #fit(): void {
    const { x, y, width, height } = boundsOf(this.#spots.map(({ target }) => target));
    const { width: across, height: down } = this.#size;
    const scale = Math.min((across - 2 * MARGIN) / width, (down - 2 * MARGIN) / height, 1.8);
    this.#scale = Math.min(MOST_SCALE, Math.max(LEAST_SCALE, scale));
    this.#centre = { x: x + width / 2, y: y + height / 2 };
  }

  #toMap(x: number, y: number): { readonly x: number; readonly y: number } {
    return {
      x: (x - this.#size.width / 2) / this.#scale + this.#centre.x,
      y: (y - this.#size.height / 2) / this.#scale + this.#centre.y,
    };
  }

  #redraw(): void {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      const start = performance.now();
      const isMoving = this.#step();
      this.#draw();
      this.#measured(performance.now() - start);
      if (isMoving) this.#redraw();
    });
  }

  #measured(durationMs: number): void {
    this.#frameMs[this.#frames++ % MEASURED_FRAMES] = durationMs;
    const { dataset } = this.#canvas;
    dataset.frames = String(this.#frames);
    dataset.frameMs = (this.#frameMs.reduce((sum, one) => sum + one, 0) / this.#frameMs.length).toFixed(3);
    dataset.frameMostMs = Math.max(...this.#frameMs).toFixed(3);
  }

  /** Whether anything is still on its way. */
  #step(): boolean {
    let isMoving = false;
    for (const spot of this.#spots) {
      const [dx, dy] = [spot.target.x - spot.x, spot.target.y - spot.y];
      if (Math.abs(dx) + Math.abs(dy) < 0.3) {
        spot.x = spot.target.x;
        spot.y = spot.target.y;
      } else {
        spot.x += dx * EASE;
        spot.y += dy * EASE;
        isMoving = true;
      }
    }
    return isMoving;
  }

  #draw(): void {
    const context = this.#context;
    const ratio = devicePixelRatio || 1;
    const { width, height } = this.#size;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.translate(width / 2, height / 2);
    context.scale(this.#scale, this.#scale);
    context.translate(-this.#centre.x, -this.#centre.y);
    drawMap({
      context,
      spots: this.#spots,
      byKey: this.#byKey,
      foreign: this.#foreign,
      colours: this.#colours,
      scale: this.#scale,
      highlighted: this.#highlighted,
    });
  }
}
