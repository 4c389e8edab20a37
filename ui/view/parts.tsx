/** Small pieces that several views have. */
import type { ComponentChildren } from 'preact';
import type { InventoryReport } from '../../src/readmodel/reports.ts';
import type { NodeView } from '../model/nodes.ts';
import { formatRoute } from '../model/routes.ts';

export function HealthMark({ node }: { node: Pick<NodeView, 'health' | 'healthText'> }) {
  return (
    <span class={`health ${node.health}`}>
      <span class="dot" aria-hidden="true" />
      {node.healthText}
    </span>
  );
}

export function Facts({ facts }: { facts: readonly (readonly [string, ComponentChildren])[] }) {
  return (
    <dl class="facts">
      {facts
        .filter(([, value]) => value !== undefined && value !== false)
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

export function NodeLink({ node }: { node: Pick<NodeView, 'key' | 'name' | 'peer'> }) {
  const view = node.peer !== undefined && node.peer.kind !== 'gossip' ? 'peer' : 'node';
  return <a href={formatRoute({ view, key: node.key })}>{node.name}</a>;
}

export function PodLink({ pod }: { pod: Pick<InventoryReport, 'node' | 'name'> }) {
  return <a href={formatRoute({ view: 'pod', node: pod.node, name: pod.name })}>{pod.name}</a>;
}

/** Wide tables scroll in a frame of their own, which the keyboard can reach. */
export function TableFrame({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a part that scrolls has to be reached by keyboard.
    <section class="table-frame" tabIndex={0} aria-label={label}>
      {children}
    </section>
  );
}

export function Gone({ what }: { what: string }) {
  return (
    <section class="card">
      <h1>There is no such {what}</h1>
      <p>
        It was removed, or the address is of another cluster. <a href="#/map">To the map</a>.
      </p>
    </section>
  );
}
