/** Rates per peer and direction over the last 15 minutes. */
import { byteRate } from '../model/format.ts';
import { formatRoute } from '../model/routes.ts';
import { peerKey, type State } from '../model/state.ts';
import { Chart, type Series } from './chart.tsx';

/** Lines that an eye can follow; the others are one. */
const MAX_LINES = 7;

export function TrafficView({ state: { history, status } }: { state: State }) {
  const { times, peers, totals } = history;
  const series = (direction: 'outboundBytes' | 'inboundBytes'): Series[] => {
    const busiest = [...peers].sort((a, b) => sum(b[direction]) - sum(a[direction])).slice(0, MAX_LINES);
    const shown = busiest.filter((peer) => sum(peer[direction]) > 0);
    const rest = totals[direction].map((total, i) =>
      Math.max(0, total - shown.reduce((all, peer) => all + (peer[direction][i] ?? 0), 0)),
    );
    const lines: Series[] = shown.map((peer) => ({
      label: peer.name,
      title: <a href={formatRoute({ view: 'peer', key: peerKey(peer) })}>{peer.name}</a>,
      values: peer[direction],
    }));
    // What goes to peers that are forgotten meanwhile, and rounding, is no line.
    const isWorthALine = sum(rest) > 0.01 * sum(totals[direction]);
    return lines.length === 0 || isWorthALine
      ? [...lines, { label: lines.length === 0 ? 'all peers' : 'all others', values: rest }]
      : lines;
  };
  return (
    <>
      <h1>Traffic of {status?.node.name} in the last 15 minutes</h1>
      <div class="columns">
        <section class="card">
          <Chart
            caption="To peers"
            times={times}
            series={series('outboundBytes')}
            format={byteRate}
            height={240}
          />
        </section>
        <section class="card">
          <Chart
            caption="From peers"
            times={times}
            series={series('inboundBytes')}
            format={byteRate}
            height={240}
          />
        </section>
      </div>
    </>
  );
}

function sum(values: readonly number[]): number {
  return values.reduce((all, one) => all + one, 0);
}
