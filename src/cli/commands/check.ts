/** `warren check`: exit code 0 if all answered, 1 if something did not, 2 if it could not be tried. */
import type { Command } from 'commander';
import { runCheck } from '../../check/check.ts';
import { renderCheck } from '../../check/check-matrix.ts';
import type { CheckReport } from '../../readmodel/reports.ts';
import type { CliContext } from '../../terminal/io.ts';
import { painter } from '../../terminal/table.ts';
import { agentClient, printJson, type SocketOption, withSocket } from '../agent-option.ts';

const EXIT_NOT_TRIED = 2;

export function registerCheckCommand(program: Command, context: CliContext): void {
  const { io } = context;
  const command = program
    .command('check')
    .description('ping every node and pod from this node and each of its pods (needs root)')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExit code: 0 all answered, 1 something did not, 2 the check could not run.');
  withSocket(command).action(async (options: SocketOption & { json?: true }) => {
    const clearLine = '\r\u001b[K';
    const progress = (done: number, total: number) => {
      if (io.stderr.isTerminal) io.stderr.write(`${clearLine}${done} of ${total}`);
    };
    let report: CheckReport;
    try {
      report = await runCheck(agentClient(context, options), progress);
    } catch (error) {
      context.exitCode = EXIT_NOT_TRIED;
      throw error;
    } finally {
      if (io.stderr.isTerminal) io.stderr.write(clearLine);
    }
    if (options.json) printJson(context, report);
    else io.stdout.write(renderCheck(report, io.stdout.columns, painter(io.stdout, io.env)));
    context.exitCode = report.ok ? 0 : 1;
  });
}
