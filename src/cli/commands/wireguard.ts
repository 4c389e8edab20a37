/** `warren wireguard`: a WireGuard device of its own, in the place of wireguard-go. No agent is needed, and none knows of it. */
import type { Command } from 'commander';
import type { CliContext } from '../../terminal/io.ts';

interface WireguardOptions {
  readonly foreground?: true;
  readonly version?: true;
}

export function registerWireguardCommand(program: Command, context: CliContext): void {
  program
    .command('wireguard')
    .description('make a WireGuard interface, as wireguard-go does, for wg and wg-quick (needs no agent)')
    .argument('[interface]', 'such as wg0')
    .option('-f, --foreground', 'stay in the foreground')
    .option('--version', 'print the version')
    .addHelpText(
      'after',
      '\nReturns once `wg` can configure the interface; it ends when the interface is deleted, or its socket in\n' +
        '/var/run/wireguard. For wg-quick: WG_QUICK_USERSPACE_IMPLEMENTATION=warren-wireguard. LOG_LEVEL is verbose,\n' +
        'error or silent.',
    )
    .action(async (name: string | undefined, { foreground, version }: WireguardOptions) => {
      const { runProgram } = await import('../../wireguard-device/program.ts');
      const { io } = context;
      const argv = [
        ...(foreground ? ['--foreground'] : []),
        ...(version ? ['--version'] : []),
        ...(name === undefined ? [] : [name]),
      ];
      context.exitCode = await runProgram(argv, {
        env: io.env,
        out: (text) => io.stdout.write(text),
        err: (text) => io.stderr.write(text),
      });
    });
}
