/** What is drawn of the map, from behind to the front: links, pods, nodes, texts. Each colour is one path, however many there are. */
import type { ForeignLink } from '../model/foreign-links.ts';
import { byteRate } from '../model/format.ts';
import { GAP, NODE_RADIUS, type Placed, POD_RADIUS } from '../model/layout.ts';
import type { Health, NodeView } from '../model/nodes.ts';

export interface Spot {
  node: NodeView;
  /** Where it is drawn just now, on its way to where it belongs. */
  x: number;
  y: number;
  target: Placed;
  offsets: readonly { readonly x: number; readonly y: number }[];
}

export interface Picture {
  /** In the map's own measure. */
  readonly context: CanvasRenderingContext2D;
  readonly spots: readonly Spot[];
  readonly byKey: ReadonlyMap<string, Spot>;
  readonly foreign: readonly ForeignLink[];
  /** By the names of the style sheet. */
  readonly colours: Readonly<Record<string, string>>;
  /** Pixels of the screen for one of the map. */
  readonly scale: number;
  readonly highlighted: string | undefined;
}

export const HEALTHS: readonly Health[] = ['well', 'static', 'left', 'suspect', 'cut', 'dead'];
/** Of a character of a name, about. */
const CHARACTER_PIXELS = 6.2;
/** So many that links would be a carpet. */
const CROWD = 40;

export function drawMap(picture: Picture): void {
  const drawing = new Drawing(picture);
  drawing.foreignLinks();
  drawing.links();
  drawing.pods();
  drawing.nodes();
  drawing.texts();
}

class Drawing {
  readonly #picture: Picture;

  constructor(picture: Picture) {
    this.#picture = picture;
  }

  foreignLinks(): void {
    const context = this.#picture.context;
    for (const isSealed of [true, false]) {
      context.strokeStyle = this.#picture.colours[isSealed ? 'sealed' : 'clear']!;
      context.setLineDash(isSealed ? [] : [7, 4]);
      for (const { a, b, rate, isSealed: is } of this.#picture.foreign) {
        const [from, to] = [this.#picture.byKey.get(a), this.#picture.byKey.get(b)];
        if (is !== isSealed || !from || !to || isGone(from) || isGone(to)) continue;
        context.globalAlpha = 0.45 * this.#alphaOf(a, b);
        context.lineWidth = widthOf(rate) / (2 * Math.max(1, this.#picture.scale));
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

  links(): void {
    const context = this.#picture.context;
    const self = this.#picture.spots.find(({ node }) => node.isSelf);
    if (!self) return;
    context.lineCap = 'butt';
    const isCrowded = this.#picture.spots.length > CROWD;
    for (const spot of this.#picture.spots) {
      if (spot === self) continue;
      const { node } = spot;
      const isDown = node.health === 'dead' || node.health === 'left' || node.health === 'cut';
      const rate = node.rate.outbound + node.rate.inbound;
      context.strokeStyle = this.#picture.colours[isDown ? `health-${node.health}` : node.sealing!]!;
      context.globalAlpha = this.#alphaOf(node.key) * (rate > 0 || isDown ? (isCrowded ? 0.5 : 0.85) : 0.35);
      // Of the screen, not of the map: a zoom shows more and not the same in large.
      context.lineWidth = widthOf(rate) / (isCrowded ? 2 : Math.max(1, this.#picture.scale));
      context.setLineDash(isDown ? [1.5, 4] : node.sealing === 'clear' ? [7, 4] : []);
      context.beginPath();
      context.moveTo(self.x, self.y);
      context.lineTo(spot.x, spot.y);
      context.stroke();
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  pods(): void {
    const context = this.#picture.context;
    // Where they would be less than a pixel, a ring stands for all of them.
    const isFine = this.#picture.scale * POD_RADIUS > 0.45;
    for (const isGone of [false, true]) {
      context.fillStyle = this.#picture.colours[isGone ? 'health-left' : 'pod']!;
      context.strokeStyle = context.fillStyle;
      context.lineWidth = 2 * POD_RADIUS;
      context.beginPath();
      for (const { node, x, y, offsets, target } of this.#picture.spots) {
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

  nodes(): void {
    const context = this.#picture.context;
    for (const health of HEALTHS) {
      context.fillStyle = this.#picture.colours[`health-${health}`]!;
      context.beginPath();
      for (const { node, x, y } of this.#picture.spots) {
        if (node.health !== health) continue;
        context.moveTo(x + NODE_RADIUS, y);
        context.arc(x, y, NODE_RADIUS, 0, 2 * Math.PI);
      }
      context.fill();
    }
    // What is wrong has a shape too: a bar for suspect, a cross for what cannot be reached.
    context.strokeStyle = this.#picture.colours.card!;
    context.lineWidth = 2.2;
    context.lineCap = 'round';
    context.beginPath();
    for (const { node, x, y } of this.#picture.spots) {
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
    for (const { node, x, y, target } of this.#picture.spots) {
      if (!node.isSelf && node.key !== this.#picture.highlighted) continue;
      context.strokeStyle = this.#picture.colours[node.isSelf ? 'accent' : 'ink']!;
      context.lineWidth = 1.6;
      context.beginPath();
      context.arc(x, y, node.isSelf ? NODE_RADIUS + 3 : target.radius, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  texts(): void {
    const context = this.#picture.context;
    const size = 11.5 / this.#picture.scale;
    context.textAlign = 'center';
    context.textBaseline = 'top';
    context.font = `${size}px system-ui, sans-serif`;
    context.lineJoin = 'round';
    context.lineWidth = 3.5 / this.#picture.scale;
    context.strokeStyle = this.#picture.colours.card!;
    const self = this.#picture.spots.find(({ node }) => node.isSelf);
    const isSpacious = this.#picture.spots.length <= 14 || this.#picture.scale > 1.6;
    for (const spot of this.#picture.spots) {
      const { node, x, y, target, offsets } = spot;
      const isHighlighted = node.key === this.#picture.highlighted;
      if (self && spot !== self && (isSpacious || isHighlighted)) this.#drawRate(self, spot, size);
      // No wider than from the middle of one node to that of the next.
      const isRoomy = (2 * target.radius + GAP) * this.#picture.scale > node.name.length * CHARACTER_PIXELS;
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
    const context = this.#picture.context;
    const width = Math.max(...texts.map((text) => context.measureText(text).width)) + size;
    context.fillStyle = this.#picture.colours.card!;
    context.beginPath();
    context.roundRect(textX - width / 2, textY - size * 1.4, width, size * 2.9, size * 0.4);
    context.fill();
    for (const [i, text] of texts.entries())
      this.#text(text, textX, textY + size * (1.2 * i - 1.15), 'quiet');
  }

  #text(text: string, x: number, y: number, name: string): void {
    this.#picture.context.strokeText(text, x, y);
    this.#picture.context.fillStyle = this.#picture.colours[name]!;
    this.#picture.context.fillText(text, x, y);
  }

  #alphaOf(...keys: readonly string[]): number {
    return this.#picture.highlighted === undefined || keys.includes(this.#picture.highlighted) ? 1 : 0.45;
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
