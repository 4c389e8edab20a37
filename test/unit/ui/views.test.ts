/** Small things that views are made of: search, the picture of the pod range, addresses of the page, numbers as text. */
import { describe, expect, it } from 'vitest';
import type { LeasesReport, NodeLeaseReport } from '../../../src/readmodel/reports.ts';
import { bytes, duration, packetRate, plural } from '../../../ui/model/format.ts';
import { leaseGrids } from '../../../ui/model/lease-grid.ts';
import { nodesOf } from '../../../ui/model/nodes.ts';
import { formatRoute, parseRoute, type Route, tokenOf } from '../../../ui/model/routes.ts';
import { MAX_FOUND, search } from '../../../ui/model/search.ts';
import { EMPTY, reduce } from '../../../ui/model/state.ts';
import { LargeModel } from '../../helpers/large-model.ts';

function nodes() {
  const model = new LargeModel({ nodes: 200, pods: 2000 });
  const topics = { status: model.status(), peers: model.peers(), inventory: model.inventory() };
  return nodesOf(
    Object.entries(topics).reduce(
      (state, [topic, value]) => reduce(state, { type: 'topic', topic, value, atMs: 0 }),
      EMPTY,
    ),
  );
}

describe('search', () => {
  const all = nodes();
  const titles = (text: string) => search(all, text).map(({ title }) => title);

  it('finds nodes and pods by name, address, subnet and label', () => {
    expect(titles('node-017')).toEqual(['node-017']);
    expect(titles('10.42.17.0/24')).toEqual(['node-017']);
    expect(titles('10.42.17.3')).toContain('api-217');
    expect(titles('web app=shop')[0]).toMatch(/^web-/);
    expect(titles('   ')).toEqual([]);
    expect(titles('nothing-of-the-kind')).toEqual([]);
  });

  it('gives those that begin so first, and not too many', () => {
    expect(titles('node')).toHaveLength(MAX_FOUND);
    expect(titles('WORKER-2')[0]).toMatch(/^worker-2/);
  });
});

describe('the picture of a pod range', () => {
  const lease = (index: number, more: Partial<NodeLeaseReport> = {}): NodeLeaseReport => ({
    node: `n${index}`,
    id: `i${index}`,
    status: 'alive',
    state: 'active',
    subnets: [`10.42.${index}.0/24`],
    slots: [{ range: 0, index }],
    sinceSeconds: 0,
    inUse: true,
    conflicts: [],
    ...more,
  });
  const report = (
    leases: readonly NodeLeaseReport[],
    range = '10.42.0.0/16',
    nodePrefixLength = 24,
  ): LeasesReport => ({
    ranges: [{ range, nodePrefixLength }],
    leases,
  });

  it('has a cell for each subnet, where they fit', () => {
    const [grid] = leaseGrids(report([lease(0), lease(33), lease(255, { status: 'dead' })]), 'i0');
    expect(grid).toMatchObject({ subnets: 256, taken: 3, conflicts: 0, columns: 32, rows: 8, perCell: 1 });
    expect(grid!.cells.map(({ column, row, state }) => [column, row, state])).toEqual([
      [0, 0, 'own'],
      [1, 1, 'active'],
      [31, 7, 'gone'],
    ]);
  });

  it('shows what two claim, and counts the subnet once', () => {
    const two = [lease(7, { conflicts: ['x'] }), lease(7, { id: 'x', conflicts: ['n7'] })];
    const [grid] = leaseGrids(report(two), undefined);
    expect(grid).toMatchObject({ taken: 1, conflicts: 2 });
    expect(grid!.cells).toMatchObject([{ state: 'conflict', nodes: [{}, {}] }]);
  });

  it('has cells for many subnets in a large range, and few in a small one', () => {
    const [large] = leaseGrids(report([lease(65_535)], 'fd42::/48', 64), undefined);
    expect(large).toMatchObject({ subnets: 65_536, perCell: 128, columns: 32, rows: 16 });
    expect(large!.cells[0]).toMatchObject({ column: 31, row: 15 });
    expect(leaseGrids(report([lease(1)], '10.0.0.0/30', 31), undefined)[0]).toMatchObject({
      subnets: 2,
      columns: 2,
      rows: 1,
    });
    // Of a range that the agent does not have.
    expect(leaseGrids(report([lease(1, { slots: [null] })]), undefined)[0]!.cells).toEqual([]);
  });
});

describe('addresses of the page', () => {
  it.each<Route>([
    { view: 'map' },
    { view: 'leases' },
    { view: 'node', key: 'abc' },
    { view: 'peer', key: 'static/leg acy' },
    { view: 'pod', node: 'node-a', name: 'a/b%c' },
  ])('of %o are read as they were written', (route) => {
    expect(parseRoute(formatRoute(route))).toEqual(route);
  });

  it.each(['', '#', '#/', '#/nowhere', '#/node/', '#/pod/a', '#/pod/%E0%A4%A'])('%s is the map', (hash) => {
    expect(parseRoute(hash)).toEqual({ view: 'map' });
  });

  it('may bring a token, once', () => {
    expect(tokenOf('#token=abc_DEF-1.2~3')).toBe('abc_DEF-1.2~3');
    expect(tokenOf('#/map?token=abc')).toBeUndefined();
    expect(tokenOf('#token=<script>')).toBeUndefined();
  });
});

it('numbers are text that people read', () => {
  expect([0, 999, 1000, 1_234_567, 5e12, -1].map(bytes)).toEqual([
    '0 B',
    '999 B',
    '1 kB',
    '1.2 MB',
    '5 TB',
    '0 B',
  ]);
  expect([0, 59, 61, 3600, 93_784].map(duration)).toEqual(['0 s', '59 s', '1 min', '1 h', '1 d 2 h']);
  expect([0, 0.25, 12.4, 45_000].map(packetRate)).toEqual(['0/s', '0.3/s', '12/s', '45k/s']);
  expect([plural(1, 'pod'), plural(2000, 'pod')]).toEqual(['1 pod', '2,000 pods']);
});
