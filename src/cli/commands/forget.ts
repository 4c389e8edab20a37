/** `warren forget`: frees the lease of a node that will not come back. */
import type { Command } from 'commander';
import type { CliContext } from '../../terminal/io.ts';
import { agentClient, printJson, type SocketOption, withSocket } from '../agent-option.ts';

export function registerForgetCommand(program: Command, context: CliContext): void {
  withSocket(
    program
      .command('forget')
      .description('forget a dead node on the whole cluster, and free its subnets')
      .argument('<node>', 'its name or id, as `warren peers` shows it')
      .option('--json', 'print JSON')
      .addHelpText(
        'after',
        '\nWithout this a dead node keeps its subnets for cluster.leaseTtl. If it returns after it was\n' +
          'forgotten, it leases subnets anew.',
      ),
  ).action(async (node: string, options: SocketOption & { json?: true }) => {
    const report = await agentClient(context, options).forget(node);
    if (options.json) printJson(context, report);
    else {
      const freed = report.subnets.length > 0 ? `; free again: ${report.subnets.join(', ')}` : '';
      context.io.stdout.write(`${report.name} is forgotten${freed}\n`);
    }
  });
}
