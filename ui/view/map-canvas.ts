/**
 * Draws the map on a canvas: thousands of things would be too many elements for a browser to keep. A frame is drawn only when
 * something is to be seen that was not before. How long the script of a frame takes is measured, always, and stands in the
 * canvas's `data-frame-ms` (mean) and `data-frame-most-ms` (most) of the last 120.
 */

import type { ForeignLink } from '../model/foreign-links.ts';
import { byteRate } from '../model/format.ts';
import {
  boundsOf,
  GAP,
  layout,
  MAX_PODS_DRAWN,
  NODE_RADIUS,
  type Placed,
  POD_RADIUS,
  podOffsets,
} from '../model/layout.ts';
import type { Health, NodeView } from '../model/nodes.ts';
import { colour } from './theme.ts';

export type Hit = { readonly node: NodeView; readonly pod: number | undefined } | undefined;

interface Spot {
  node: NodeView;
  /** Where it is drawn just now, on its way to where it belongs. */
  x: number;
  y: number;
  target: Placed;
  offsets: readonly { readonly x: number; readonly y: number }[];
}

const MEASURED_FRAMES = 120;
const MARGIN = 26;
const [LEAST_SCALE, MOST_SCALE] = [0.05, 8];
/** A step of a frame towards where a node belongs. */
const EASE = 0.22;
const HEALTHS: readonly Health[] = ['well', 'static', 'left', 'suspect', 'cut', 'dead'];
/** Of a character of a name, about. */
const CHARACTER_PIXELS = 6.2;
/** So many that links would be a carpet. */
const CROWD = 40;

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
    this.#drawForeignLinks();
    this.#drawLinks();
    this.#drawPods();
    this.#drawNodes();
    this.#drawTexts();
  }

  #drawForeignLinks(): void {
    const context = this.#context;
    for (const isSealed of [true, false]) {
      context.strokeStyle = this.#colours[isSealed ? 'sealed' : 'clear']!;
      context.setLineDash(isSealed ? [] : [7, 4]);
      for (const { a, b, rate, isSealed: is } of this.#foreign) {
        const [from, to] = [this.#byKey.get(a), this.#byKey.get(b)];
        if (is !== isSealed || !from || !to || isGone(from) || isGone(to)) continue;
        context.globalAlpha = 0.45 * this.#alphaOf(a, b);
        context.lineWidth = widthOf(rate) / (2 * Math.max(1, this.#scale));
        context.beginPath();
        context.moveTo(from.x, from.y);
        const { x, y } = bend(from, to);
        context.quadraticCurveTo(x, y, to.x, to.y);
        context.stroke();
      }
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  #drawLinks(): void {
    const context = this.#context;
    const self = this.#spots.find(({ node }) => node.isSelf);
    if (!self) return;
    context.lineCap = 'butt';
    const isCrowded = this.#spots.length > CROWD;
    for (const spot of this.#spots) {
      if (spot === self) continue;
      const { node } = spot;
      const isDown = node.health === 'dead' || node.health === 'left' || node.health === 'cut';
      const rate = node.rate.outbound + node.rate.inbound;
      context.strokeStyle = this.#colours[isDown ? `health-${node.health}` : node.sealing!]!;
      context.globalAlpha = this.#alphaOf(node.key) * (rate > 0 || isDown ? (isCrowded ? 0.5 : 0.85) : 0.35);
      // Of the screen, not of the map: a zoom shows more and not the same in large.
      context.lineWidth = widthOf(rate) / (isCrowded ? 2 : Math.max(1, this.#scale));
      context.setLineDash(isDown ? [1.5, 4] : node.sealing === 'clear' ? [7, 4] : []);
      context.beginPath();
      context.moveTo(self.x, self.y);
      context.lineTo(spot.x, spot.y);
      context.stroke();
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  #drawPods(): void {
    const context = this.#context;
    // Where they would be less than a pixel, a ring stands for all of them.
    const isFine = this.#scale * POD_RADIUS > 0.45;
    for (const isGone of [false, true]) {
      context.fillStyle = this.#colours[isGone ? 'health-left' : 'pod']!;
      context.strokeStyle = context.fillStyle;
      context.lineWidth = 2 * POD_RADIUS;
      context.beginPath();
      for (const { node, x, y, offsets, target } of this.#spots) {
        if ((node.health === 'dead' || node.health === 'left') !== isGone || offsets.length === 0) continue;
        if (!isFine) {
          context.moveTo(x + target.radius - 4, y);
          context.arc(x, y, target.radius - 4, 0, 2 * Math.PI);
          continue;
        }
        for (const offset of offsets) {
          context.moveTo(x + offset.x + POD_RADIUS, y + offset.y);
          context.arc(x + offset.x, y + offset.y, POD_RADIUS, 0, 2 * Math.PI);
        }
      }
      if (isFine) context.fill();
      else {
        context.globalAlpha = 0.35;
        context.stroke();
        context.globalAlpha = 1;
      }
    }
  }

  #drawNodes(): void {
    const context = this.#context;
    for (const health of HEALTHS) {
      context.fillStyle = this.#colours[`health-${health}`]!;
      context.beginPath();
      for (const { node, x, y } of this.#spots) {
        if (node.health !== health) continue;
        context.moveTo(x + NODE_RADIUS, y);
        context.arc(x, y, NODE_RADIUS, 0, 2 * Math.PI);
      }
      context.fill();
    }
    // What is wrong has a shape too: a bar for suspect, a cross for what cannot be reached.
    context.strokeStyle = this.#colours.card!;
    context.lineWidth = 2.2;
    context.lineCap = 'round';
    context.beginPath();
    for (const { node, x, y } of this.#spots) {
      if (node.health === 'suspect') {
        context.moveTo(x, y - 4);
        context.lineTo(x, y + 1.2);
        context.moveTo(x, y + 4.6);
        context.lineTo(x, y + 4.7);
      } else if (node.health === 'dead' || node.health === 'cut') {
        context.moveTo(x - 3.4, y - 3.4);
        context.lineTo(x + 3.4, y + 3.4);
        context.moveTo(x + 3.4, y - 3.4);
        context.lineTo(x - 3.4, y + 3.4);
      }
    }
    context.stroke();
    for (const { node, x, y, target } of this.#spots) {
      if (!node.isSelf && node.key !== this.#highlighted) continue;
      context.strokeStyle = this.#colours[node.isSelf ? 'accent' : 'ink']!;
      context.lineWidth = 1.6;
      context.beginPath();
      context.arc(x, y, node.isSelf ? NODE_RADIUS + 3 : target.radius, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  #drawTexts(): void {
    const context = this.#context;
    const size = 11.5 / this.#scale;
    context.textAlign = 'center';
    context.textBaseline = 'top';
    context.font = `${size}px system-ui, sans-serif`;
    context.lineJoin = 'round';
    context.lineWidth = 3.5 / this.#scale;
    context.strokeStyle = this.#colours.card!;
    const self = this.#spots.find(({ node }) => node.isSelf);
    const isSpacious = this.#spots.length <= 14 || this.#scale > 1.6;
    for (const spot of this.#spots) {
      const { node, x, y, target, offsets } = spot;
      const isHighlighted = node.key === this.#highlighted;
      if (self && spot !== self && (isSpacious || isHighlighted)) this.#drawRate(self, spot, size);
      // No wider than from the middle of one node to that of the next.
      const isRoomy = (2 * target.radius + GAP) * this.#scale > node.name.length * CHARACTER_PIXELS;
      if (!isRoomy && !isHighlighted && !node.isSelf) continue;
      const hidden = node.pods.length - offsets.length;
      this.#text(hidden > 0 ? `${node.name} (+${hidden})` : node.name, x, y + target.radius - 1, 'ink');
    }
  }

  #drawRate(self: Spot, { node, x, y }: Spot, size: number): void {
    const { outbound, inbound } = node.rate;
    if (outbound + inbound < 1) return;
    const part = 0.52;
    const [textX, textY] = [self.x + (x - self.x) * part, self.y + (y - self.y) * part];
    const texts = [`to ${byteRate(outbound)}`, `from ${byteRate(inbound)}`];
    const context = this.#context;
    const width = Math.max(...texts.map((text) => context.measureText(text).width)) + size;
    context.fillStyle = this.#colours.card!;
    context.beginPath();
    context.roundRect(textX - width / 2, textY - size * 1.4, width, size * 2.9, size * 0.4);
    context.fill();
    for (const [i, text] of texts.entries())
      this.#text(text, textX, textY + size * (1.2 * i - 1.15), 'quiet');
  }

  #text(text: string, x: number, y: number, name: string): void {
    this.#context.strokeText(text, x, y);
    this.#context.fillStyle = this.#colours[name]!;
    this.#context.fillText(text, x, y);
  }

  #alphaOf(...keys: readonly string[]): number {
    return this.#highlighted === undefined || keys.includes(this.#highlighted) ? 1 : 0.45;
  }
}

/** What others said of its links before that is no more so. */
function isGone({ node: { health } }: Spot): boolean {
  return health === 'dead' || health === 'left';
}

/** Away from the middle, where this node and its own links are. */
function bend(from: Spot, to: Spot): { readonly x: number; readonly y: number } {
  const [x, y] = [(from.x + to.x) / 2, (from.y + to.y) / 2];
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const out = Math.hypot(x, y);
  const by = 0.4 * Math.hypot(dx, dy);
  // Right through the middle: to one side.
  if (out < 1) return { x: x - 0.4 * dy, y: y + 0.4 * dx };
  return { x: x + (x / out) * by, y: y + (y / out) * by };
}

/** From a hair for nothing to a band for 1 GB/s. */
function widthOf(bytesPerSecond: number): number {
  return bytesPerSecond < 1 ? 0.8 : 1 + Math.max(0, Math.log10(bytesPerSecond / 100)) * 0.75;
}
