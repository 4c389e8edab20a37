/** The buckets of ICMP errors, and that nothing on the packet path looks at the wall clock. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ICMP_NO_ROUTE, ICMP_TOO_BIG, IcmpBudget } from '../../../src/datapath/icmp-budget.ts';

const SRC = new URL('../../../src', import.meta.url).pathname;

function taken(budget: IcmpBudget, source: number, nowMs: number, tries = 500): number {
  let count = 0;
  for (let i = 0; i < tries; i++) if (budget.take(ICMP_TOO_BIG, 0, 0, 0xffff, source, nowMs)) count++;
  return count;
}

it('200 at once, then 200 a second, and no more are saved up', () => {
  const budget = new IcmpBudget();
  expect(taken(budget, 7, 0)).toBe(200);
  expect(taken(budget, 7, 5)).toBe(1);
  expect(taken(budget, 7, 505)).toBe(100);
  expect(taken(budget, 7, 60_000)).toBe(200);
  expect(taken(budget, 7, 60_000.5)).toBe(0);
});

it('a kind takes nothing from the other, nor a source from another, also where they share a set', () => {
  const budget = new IcmpBudget();
  for (let source = 0; source < 500; source++) expect(taken(budget, source, 0)).toBe(200);
  expect(budget.take(ICMP_NO_ROUTE, 0, 0, 0xffff, 7, 0)).toBe(true);
  // A node's own pods all have a bucket of their own at the same time.
  let again = 0;
  for (let source = 0; source < 500; source++) again += taken(budget, source, 0);
  expect(again).toBeLessThan(0.05 * 500 * 200);
});

it('however many sources there are, a bucket that is given up was the fullest of its set', () => {
  const budget = new IcmpBudget();
  expect(taken(budget, 7, 0)).toBe(200);
  for (let source = 1000; source < 11_000; source++) budget.take(ICMP_TOO_BIG, 0, 0, 0xffff, source, 0);
  expect(taken(budget, 7, 0)).toBe(0);
});

it('the packet path never looks at the wall clock, which may be set back', () => {
  const folders = ['datapath', 'wire', 'fdb', 'tun', 'underlay'];
  const files = folders.flatMap((folder) => readdirSync(join(SRC, folder)).map((file) => join(folder, file)));
  const users = [...files, 'dataplane/packet-worker.ts'].filter((file) =>
    /\bDate\b|wallTime/.test(readFileSync(join(SRC, file), 'utf8')),
  );
  expect(users).toEqual([]);
});
