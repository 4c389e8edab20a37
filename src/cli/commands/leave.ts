/** `warren leave`: takes this node out of the cluster for good. */
import type { Command } from 'commander';
import type { CliContext } from '../../terminal/io.ts';
import { agentClient, printJson, type SocketOption, withSocket } from '../agent-option.ts';

export function registerLeaveCommand(program: Command, context: CliContext): void {
  withSocket(
    program
      .command('leave')
      .description('take this node out of the cluster for good: free its subnets and end its agent')
      .option('--force', 'also while it has pods, which are removed')
      .option('--json', 'print JSON')
      .addHelpText(
        'after',
        '\nThe agent ends with exit code 0; what it made on the host is removed by `warren agent --cleanup`. An agent\n' +
          'that is only stopped keeps its subnets for cluster.leaseTtl, and gets them back when it starts again.',
      ),
  ).action(async (options: SocketOption & { json?: true; force?: true }) => {
    const report = await agentClient(context, options).leave({ force: options.force === true });
    if (options.json) printJson(context, report);
    else {
      const freed = report.subnets.length > 0 ? `; free again: ${report.subnets.join(', ')}` : '';
      context.io.stdout.write(`${report.name} leaves the cluster${freed}\n`);
    }
  });
}
