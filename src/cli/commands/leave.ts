/** `warren leave`: takes this node out of the cluster for good. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { agentIsRunning } from '../../api/client.ts';
import type { CliContext } from '../../terminal/io.ts';
import { agentClient, agentSocket, printJson, type SocketOption, withSocket } from '../agent-option.ts';

/** For the agent to end: it tells the others, and ends its threads. */
const END_MS = 30_000;
const LOOK_EVERY_MS = 50;

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
    // Whoever goes on with `warren agent --cleanup` is to find it gone.
    const deadline = performance.now() + END_MS;
    while (await agentIsRunning(agentSocket(context, options))) {
      if (performance.now() > deadline) {
        context.io.stderr.write(`its agent has not ended after ${END_MS / 1000} s\n`);
        return;
      }
      await delay(LOOK_EVERY_MS);
    }
  });
}
