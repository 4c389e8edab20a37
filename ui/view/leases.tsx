/** The pod ranges as pictures: who has which subnet, what is free, and what two nodes claim. */
import { count, dateTime, plural } from '../model/format.ts';
import { type Cell, type CellState, type LeaseGrid, leaseGrids } from '../model/lease-grid.ts';
import { formatRoute } from '../model/routes.ts';
import type { State } from '../model/state.ts';
import { TableFrame } from './parts.tsx';

const STEP = 18;
const CELL = 15;
const WORDS: Readonly<Record<CellState, string>> = {
  own: 'this node',
  active: 'another node',
  claiming: 'claimed, not settled',
  gone: 'kept for a node that is gone',
  conflict: 'two nodes claim it',
};
const STATES = Object.keys(WORDS) as CellState[];

export function LeasesView({ state: { leases, status } }: { state: State }) {
  const grids = leaseGrids(leases, status?.node.id);
  return (
    <>
      <h1>Who has what of the pod ranges</h1>
      <p class="legend-line">
        {STATES.map((state) => (
          <span key={state}>
            <span class={`key cell-${state}`} aria-hidden="true" /> {WORDS[state]}
          </span>
        ))}
        <span>
          <span class="key cell-free" aria-hidden="true" /> free
        </span>
      </p>
      <div class="columns">
        {grids.map((grid) => (
          <section class="card" key={grid.range}>
            <Grid grid={grid} />
          </section>
        ))}
      </div>
      <section class="card">
        <h2>{plural(leases.leases.length, 'node')} with subnets</h2>
        <TableFrame label="Leases">
          <table>
            <thead>
              <tr>
                {['node', 'subnets', 'state', 'since', 'pods', 'conflicts'].map((title) => (
                  <th scope="col" key={title}>
                    {title}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {leases.leases.map((lease) => (
                <tr key={lease.id} class={lease.conflicts.length > 0 ? 'bad' : undefined}>
                  <th scope="row">
                    <a href={formatRoute({ view: 'node', key: lease.id })}>{lease.node}</a>
                  </th>
                  <td>
                    {lease.subnets.map((subnet) => (
                      <code key={subnet}>{subnet} </code>
                    ))}
                  </td>
                  <td>
                    {lease.state}
                    {lease.status !== 'alive' && `, node ${lease.status}`}
                  </td>
                  <td>{dateTime(lease.sinceSeconds * 1000)}</td>
                  <td>{lease.inUse ? 'yes' : 'no'}</td>
                  <td>{lease.conflicts.length === 0 ? 'none' : lease.conflicts.join(', ')}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </TableFrame>
      </section>
    </>
  );
}

function Grid({ grid }: { grid: LeaseGrid }) {
  const { range, nodePrefixLength, subnets, taken, conflicts, columns, rows, perCell, cells } = grid;
  const [width, height] = [columns * STEP, rows * STEP];
  return (
    <figure class="leases">
      <figcaption>
        <h2>
          <code>{range}</code>
        </h2>
        <p>
          {count(subnets)} subnets of /{nodePrefixLength}: {count(taken)} taken, {count(subnets - taken)}{' '}
          free, {conflicts === 0 ? 'no conflict' : plural(conflicts, 'node in conflict', 'nodes in conflict')}
          {perCell > 1 && `; a cell is ${count(perCell)} subnets`}
        </p>
      </figcaption>
      <svg
        viewBox={`0 0 ${width} ${height}`}
        role="img"
        aria-label={`${taken} of ${subnets} subnets of ${range} are taken; the table below says by whom`}
      >
        <defs>
          <pattern id={`free-${range}`} width={STEP} height={STEP} patternUnits="userSpaceOnUse">
            <rect width={CELL} height={CELL} rx="3" class="cell-free" />
          </pattern>
        </defs>
        <rect width={width} height={height} fill={`url(#free-${range})`} />
        {cells.map((cell) => (
          <LeaseCell key={`${cell.column} ${cell.row}`} cell={cell} />
        ))}
      </svg>
    </figure>
  );
}

function LeaseCell({ cell: { column, row, state, nodes } }: { cell: Cell }) {
  const text = nodes.map(({ node, subnet }) => `${subnet} ${node}`).join('\n');
  return (
    <rect x={column * STEP} y={row * STEP} width={CELL} height={CELL} rx="3" class={`cell-${state}`}>
      <title>{`${text}\n${WORDS[state]}`}</title>
    </rect>
  );
}
