/** The simulator's results as a page of Markdown with its plots beside it. */
import { SETTLED_MS } from './acquaintance.ts';
import type { Dissemination } from './dissemination.ts';
import type { FalsePositives } from './false-positives.ts';
import { inventoryPlot, inventoryText } from './inventory-report.ts';
import type { LeaseResults } from './lease-histories.ts';
import { logPlot } from './plot.ts';
import type { SimulationResults } from './results.ts';
import { fitText, NEWS, NEWS_BASE, NEWS_PER_DECADE, type Target, TRAFFIC_SPREAD } from './targets.ts';

const JOIN = '#1b6ca8';
const LEAVE = '#2e8b57';
const DEATH = '#c0392b';
const LIMIT = '#999999';

/** File name -> content. */
export function renderReport(results: SimulationResults, targets: readonly Target[]): Map<string, string> {
  const files = new Map<string, string>();
  const { dissemination, gossipIntervalMs } = results;
  if (dissemination.length > 0) {
    files.set('simulation-news.svg', newsPlot(dissemination, gossipIntervalMs));
    files.set('simulation-death.svg', deathPlot(dissemination));
    files.set('simulation-bytes.svg', bytesPlot(dissemination));
  }
  if (results.inventory.length > 0) files.set('simulation-inventory.svg', inventoryPlot(results.inventory));
  files.set('simulation.md', page(results, targets));
  return files;
}

function newsPlot(results: readonly Dissemination[], gossipIntervalMs: number): string {
  const periods = (ms: number) => ms / gossipIntervalMs;
  return logPlot({
    title: 'News known to 99.9 % of the nodes',
    xLabel: 'nodes',
    yLabel: `gossip periods of ${gossipIntervalMs} ms`,
    series: [
      line('join', JOIN, results, (one) => periods(NEWS.join(one))),
      line('leave', LEAVE, results, (one) => periods(NEWS.leave(one))),
      line('death, from the first who declares it', DEATH, results, (one) => periods(NEWS.death(one))),
      line(`target: ${NEWS_BASE} + ${NEWS_PER_DECADE} log10 N`, LIMIT, results, ({ nodes }) =>
        limitOf(nodes),
      ),
    ],
  });
}

function deathPlot(results: readonly Dissemination[]): string {
  return logPlot({
    title: 'A node is killed',
    xLabel: 'nodes',
    yLabel: 'seconds',
    series: [
      line('first declared dead', '#e08e0b', results, ({ detectedMs }) => detectedMs / 1000),
      line('known to 99.9 %', DEATH, results, (one) => (one.detectedMs + NEWS.death(one)) / 1000),
    ],
  });
}

function bytesPlot(results: readonly Dissemination[]): string {
  return logPlot({
    title: 'What a node sends at rest',
    xLabel: 'nodes',
    yLabel: 'bytes per second',
    series: [
      line('probes and gossip: UDP with all headers, sealed', JOIN, results, (one) => one.bytesPerSecond),
      line('push-pull: TCP payload, sealed', LEAVE, results, (one) => one.pushPullBytesPerSecond),
    ],
  });
}

/** Results that do not have the value have no point. */
function line(
  name: string,
  colour: string,
  results: readonly Dissemination[],
  value: (result: Dissemination) => number | undefined,
) {
  const points = results.flatMap((result) => {
    const y = value(result);
    return y === undefined ? [] : [[result.nodes, y] as const];
  });
  return { name, colour, points };
}

function limitOf(nodes: number): number {
  return NEWS_BASE + NEWS_PER_DECADE * Math.log10(nodes);
}

function page(results: SimulationResults, targets: readonly Target[]): string {
  const { seed, dissemination, falsePositives, leases, inventory, gossipIntervalMs } = results;
  return [
    `# What the simulator shows

\`npm run simulate\` writes this page. The nodes run the agent's own membership, leases and inventory on a virtual clock
and a seeded network; nothing here depends on the machine, and seed ${seed} gives the same figures again.

| | target | result | |
| --- | --- | --- | --- |
${targets.map((one) => `| ${one.name} | ${one.target} | ${one.figure} | ${one.verdict} |`).join('\n')}
`,
    ...(dissemination.length > 0
      ? [newsText(dissemination, gossipIntervalMs), trafficText(dissemination)]
      : []),
    ...(falsePositives ? [falsePositivesText(falsePositives.withLifeguard, falsePositives.without)] : []),
    leasesText(leases),
    ...(inventory.length > 0 ? [inventoryText(inventory)] : []),
  ].join('\n');
}

function newsText(results: readonly Dissemination[], gossipIntervalMs: number): string {
  const periods = (ms: number) => (ms / gossipIntervalMs).toFixed(1);
  const rows = results.map((one) => {
    const news = Object.values(NEWS).map((timeOf) => `${seconds(timeOf(one))} | ${periods(timeOf(one))}`);
    return `| ${count(one.nodes)} | ${news.join(' | ')} | ${limitOf(one.nodes).toFixed(1)} | ${seconds(one.detectedMs)} |`;
  });
  return `## News

A node joins, one leaves, one is killed, in a cluster that is at rest otherwise (LAN timing, no loss). Until 99.9 %
of the nodes know: seconds, and gossip periods of ${gossipIntervalMs} ms. A join counts from the newcomer's start, a leave from when
it is said, a death from when the first declares it; how long that takes from the kill stands in the last column.

| nodes | join s | periods | leave s | periods | death s | periods | target, periods | killed to first declared s |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
${rows.join('\n')}
${growthText(results, gossipIntervalMs)}
![News known to 99.9 % of the nodes](simulation-news.svg)

![A node is killed](simulation-death.svg)
`;
}

/** The growth with log N, as a line through the points. */
function growthText(results: readonly Dissemination[], gossipIntervalMs: number): string {
  if (results.length < 2) return '';
  const fits = Object.entries(NEWS).map(([name, timeOf]) => {
    const points = results.map((one) => [one.nodes, timeOf(one) / gossipIntervalMs] as const);
    return `${name} ${fitText(points)}`;
  });
  return `
Each factor of ten in nodes costs about the same again. The lines that fit best, in gossip periods: ${fits.join('; ')}.
`;
}

function trafficText(results: readonly Dissemination[]): string {
  const rows = results.map(
    ({ nodes, bytesPerSecond, pushPullBytesPerSecond, bytesForNews }) =>
      `| ${count(nodes)} | ${bytesPerSecond.toFixed(1)} | ${pushPullBytesPerSecond?.toFixed(1) ?? '-'} | ${Math.round(bytesForNews / 3)} |`,
  );
  return `## Traffic

What one node sends in a second while nothing happens: UDP with IP and UDP headers, sealed. It may differ by ${TRAFFIC_SPREAD * 100} %
of the median between sizes. Push-pull stands apart (TCP payload): its interval grows with log N, and between nodes
that agree it is one small frame each way. It is measured where it comes often enough in the time that is watched.

| nodes | bytes/s | push-pull bytes/s | bytes for one piece of news |
| ---: | ---: | ---: | ---: |
${rows.join('\n')}

![What a node sends at rest](simulation-bytes.svg)
`;
}

function leasesText({ histories, firstSeed, failures, slowestAgreementMs }: LeaseResults): string {
  return `## Leases

${count(histories)} random histories (seeds from ${firstSeed}) of 3 to 6 nodes with 4 or 8 subnets, half of them with a cluster key:
partitions, some longer than leases are kept, one-way links, pauses, crashes between any two writes to the disk,
restarts, leaves with and without the lease, joins at the same moment, pods that come and go, forgets, loss,
duplication, clocks that are wrong by up to 10 s. In each, at every step:

- a node with pods never loses or changes its subnet;
- nobody claims what it knows to be another's;
- two nodes on one side of a partition never both hold a subnet: tolerated for ${SETTLED_MS / 1000} s after the two could not hear of
  each other, not for a moment where they were never apart;
- nobody takes a subnet whose owner has not released it, nor been forgotten, nor been gone for the lease's time, while
  anyone is there who was told of it;

and after the last heal all agree on one owner for each.

Histories in which any of it failed: **${failures.length}**. The slowest agreement after the last heal took ${seconds(slowestAgreementMs)} s.
${failures.map(({ seed, violation }) => `\n- seed ${seed}: ${violation}`).join('')}
`;
}
function falsePositivesText(on: FalsePositives, off: FalsePositives): string {
  const row = (name: string, get: (result: FalsePositives) => number) =>
    `| ${name} | ${count(get(on))} | ${count(get(off))} |`;
  return `## Nodes wrongly declared dead

${count(on.nodes)} nodes for ${Math.round(on.durationMs / 60_000)} virtual minutes, 5 % of all packets lost, 1 % of the nodes paused at any time for up to 10 s.
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

function count(value: number): string {
  return value.toLocaleString('en');
}
