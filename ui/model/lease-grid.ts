/** The picture of a pod range: as many cells as fit, each a subnet, or several where the range has more. */
import type { LeasesReport, NodeLeaseReport } from '../../src/readmodel/reports.ts';

export type CellState = 'own' | 'active' | 'claiming' | 'gone' | 'conflict';

export interface Cell {
  /** From the left and the top. */
  readonly column: number;
  readonly row: number;
  readonly state: CellState;
  readonly nodes: readonly { readonly id: string; readonly node: string; readonly subnet: string }[];
}

export interface LeaseGrid {
  readonly range: string;
  readonly nodePrefixLength: number;
  /** Subnets that the range has. */
  readonly subnets: number;
  readonly taken: number;
  readonly conflicts: number;
  readonly columns: number;
  readonly rows: number;
  /** Subnets that one cell stands for. */
  readonly perCell: number;
  /** Of those that are taken; all others are free. */
  readonly cells: readonly Cell[];
}

export const COLUMNS = 32;
const MAX_ROWS = 16;
/** What shows where several are in one cell. */
const RANK: readonly CellState[] = ['gone', 'active', 'own', 'claiming', 'conflict'];

export function leaseGrids({ ranges, leases }: LeasesReport, ownId: string | undefined): LeaseGrid[] {
  return ranges.map(({ range, nodePrefixLength }, number) => {
    const subnets = 2 ** (nodePrefixLength - Number(range.split('/')[1]));
    const columns = Math.min(COLUMNS, subnets);
    const rows = Math.min(MAX_ROWS, Math.ceil(subnets / columns));
    const perCell = Math.max(1, subnets / (columns * rows));
    const cells = new Map<number, Cell>();
    const indexes = new Set<number>();
    for (const lease of leases) {
      lease.slots.forEach((slot, i) => {
        if (slot?.range !== number) return;
        indexes.add(slot.index);
        const at = Math.min(columns * rows - 1, Math.floor(slot.index / perCell));
        const state = stateOf(lease, ownId);
        const before = cells.get(at);
        cells.set(at, {
          column: at % columns,
          row: Math.floor(at / columns),
          state: before && RANK.indexOf(before.state) > RANK.indexOf(state) ? before.state : state,
          nodes: [...(before?.nodes ?? []), { id: lease.id, node: lease.node, subnet: lease.subnets[i]! }],
        });
      });
    }
    return {
      range,
      nodePrefixLength,
      subnets,
      taken: indexes.size,
      conflicts: leases.filter(
        ({ conflicts, slots }) => conflicts.length > 0 && slots.some((slot) => slot?.range === number),
      ).length,
      columns,
      rows,
      perCell,
      cells: [...cells.values()],
    };
  });
}

function stateOf({ id, status, state, conflicts }: NodeLeaseReport, ownId: string | undefined): CellState {
  if (conflicts.length > 0) return 'conflict';
  if (state === 'claiming') return 'claiming';
  if (status === 'dead' || status === 'left') return 'gone';
  return id === ownId ? 'own' : 'active';
}
