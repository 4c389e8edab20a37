/** A trace as a person reads it: the steps, and what they come to in one line. */
import { type Colour, type Paint, renderTable } from '../terminal/table.ts';
import type { Step, TraceReport } from './model.ts';

const MARKS: Readonly<Record<Step['outcome'], readonly [text: string, colour: Colour]>> = {
  passed: ['ok', 'green'],
  died: ['DIES', 'red'],
  unknown: ['-', 'dim'],
};

export function renderTrace({ steps, line, arrives, observations }: TraceReport, paint: Paint): string {
  const rows = steps.map(({ node, what, outcome, text }) => {
    const [mark, colour] = MARKS[outcome];
    // Why it dies is in the line below.
    return [plain(node), plain(what), { text: mark, colour }, outcome === 'died' ? '' : plain(text)];
  });
  const blind = observations.flatMap((one) =>
    'blind' in one && one.blind !== null
      ? [`${plain(one.node)}: the kernel's rules could not be looked at: ${plain(one.blind)}\n`]
      : [],
  );
  const table = renderTable(['node', 'step', '', ''], rows, paint);
  return `${table}${blind.join('')}\n${paint(plain(line), arrives ? 'green' : 'red')}\n`;
}

/** Other nodes say it: no control characters. */
function plain(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ');
}
