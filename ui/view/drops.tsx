/** What was dropped, and why, over the last 15 minutes and since the agent's start. */
import { count, packetRate, plural } from '../model/format.ts';
import type { State } from '../model/state.ts';
import { Chart, type Series } from './chart.tsx';
import { TableFrame } from './parts.tsx';

export function DropsView({ state: { history, status } }: { state: State }) {
  const { times, drops } = history;
  const series = Object.entries(drops)
    .filter(([, values]) => values.some((value) => value > 0))
    .map(([reason, values]): Series => ({ label: reason, values }))
    .sort((a, b) => Math.max(...b.values) - Math.max(...a.values));
  const totals = Object.entries(status?.datapath.drops ?? {}).sort(
    ([a, x], [b, y]) => y - x || (a < b ? -1 : Number(a > b)),
  );
  const some = totals.filter(([, packets]) => packets > 0);
  const never = totals.filter(([, packets]) => packets === 0);
  return (
    <>
      <h1>Packets that {status?.node.name} dropped</h1>
      <section class="card">
        {series.length === 0 ? (
          <p class="quiet">None in the last 15 minutes.</p>
        ) : (
          <Chart
            caption="By reason, the last 15 minutes"
            times={times}
            series={series}
            format={packetRate}
            height={240}
          />
        )}
      </section>
      <section class="card">
        <h2>Since the agent’s start</h2>
        {some.length === 0 ? (
          <p class="quiet">None.</p>
        ) : (
          <TableFrame label="Drops since the agent's start">
            <table>
              <thead>
                <tr>
                  <th scope="col">reason</th>
                  <th scope="col" class="number">
                    packets
                  </th>
                </tr>
              </thead>
              <tbody>
                {some.map(([reason, packets]) => (
                  <tr key={reason}>
                    <th scope="row">
                      <code>{reason}</code>
                    </th>
                    <td class="number">{count(packets)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </TableFrame>
        )}
        <details>
          <summary>{plural(never.length, 'reason that never was', 'reasons that never were')}</summary>
          <p class="chips">
            {never.map(([reason]) => (
              <code key={reason}>{reason}</code>
            ))}
          </p>
        </details>
      </section>
    </>
  );
}
