/** `warren sysdump`: one archive for a bug report. */
import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { errorMessage, WarrenError } from '../../errors.ts';
import type { CliContext } from '../../terminal/io.ts';
import { agentClient, type SocketOption, withSocket } from '../agent-option.ts';

export function registerSysdumpCommand(program: Command, context: CliContext): void {
  withSocket(
    program
      .command('sysdump')
      .description('write one archive for a bug report: reports, log, configuration, host; no keys')
      .option('-o, --output <file>', 'the archive to make (default: warren-sysdump-TIME.tar.gz)')
      .option('--all', 'of every node that answers')
      .addHelpText(
        'after',
        '\nIt holds names, addresses and labels of nodes and pods: look at it before you hand it on.',
      ),
  ).action(async (options: SocketOption & { output?: string; all?: true }) => {
    const report = await agentClient(context, options).sysdump({ all: options.all === true });
    const nowMs = Date.now();
    const stamp = new Date(nowMs).toISOString().slice(0, 19).replaceAll(':', '');
    const path = options.output ?? `warren-sysdump-${stamp}.tar.gz`;
    const { sysdumpArchive } = await import('../../sysdump/archive.ts');
    const bytes = sysdumpArchive(report, nowMs);
    try {
      writeFileSync(path, bytes, { mode: 0o600, flag: 'wx' });
    } catch (error) {
      throw new WarrenError('SYSDUMP_UNWRITABLE', `cannot write ${path}: ${errorMessage(error)}`, {
        hint: 'Name a file that does not exist yet, in a folder that you may write to, with --output.',
        cause: error,
      });
    }
    const { stdout, stderr } = context.io;
    stdout.write(`${path}: ${report.nodes.length} nodes, ${bytes.length} bytes\n`);
    for (const { node, reason } of report.unreachable) stderr.write(`${node} is missing: ${reason}\n`);
  });
}
