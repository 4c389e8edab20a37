/** The simulator's work in parts that know nothing of each other: each is decided by its own values alone. */
import { timingPresets, withoutLifeguard } from '../membership/timing.ts';
import { type Dissemination, measureDissemination } from './dissemination.ts';
import { type FalsePositives, measureFalsePositives } from './false-positives.ts';
import {
  type InventorySpread,
  type InventorySpreadOptions,
  measureInventorySpread,
} from './inventory-spread.ts';
import { type LeaseResults, runLeaseHistories } from './lease-histories.ts';

export type Part =
  | { readonly kind: 'news'; readonly seed: number; readonly nodes: number }
  | {
      readonly kind: 'alarms';
      readonly seed: number;
      readonly nodes: number;
      readonly minutes: number;
      readonly lifeguard: boolean;
    }
  | { readonly kind: 'leases'; readonly firstSeed: number; readonly histories: number }
  | ({ readonly kind: 'inventory' } & Omit<InventorySpreadOptions, 'timing'>);

export interface PartResults {
  readonly news: Dissemination;
  readonly alarms: FalsePositives;
  readonly leases: LeaseResults;
  readonly inventory: InventorySpread;
}

export type PartResult = {
  [K in Part['kind']]: { readonly kind: K; readonly result: PartResults[K] };
}[Part['kind']];

/** The network and the hosts that nodes must not be wrongly declared dead in. */
export const BAD_CONDITIONS = { loss: 0.05, paused: 0.01, maxPauseMs: 10_000 } as const;

const timing = timingPresets.lan;
/** Few enough that the last ones do not keep all others waiting. */
const HISTORIES_PER_PART = 250;
/** Nodes, and attachments of each. */
const INVENTORY_SIZE = 100;
/** The choice that was made, the others that there were, and the choice with loss. */
const INVENTORY_RUNS = [
  { first: 'teller', loss: 0 },
  { first: 'owner', loss: 0 },
  { first: 'random', loss: 0 },
  { first: 'teller', loss: 0.01 },
] as const;
const SIZES = [10, 30, 100, 300, 1000, 3000, 10_000];

export interface Extent {
  readonly seed: number;
  /** The largest cluster. */
  readonly nodes: number;
  /** Virtual, of the run with loss and pauses. */
  readonly minutes: number;
  readonly histories: number;
  /** Attaches and detaches in a cluster of nodes with attachments. */
  readonly attaches: number;
}

/** In the order in which they are reported. */
export function partsOf({ seed, nodes, minutes, histories, attaches }: Extent): Part[] {
  const parts: Part[] = SIZES.filter((size) => size <= nodes).map((size) => ({
    kind: 'news',
    seed,
    nodes: size,
  }));
  if (minutes > 0) {
    for (const lifeguard of [true, false]) {
      parts.push({ kind: 'alarms', seed, nodes: Math.min(1000, nodes), minutes, lifeguard });
    }
  }
  const firstSeed = firstHistory(seed);
  for (let done = 0; done < histories; done += HISTORIES_PER_PART) {
    const left = Math.min(HISTORIES_PER_PART, histories - done);
    parts.push({ kind: 'leases', firstSeed: firstSeed + done, histories: left });
  }
  if (attaches > 0) {
    const size = Math.min(INVENTORY_SIZE, nodes);
    for (const run of INVENTORY_RUNS) {
      parts.push({ kind: 'inventory', seed, nodes: size, attachments: size, changes: attaches, ...run });
    }
  }
  return parts;
}

/** Each seed has histories of its own. */
export function firstHistory(seed: number): number {
  return seed * 100_000;
}

/** About the seconds it takes, by which the longest can begin first. */
export function costOf(part: Part): number {
  if (part.kind === 'news') return part.nodes / 100;
  if (part.kind === 'inventory') return (part.nodes / 100) ** 2 * (10 + part.changes / 8);
  return part.kind === 'alarms' ? (part.nodes * part.minutes) / 40 : part.histories / 20;
}

export async function runPart(part: Part): Promise<PartResult> {
  switch (part.kind) {
    case 'news':
      return { kind: 'news', result: await measureDissemination({ ...part, timing }) };
    case 'alarms':
      return {
        kind: 'alarms',
        result: await measureFalsePositives({
          ...BAD_CONDITIONS,
          seed: part.seed,
          nodes: part.nodes,
          durationMs: part.minutes * 60_000,
          timing: part.lifeguard ? timing : withoutLifeguard(timing),
        }),
      };
    case 'leases':
      return { kind: 'leases', result: await runLeaseHistories(part.firstSeed, part.histories) };
    case 'inventory':
      return { kind: 'inventory', result: await measureInventorySpread({ ...part, timing }) };
  }
}

/** The command that does the part again, with the same outcome. */
export function replayOf(part: Part): string {
  switch (part.kind) {
    case 'news':
      return `warren simulate --seed ${part.seed} --nodes ${part.nodes} --minutes 0 --histories 0 --attaches 0`;
    case 'alarms':
      return `warren simulate --seed ${part.seed} --nodes ${part.nodes} --minutes ${part.minutes} --histories 0 --attaches 0`;
    case 'leases':
      return `warren simulate history ${part.firstSeed}`;
    case 'inventory':
      return `warren simulate --seed ${part.seed} --nodes ${part.nodes} --minutes 0 --histories 0 --attaches ${part.changes}`;
  }
}
