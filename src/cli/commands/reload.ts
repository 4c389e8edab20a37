/** `warren reload`: has the agent read its configuration again. */
import type { Command } from 'commander';
import type { CliContext } from '../../terminal/io.ts';
import { agentClient, printJson, type SocketOption, withSocket } from '../agent-option.ts';

export function registerReloadCommand(program: Command, context: CliContext): void {
  withSocket(
    program
      .command('reload')
      .description('have the agent read its configuration again, and print what has changed')
      .option('--json', 'print JSON')
      .addHelpText(
        'after',
        '\nlog.level, staticPeers, staticPods and datapath.offload count at once; every other key that differs is\n' +
          'named, and counts after a restart. A file with mistakes changes nothing. SIGHUP does the same.',
      ),
  ).action(async (options: SocketOption & { json?: true }) => {
    const report = await agentClient(context, options).reload();
    if (options.json) return printJson(context, report);
    const { changed, needsRestart } = report;
    const lines = [
      ...changed.map((key) => `${key}: changed`),
      ...needsRestart.map((key) => `${key}: needs a restart of the agent`),
    ];
    context.io.stdout.write(lines.length > 0 ? `${lines.join('\n')}\n` : 'nothing has changed\n');
  });
}
