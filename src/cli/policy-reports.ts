/** What `warren policy` shows to people. */
import type {
  CountedPackets,
  ExplainedEnd,
  ExplainReport,
  NamedEnd,
  PolicyChangeReport,
  PolicyListReport,
} from '../policy/commands.ts';
import type { LabelSelector } from '../policy/schema.ts';
import { selectorText } from '../policy/verdict.ts';
import { type Paint, renderTable } from '../terminal/table.ts';

const SHOWN = 10;
/** As in policy/nft/render.ts: comments of rules are cut. */
const MAX_COMMENT = 120;

export function renderChange(report: PolicyChangeReport): string {
  const { applied, deleted, sent, unreachable, differing, problem } = report;
  return [
    ...applied.map((name) => `${name} is applied`),
    ...deleted.map((name) => `${name} is deleted`),
    ...(sent.length > 0 ? [`sent to ${listed(sent)}`] : []),
    ...unreachable.map(({ node, reason }) => `not sent to ${node}: ${reason}`),
    ...(differing.length > 0
      ? [`Other policies than these are on ${listed(differing)}: warren policy apply --all sends them there.`]
      : []),
    ...(problem !== undefined ? [`They are not in force here yet: ${problem}`] : []),
    '',
  ].join('\n');
}

export function renderPolicies({ policies, differing }: PolicyListReport, paint: Paint): string {
  const hasOthers = policies.some(({ source }) => source !== undefined);
  const rows = policies.map(({ name, source = 'this node', staged, pods, denied, document }) => [
    name,
    ...(hasOthers ? [source] : []),
    staged ? { text: 'staged', colour: 'yellow' as const } : 'enforced',
    selectorText((document.spec?.podSelector ?? {}) as LabelSelector),
    { text: String(pods), right: true },
    { text: String(denied), right: true },
  ]);
  const header = [
    'POLICY',
    ...(hasOthers ? ['OF'] : []),
    'STATE',
    'SELECTS',
    { text: 'PODS HERE', right: true },
    { text: 'DENIED', right: true },
  ];
  const table = rows.length === 0 ? 'This node has no network policies.\n' : renderTable(header, rows, paint);
  if (differing.length === 0) return table;
  return `${table}Other policies than these are on ${listed(differing)}: warren policy apply --all sends them there.\n`;
}

export function renderExplanation(report: ExplainReport, paint: Paint): string {
  const { from, to, protocol, port, verdict, ends } = report;
  const what = protocol === 'icmp' ? 'ICMP' : `${protocol.toUpperCase()} ${port}`;
  const lines = [
    `${endText(from)} -> ${endText(to)}, ${what}: ${paint(verdict, verdict === 'allowed' ? 'green' : 'red')}`,
  ];
  if (ends.length === 0) lines.push('No policy has anything to say: a node always reaches its own pods.');
  for (const end of ends) lines.push('', ...endLines(end, paint));
  return `${lines.join('\n')}\n`;
}

function endLines(end: ExplainedEnd, paint: Paint): string[] {
  const { direction, pod, node, verdict, policies, by, lacks = [], staged } = end;
  const where = node === '' ? '' : ` on ${node}`;
  const lines = [`${paint(direction, 'bold')} of ${pod}${where}: ${verdict}`];
  if (policies.length === 0) lines.push('  no policy in force selects it');
  for (const { policy, selector } of policies) lines.push(`  ${policy} selects it by ${selector}`);
  if (by) lines.push(`  let through by ${by.rule}, for ${by.peer}`);
  for (const { rule, why } of lacks) lines.push(`  not by ${rule}: ${why}`);
  if (staged && staged.verdict !== verdict)
    lines.push(`  would be ${staged.verdict} by staged ${staged.policies.join(', ')}`);
  return [...lines, ...kernelLines(end)];
}

function kernelLines({ kernel, unknown, by, policies, staged }: ExplainedEnd): string[] {
  if (unknown !== undefined) return [`  the kernel's counters are not known: ${unknown}`];
  if (kernel === undefined || (policies.length === 0 && staged === undefined)) return [];
  const lines: string[] = [];
  if (by) {
    const rule = kernel.rules.find(({ comment }) => comment === by.rule.slice(0, MAX_COMMENT));
    lines.push(
      rule === undefined
        ? '  kernel: it has no such rule yet'
        : `  kernel: this rule has let through ${packets(rule.packets)}`,
    );
  }
  if (policies.length > 0) lines.push(`  kernel: ${lately(kernel.denied, 'denied')}`);
  if (staged) lines.push(`  kernel: ${lately(kernel.trial, 'that staged policies would deny')}`);
  return lines;
}

function lately(counted: CountedPackets['denied'], what: string): string {
  if (counted === undefined) return `no such packet ${what} in the last 10 minutes`;
  const { packets: count, ageSeconds } = counted;
  return `${packets(count)} ${what}, the last one ${Math.round(ageSeconds)} s ago`;
}

function packets(count: number): string {
  return count === 1 ? '1 packet' : `${count} packets`;
}

function endText({ address, pod, node, isNode }: NamedEnd): string {
  if (pod !== undefined) return `${pod} (${address})`;
  return isNode ? `node ${node} (${address})` : address;
}

function listed(names: readonly string[]): string {
  const more = names.length - SHOWN;
  return names.slice(0, SHOWN).join(', ') + (more > 0 ? ` and ${more} more` : '');
}
