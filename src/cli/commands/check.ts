/** `warren check`: exit code 0 if all is well, 1 if something is not, 2 if it could not be tried. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { AgentClient } from '../../api/client.ts';
import { runCheck } from '../../check/check.ts';
import { renderCheck } from '../../check/check-matrix.ts';
import { WarrenError } from '../../errors.ts';
import type { CliContext } from '../../terminal/io.ts';
import { painter } from '../../terminal/table.ts';
import { agentClient, printJson, type SocketOption, withSocket } from '../agent-option.ts';

const EXIT_NOT_TRIED = 2;
const PERF_SECONDS = 1;
const CLEAR_LINE = '\r\u001b[K';

interface CheckOptions extends SocketOption {
  readonly json?: true;
  readonly mtu?: true;
  readonly perf?: true;
  readonly disrupt?: true;
  readonly seconds?: number;
}

/** What was found, and how it is shown. */
interface Outcome {
  readonly report: { readonly ok: boolean };
  readonly text: () => string;
}

export function registerCheckCommand(program: Command, context: CliContext): void {
  const { io } = context;
  const command = program
    .command('check')
    .description('ping every node and pod from this node and each of its pods (needs root)')
    .option('--json', 'print JSON')
    .addOption(
      new Option('--mtu', 'find instead what each path carries').conflicts(['perf', 'disrupt', 'seconds']),
    )
    .addOption(
      new Option('--perf', 'measure instead TCP to each other node, one after the other').conflicts(
        'disrupt',
      ),
    )
    .option('--disrupt', 'hold TCP connections instead, and tell of each silence, until Ctrl-C')
    .option(
      '--seconds <n>',
      `with --perf for each pair (default: ${PERF_SECONDS}), with --disrupt in all`,
      seconds,
    )
    .addHelpText('after', '\nExit code: 0 all is well, 1 something is not, 2 the check could not run.');
  withSocket(command).action(async (options: CheckOptions) => {
    let outcome: Outcome;
    try {
      outcome = await check(context, agentClient(context, options), options);
    } catch (error) {
      context.exitCode = EXIT_NOT_TRIED;
      throw error;
    } finally {
      if (io.stderr.isTerminal) io.stderr.write(CLEAR_LINE);
    }
    if (options.json) printJson(context, outcome.report);
    else io.stdout.write(outcome.text());
    context.exitCode = outcome.report.ok ? 0 : 1;
  });
}

async function check(context: CliContext, client: AgentClient, options: CheckOptions): Promise<Outcome> {
  const { io } = context;
  const paint = painter(io.stdout, io.env);
  const progress = (done: number, total: number) => {
    if (io.stderr.isTerminal) io.stderr.write(`${CLEAR_LINE}${done} of ${total}`);
  };
  if (options.seconds !== undefined && !options.perf && !options.disrupt) {
    throw new WarrenError('USAGE', '--seconds is for --perf and --disrupt');
  }
  if (!options.mtu && !options.perf && !options.disrupt) {
    const report = await runCheck(client, progress);
    return { report, text: () => renderCheck(report, io.stdout.columns, paint) };
  }
  const { renderDisrupt, renderMtu, renderPerf } = await import('../../check/pair-tables.ts');
  if (options.mtu) {
    const { runMtuCheck } = await import('../../check/mtu.ts');
    const report = await runMtuCheck(client, progress);
    return { report, text: () => renderMtu(report, paint) };
  }
  if (options.perf) {
    const { runPerfCheck } = await import('../../check/perf.ts');
    const report = await runPerfCheck(client, options.seconds ?? PERF_SECONDS, progress);
    return { report, text: () => renderPerf(report, paint) };
  }
  const { runDisruptCheck } = await import('../../check/disrupt.ts');
  const report = await runDisruptCheck(client, {
    seconds: options.seconds,
    signal: io.interruptSignal(),
    onStart: (pairs) => io.stderr.write(`holding ${pairs} connections; Ctrl-C ends it\n`),
    onGap: ([from, to], { atSeconds, durationMs, brokeOff }) => {
      const what = brokeOff ? 'gone' : 'silent';
      io.stderr.write(
        `${from} -> ${to}: ${what} for ${(durationMs / 1000).toFixed(1)} s from ${atSeconds.toFixed(1)} s\n`,
      );
    },
  });
  return { report, text: () => renderDisrupt(report, paint) };
}

function seconds(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value >= 0.1 && value <= 3500) return value;
  throw new InvalidArgumentError('It must be a number of seconds, 0.1 to 3500.');
}
