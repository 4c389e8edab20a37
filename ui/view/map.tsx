/** The cluster as a live map, and as a table beside it that says the same to who cannot see the map. */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { type ForeignLink, foreignLinks } from '../model/foreign-links.ts';
import { byteRate, plural } from '../model/format.ts';
import { type NodeView, SEALING_TEXT } from '../model/nodes.ts';
import { formatRoute } from '../model/routes.ts';
import type { State } from '../model/state.ts';
import { type Hit, MapCanvas } from './map-canvas.ts';
import { HealthMark, NodeLink, TableFrame } from './parts.tsx';
import { onThemeChange } from './theme.ts';

const PAN_PIXELS = 60;
const ZOOM = 1.3;
/** Less is a click and no drag. */
const DRAG_PIXELS = 4;

export function MapView({ state, nodes }: { state: State; nodes: readonly NodeView[] }) {
  const [highlighted, setHighlighted] = useState<string | undefined>(undefined);
  const pods = nodes.reduce((sum, node) => sum + node.pods.length, 0);
  const { alive, suspect, dead } = state.status!.cluster.members;
  const own = nodes[0];
  const links = useMemo(() => foreignLinks(state.links, own?.key), [state.links, own?.key]);
  return (
    <>
      <h1 class="for-readers">Map of the cluster</h1>
      <div class="map-page">
        <section class="card map-card" aria-label="Map">
          <MapArea nodes={nodes} links={links} highlighted={highlighted} onHighlight={setHighlighted} />
          <Legend nodes={nodes} links={links} />
        </section>
        <section class="card map-side" aria-label="Nodes">
          <p class="tally">
            <strong>{alive}</strong> alive{suspect > 0 && <span class="warn"> · {suspect} suspect</span>}
            {dead > 0 && <span class="bad"> · {dead} dead</span>} · {plural(pods, 'pod')} ·{' '}
            {byteRate(own?.rate.outbound ?? 0)} out, {byteRate(own?.rate.inbound ?? 0)} in
          </p>
          <TableFrame label="Nodes of the cluster">
            <table class="nodes">
              <thead>
                <tr>
                  <th scope="col">node</th>
                  <th scope="col">state</th>
                  <th scope="col" class="number">
                    pods
                  </th>
                  <th scope="col" class="number">
                    to it
                  </th>
                  <th scope="col" class="number">
                    from it
                  </th>
                </tr>
              </thead>
              <tbody>
                {nodes.map((node) => (
                  <Row
                    key={node.key}
                    node={node}
                    onHighlight={setHighlighted}
                    isHighlighted={node.key === highlighted}
                  />
                ))}
              </tbody>
            </table>
          </TableFrame>
        </section>
      </div>
    </>
  );
}

interface RowProps {
  readonly node: NodeView;
  readonly isHighlighted: boolean;
  readonly onHighlight: (key: string | undefined) => void;
}

function Row({ node, isHighlighted, onHighlight }: RowProps) {
  const { key, sealing, isSelf, rate, pods } = node;
  return (
    <tr
      class={isHighlighted ? 'highlighted' : undefined}
      onMouseEnter={() => onHighlight(key)}
      onMouseLeave={() => onHighlight(undefined)}
      onFocusCapture={() => onHighlight(key)}
      onBlurCapture={() => onHighlight(undefined)}
    >
      <th scope="row">
        <NodeLink node={node} />
      </th>
      <td>
        <HealthMark node={node} />
        {sealing && node.health === 'well' && <span class={`seal ${sealing}`}>{SEALING_TEXT[sealing]}</span>}
      </td>
      <td class="number">{pods.length}</td>
      <td class="number">{isSelf ? '' : byteRate(rate.outbound)}</td>
      <td class="number">{isSelf ? '' : byteRate(rate.inbound)}</td>
    </tr>
  );
}

interface AreaProps {
  readonly nodes: readonly NodeView[];
  readonly links: readonly ForeignLink[];
  readonly highlighted: string | undefined;
  readonly onHighlight: (key: string | undefined) => void;
}

function MapArea({ nodes, links, highlighted, onHighlight }: AreaProps) {
  const place = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const map = useRef<MapCanvas | undefined>(undefined);
  const drag = useRef<{ x: number; y: number; isDrag: boolean } | undefined>(undefined);
  const [hit, setHit] = useState<{
    readonly hit: NonNullable<Hit>;
    readonly x: number;
    readonly y: number;
  }>();

  useEffect(() => {
    const element = place.current!;
    const made = new MapCanvas(canvas.current!, matchMedia('(prefers-reduced-motion: reduce)').matches);
    map.current = made;
    const resized = new ResizeObserver(() => made.resize(element.clientWidth, element.clientHeight));
    resized.observe(element);
    made.resize(element.clientWidth, element.clientHeight);
    const off = onThemeChange(() => made.takeColours());
    const onWheel = (event: WheelEvent) => {
      event.preventDefault();
      const { x, y } = pointOf(event, element);
      made.zoom(ZOOM ** (-event.deltaY / 120), x, y);
    };
    element.addEventListener('wheel', onWheel, { passive: false });
    return () => {
      element.removeEventListener('wheel', onWheel);
      resized.disconnect();
      off();
      made.close();
    };
  }, []);
  useEffect(() => map.current?.show(nodes), [nodes]);
  useEffect(() => map.current?.showLinks(links), [links]);
  useEffect(() => map.current?.highlight(highlighted), [highlighted]);

  const onPointerMove = (event: PointerEvent) => {
    const { x, y } = pointOf(event, place.current!);
    const from = drag.current;
    if (from) {
      from.isDrag ||= Math.hypot(x - from.x, y - from.y) > DRAG_PIXELS;
      if (!from.isDrag) return;
      map.current?.pan(x - from.x, y - from.y);
      drag.current = { x, y, isDrag: true };
      setHit(undefined);
      return;
    }
    const found = map.current?.at(x, y);
    onHighlight(found?.node.key);
    setHit(found && { hit: found, x, y });
  };
  const onPointerUp = (event: PointerEvent) => {
    const from = drag.current;
    drag.current = undefined;
    if (!from || from.isDrag) return;
    const { x, y } = pointOf(event, place.current!);
    const found = map.current?.at(x, y);
    if (found) location.hash = hrefOf(found);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const made = map.current;
    if (!made || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'ArrowLeft') made.pan(PAN_PIXELS, 0);
    else if (event.key === 'ArrowRight') made.pan(-PAN_PIXELS, 0);
    else if (event.key === 'ArrowUp') made.pan(0, PAN_PIXELS);
    else if (event.key === 'ArrowDown') made.pan(0, -PAN_PIXELS);
    else if (event.key === '+' || event.key === '=') made.zoom(ZOOM);
    else if (event.key === '-') made.zoom(1 / ZOOM);
    else if (event.key === '0') made.fit();
    else return;
    event.preventDefault();
  };

  return (
    <div
      ref={place}
      class="map"
      role="application"
      aria-label={`Map of ${plural(nodes.length, 'node')}. Arrow keys move it, plus and minus zoom, zero shows all. The table that follows says the same.`}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: it takes keys.
      tabIndex={0}
      onKeyDown={onKeyDown}
      onPointerMove={onPointerMove}
      onPointerDown={(event) => {
        drag.current = { ...pointOf(event, place.current!), isDrag: false };
        if (event.pointerType === 'mouse') place.current!.setPointerCapture(event.pointerId);
      }}
      onPointerUp={onPointerUp}
      onPointerCancel={() => {
        drag.current = undefined;
      }}
      onPointerLeave={() => {
        setHit(undefined);
        onHighlight(undefined);
      }}
    >
      <div aria-hidden="true">
        <canvas ref={canvas} />
      </div>
      {hit && <Tip hit={hit.hit} x={hit.x} y={hit.y} />}
      <div
        class="map-buttons"
        onPointerDown={(event) => event.stopPropagation()}
        onPointerUp={(event) => event.stopPropagation()}
      >
        <button type="button" class="plain" aria-label="Zoom in" onClick={() => map.current?.zoom(ZOOM)}>
          +
        </button>
        <button type="button" class="plain" aria-label="Zoom out" onClick={() => map.current?.zoom(1 / ZOOM)}>
          −
        </button>
        <button type="button" class="plain" aria-label="Show all" onClick={() => map.current?.fit()}>
          all
        </button>
      </div>
    </div>
  );
}

function Tip({ hit: { node, pod }, x, y }: { hit: NonNullable<Hit>; x: number; y: number }) {
  const found = pod === undefined ? undefined : node.pods[pod];
  return (
    <div class="tip" style={{ left: `${x + 14}px`, top: `${y + 12}px` }} aria-hidden="true">
      {found ? (
        <>
          <strong>{found.name}</strong>
          <span>pod on {node.name}</span>
          <span>{found.addresses.join(' ')}</span>
        </>
      ) : (
        <>
          <strong>{node.name}</strong>
          <span>{node.healthText}</span>
          {node.sealing && <span>{SEALING_TEXT[node.sealing]}</span>}
          <span>{plural(node.pods.length, 'pod')}</span>
          {!node.isSelf && (
            <span>
              to it {byteRate(node.rate.outbound)}, from it {byteRate(node.rate.inbound)}
            </span>
          )}
        </>
      )}
    </div>
  );
}

const HEALTH_KEYS = [
  ['well', 'alive'],
  ['suspect', 'suspect'],
  ['dead', 'dead'],
  ['cut', 'alive, no path'],
  ['left', 'left'],
  ['static', 'static or WireGuard peer'],
] as const;

/** Of those that there are. */
function Legend({ nodes, links }: { nodes: readonly NodeView[]; links: readonly ForeignLink[] }) {
  const healths = new Set(nodes.map(({ health }) => health));
  const sealings = new Set(nodes.map(({ sealing }) => sealing));
  for (const { isSealed } of links) sealings.add(isSealed ? 'sealed' : 'clear');
  return (
    <p class="legend-line">
      {HEALTH_KEYS.filter(([health]) => healths.has(health)).map(([health, text]) => (
        <span key={health} class={`health ${health}`}>
          <span class="dot" aria-hidden="true" />
          {text}
        </span>
      ))}
      {(['sealed', 'idle', 'clear'] as const)
        .filter((sealing) => sealings.has(sealing))
        .map((sealing) => (
          <span key={sealing}>
            <span class={`stroke ${sealing}`} aria-hidden="true" /> {SEALING_TEXT[sealing]}
          </span>
        ))}
      <span class="quiet">
        the broader a link, the more traffic
        {links.length > 0 ? '; pale: between other nodes' : ' of this node'}
      </span>
    </p>
  );
}

function hrefOf({ node, pod }: NonNullable<Hit>): string {
  const found = pod === undefined ? undefined : node.pods[pod];
  if (found) return formatRoute({ view: 'pod', node: found.node, name: found.name });
  return formatRoute({
    view: node.peer !== undefined && node.peer.kind !== 'gossip' ? 'peer' : 'node',
    key: node.key,
  });
}

function pointOf(event: MouseEvent, element: HTMLElement): { readonly x: number; readonly y: number } {
  const { left, top } = element.getBoundingClientRect();
  return { x: event.clientX - left, y: event.clientY - top };
}
