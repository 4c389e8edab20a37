/** What the report says of attachments. */
import { AT_ONCE_MS, type InventorySpread } from './inventory-spread.ts';
import { logPlot } from './plot.ts';

/** Who is asked first for a new version (inventory/timing.ts). */
export const FIRST = {
  teller: 'who told of it',
  owner: 'its owner',
  random: 'anyone',
} as const satisfies Record<InventorySpread['first'], string>;

const COLOURS = ['#1b6ca8', '#c0392b', '#2e8b57', '#e08e0b'];

export function inventoryPlot(runs: readonly InventorySpread[]): string {
  return logPlot({
    title: 'Nodes that know of an attach or detach',
    xLabel: 'milliseconds since it was made',
    yLabel: '% of all nodes, over all changes',
    series: runs.map((run, i) => ({
      name: `first asked: ${FIRST[run.first]}${lossText(run)}`,
      colour: COLOURS[i % COLOURS.length]!,
      points: run.shares.map(([ms, share]) => [ms, share * 100] as const),
    })),
  });
}

export function inventoryText(runs: readonly InventorySpread[]): string {
  const [chosen] = runs;
  if (!chosen) return '';
  const { nodes, attachments, changes, bytesAtRest, startMs } = chosen;
  const row = (run: InventorySpread) => {
    const { knownToAll: all, knownToOne: one, bytesPerChange } = run;
    const delays = [all.p50, all.p99, all.most, one.p50, one.p99].map(seconds);
    const calls = [run.callsPerChange.toFixed(2), run.mostCallsAtOnce];
    const bytes = [bytesPerChange.udp, bytesPerChange.stream].map(Math.round);
    return `| ${[FIRST[run.first] + lossText(run), ...delays, ...calls, ...bytes].join(' | ')} |`;
  };
  const recovery = (run: InventorySpread) => {
    const pulledMs = run.healMs - run.healKnownMs;
    const mib = (run.lateJoinBytes / 1024 / 1024).toFixed(1);
    const figures = [
      seconds(run.startMs),
      seconds(run.lateJoinMs),
      mib,
      seconds(run.healKnownMs),
      seconds(pulledMs),
    ];
    return `| ${[FIRST[run.first] + lossText(run), ...figures].join(' | ')} |`;
  };
  return `## Attachments

${nodes} nodes with ${attachments} attachments each; ${changes} attaches and detaches on random nodes, four a second. A node's record
carries version and hash of its inventory, and what they stand for is pulled: from the member that told of the record,
or, for comparison, first from the owner or from anyone. Seconds from the change until the last node shows it, and
until one does; calls that a node makes for one change; the most calls that came to one node within ${AT_ONCE_MS} ms; bytes that a
node sends for one change (UDP with all headers: the record's way, by gossip; TCP payload: the pulls, signed and sealed).

| first asked | all p50 | all p99 | all most | one p50 | one p99 | calls | at once | UDP bytes | TCP bytes |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
${runs.map(row).join('\n')}

At rest a node sends ${bytesAtRest.udp.toFixed(0)} bytes a second over UDP and ${bytesAtRest.stream.toFixed(1)} over TCP: the inventory adds nothing.

![Nodes that know of an attach or detach](simulation-inventory.svg)

All nodes start at once, with their attachments (${seconds(startMs)} s until all know all). One node joins late and pulls
everything; MiB is what all send for it over TCP. A fifth of the nodes is cut off for a minute, and both sides go on:
from the heal until all have each other's records, which is membership's part, and from there until all have pulled.

| first asked | start s | late join s | late join MiB | heal: records s | heal: pulled s |
| --- | ---: | ---: | ---: | ---: | ---: |
${runs.map(recovery).join('\n')}
`;
}

function lossText({ loss }: InventorySpread): string {
  return loss > 0 ? `, ${loss * 100} % loss` : '';
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(2);
}
