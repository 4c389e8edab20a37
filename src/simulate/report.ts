/** The simulator's results as a page of Markdown with its plots beside it. */
import type { Dissemination } from './dissemination.ts';
import type { FalsePositives } from './false-positives.ts';
import { logPlot } from './plot.ts';

export interface LeaseResults {
  readonly histories: number;
  readonly firstSeed: number;
  readonly failures: readonly { readonly seed: number; readonly violation: string }[];
  readonly slowestAgreementMs: number;
}

export interface SimulationResults {
  readonly seed: number;
  readonly gossipIntervalMs: number;
  readonly dissemination: readonly Dissemination[];
  readonly falsePositives?:
    | { readonly withLifeguard: FalsePositives; readonly without: FalsePositives }
    | undefined;
  readonly leases: LeaseResults;
}

/** File name -> content. */
export function renderReport(results: SimulationResults): Map<string, string> {
  const files = new Map<string, string>();
  const { dissemination, gossipIntervalMs } = results;
  const periods = (ms: number) => ms / gossipIntervalMs;
  files.set(
    'simulation-spread.svg',
    logPlot({
      title: 'News known to 99.9 % of the nodes',
      xLabel: 'nodes',
      yLabel: `gossip periods of ${gossipIntervalMs} ms`,
      series: [
        line('join', '#1b6ca8', dissemination, ({ join }) => periods(join.toMost)),
        line('leave', '#2e8b57', dissemination, ({ leave }) => periods(leave.toMost)),
        line('death, from the first who declares it', '#c0392b', dissemination, ({ death }) =>
          periods(death.toMost),
        ),
      ],
    }),
  );
  files.set(
    'simulation-death.svg',
    logPlot({
      title: 'A node is killed',
      xLabel: 'nodes',
      yLabel: 'seconds',
      series: [
        line('first declared dead', '#e08e0b', dissemination, ({ detectedMs }) => detectedMs / 1000),
        line(
          'known to 99.9 %',
          '#c0392b',
          dissemination,
          ({ detectedMs, death }) => (detectedMs + death.toMost) / 1000,
        ),
      ],
    }),
  );
  files.set(
    'simulation-bytes.svg',
    logPlot({
      title: 'What a node sends at rest',
      xLabel: 'nodes',
      yLabel: 'bytes per second, UDP with all headers, sealed',
      series: [line('probes and gossip', '#1b6ca8', dissemination, ({ bytesPerSecond }) => bytesPerSecond)],
    }),
  );
  files.set('simulation.md', page(results));
  return files;
}

function line(
  name: string,
  colour: string,
  results: readonly Dissemination[],
  value: (result: Dissemination) => number,
) {
  return { name, colour, points: results.map((result) => [result.nodes, value(result)] as const) };
}

function page({ seed, dissemination, falsePositives, leases, gossipIntervalMs }: SimulationResults): string {
  const rows = dissemination.map(
    ({ nodes, join, leave, detectedMs, death, bytesPerSecond, pushPullBytesPerSecond, bytesForNews }) =>
      `| ${nodes.toLocaleString('en')} | ${seconds(join.toMost)} | ${seconds(leave.toMost)} | ${seconds(detectedMs)} | ${seconds(death.toMost)} | ${Math.round(bytesPerSecond)} | ${pushPullBytesPerSecond === undefined ? '-' : pushPullBytesPerSecond.toFixed(1)} | ${Math.round(bytesForNews / 3)} |`,
  );
  return `# What the simulator shows

\`npm run simulate\` writes this page. The nodes run the agent's own membership and leases on a virtual clock
and a seeded network; nothing here depends on the machine, and seed ${seed} gives the same figures again.

## Spreading news

A node joins, one leaves, one is killed, in a cluster that is at rest otherwise (LAN timing, no loss). Times are
in seconds, until 99.9 % of the nodes know; a gossip period is ${gossipIntervalMs} ms.

| nodes | join | leave | killed: first declared dead | from there on | bytes/s at rest | push-pull bytes/s | bytes for one piece of news |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
${rows.join('\n')}

![News known to 99.9 % of the nodes](simulation-spread.svg)
![A node is killed](simulation-death.svg)
![What a node sends at rest](simulation-bytes.svg)

Bytes are those one node sends, UDP with IP and UDP headers, sealed; push-pull (TCP payload) stands apart: its
interval grows with log N, and between nodes that agree it is one small frame each way.

${falsePositives ? falsePositivesText(falsePositives.withLifeguard, falsePositives.without) : ''}
## Leases

${leases.histories.toLocaleString('en')} random histories (seeds from ${leases.firstSeed}) of 3 to 6 nodes with 4 or 8 subnets: partitions, one-way links,
pauses, crashes between any two writes to the disk, restarts, joins at the same moment, pods that come and go,
forgets, expiry, loss, duplication, clocks that are wrong by up to 10 s. In each, at every step: no subnet moves
under pods, nobody claims what it knows to be another's, no two nodes that hear each other hold the same; and
after the last heal all agree on one owner for each.

Histories in which any of it failed: **${leases.failures.length}**. The slowest agreement after the last heal took ${seconds(leases.slowestAgreementMs)} s.
${leases.failures.map((failure) => `\n- seed ${failure.seed}: ${failure.violation}`).join('')}
`;
}

function falsePositivesText(on: FalsePositives, off: FalsePositives): string {
  const row = (name: string, get: (result: FalsePositives) => number) =>
    `| ${name} | ${get(on).toLocaleString('en')} | ${get(off).toLocaleString('en')} |`;
  return `## Nodes wrongly declared dead

${on.nodes.toLocaleString('en')} nodes for ${Math.round(on.durationMs / 60_000)} virtual minutes, 5 % of all packets lost, 1 % of the nodes paused at any time for up to 10 s.
A node that was paused within the last 10 s is not healthy: for seconds it heard and said nothing.

| | with Lifeguard | without |
| --- | ---: | ---: |
${row('pauses', ({ pauses }) => pauses)}
${row('healthy nodes declared dead', ({ healthyDeclaredDead }) => healthyDeclaredDead)}
${row('paused nodes declared dead', ({ pausedDeclaredDead }) => pausedDeclaredDead)}
${row('suspicions, over all nodes', ({ suspicions }) => suspicions)}

"Without" is SWIM with suspicion and refutation: no health score, no suspicion timeout that shrinks with
confirmations (it is at its minimum from the start), no telling a suspect, no last chance, no guard against own stalls.

`;
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(2);
}
