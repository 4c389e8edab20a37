/**
 * The `warren` command: what it can do, and how it fails. A failure is one line that says what is wrong and
 * one that says what to do; exit code 1 for what went wrong, 2 for a command that was written wrong.
 */
import { Command, CommanderError } from 'commander';
import { errorMessage, WarrenError } from '../errors.ts';
import { VERSION } from '../package.ts';
import { withSourcePlaces } from '../places.ts';
import { type CliContext, type CliIo, EXIT_FAILURE, EXIT_USAGE } from '../terminal/io.ts';
import { painter } from '../terminal/table.ts';
import { registerAgentCommand, registerConfigCommand, registerKeyCommand } from './commands/agent.ts';
import { registerCaptureCommand } from './commands/capture.ts';
import { registerCheckCommand } from './commands/check.ts';
import { registerCniCommands } from './commands/cni.ts';
import { registerCompletionCommand } from './commands/completion.ts';
import { registerDockerCommands } from './commands/docker.ts';
import { registerForgetCommand } from './commands/forget.ts';
import { registerHostCommands } from './commands/host.ts';
import { registerKeyRingCommands } from './commands/key-ring.ts';
import { registerKubernetesCommands } from './commands/kubernetes.ts';
import { registerLeaveCommand } from './commands/leave.ts';
import { registerNodeCommands } from './commands/node.ts';
import { registerPeerCommands } from './commands/peer.ts';
import { registerPodCommands } from './commands/pod.ts';
import { registerPolicyCommands } from './commands/policy.ts';
import { registerReloadCommand } from './commands/reload.ts';
import { registerReportCommands } from './commands/reports.ts';
import { registerSysdumpCommand } from './commands/sysdump.ts';
import { registerTraceCommand } from './commands/trace.ts';
import { registerUiCommand } from './commands/ui.ts';
import { registerWireguardCommand } from './commands/wireguard.ts';

/** Runs `argv` (without the interpreter and the script) and gives the exit code. Never throws. */
export async function runCli(argv: readonly string[], io: CliIo): Promise<number> {
  const context: CliContext = { io, exitCode: 0 };
  try {
    const program = await buildProgram(context, argv);
    await program.parseAsync([...argv], { from: 'user' });
    return context.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
    printError(error, io);
    if (error instanceof WarrenError && error.code === 'USAGE') return EXIT_USAGE;
    return context.exitCode || EXIT_FAILURE;
  }
}

/** The commands that `argv` may mean. Tests hold the documentation's commands against them. */
export async function buildProgram(context: CliContext, argv: readonly string[]): Promise<Command> {
  const { io } = context;
  const program = new Command('warren')
    .description('Userspace overlay network for pods: every node an agent, every pod reachable, no NAT.')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .enablePositionalOptions()
    .showHelpAfterError('(add --help for what is possible)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'warren: ')),
      getOutHelpWidth: () => io.stdout.columns,
      getErrHelpWidth: () => io.stderr.columns,
    });
  registerAgentCommand(program, context);
  registerReportCommands(program, context);
  registerPodCommands(program, context);
  registerPeerCommands(program, context);
  registerCniCommands(program, context);
  registerDockerCommands(program, context);
  registerKubernetesCommands(program, context);
  registerCheckCommand(program, context);
  registerTraceCommand(program, context);
  registerCaptureCommand(program, context);
  registerForgetCommand(program, context);
  registerHostCommands(program, context);
  registerLeaveCommand(program, context);
  registerNodeCommands(program, context);
  registerPolicyCommands(program, context);
  registerReloadCommand(program, context);
  registerSysdumpCommand(program, context);
  registerWireguardCommand(program, context);
  registerUiCommand(program, context);
  registerKeyRingCommands(registerKeyCommand(program, context), context);
  registerConfigCommand(program, context);
  registerCompletionCommand(program, context, (words) => buildProgram(context, words));
  // The lab and the simulator are loaded only for their own commands, and for help that lists them. A command loads
  // what it needs when it runs: those that ask the agent answer in a third of the time that everything takes.
  const [first = ''] = argv;
  const isOurs = ['-V', '--version'].includes(first) || program.commands.some((one) => one.name() === first);
  if (!isOurs) {
    (await import('../lab/cli.ts')).registerLabCommands(program);
    (await import('../bench/cli.ts')).registerBenchCommands(program);
    (await import('../simulate/cli.ts')).registerSimulateCommand(program, context);
  }
  program.addHelpText(
    'after',
    `
Examples:
  warren key generate -o /etc/warren/cluster.key
  warren config check /etc/warren/warren.yaml
  warren agent -c /etc/warren/warren.yaml
  warren pod add web
  warren exec web -- ping -c 1 10.42.7.2
  warren check`,
  );
  return program;
}

function printError(error: unknown, io: CliIo): void {
  const paint = painter(io.stderr, io.env);
  const lines: string[] = [];
  if (error instanceof WarrenError) {
    lines.push(`${paint('warren:', 'red')} ${error.message}`);
    if (error.hint !== undefined) lines.push(error.hint);
  } else {
    lines.push(`${paint('warren:', 'red')} unexpected failure: ${errorMessage(error)}`);
    if (!io.env.WARREN_DEBUG) lines.push('This is a bug in warren. WARREN_DEBUG=1 shows where it happened.');
  }
  if (io.env.WARREN_DEBUG && error instanceof Error) lines.push(traceOf(error));
  io.stderr.write(`${lines.join('\n')}\n`);
}

function traceOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${traceOf(error.cause)}` : '';
  return `${withSourcePlaces(error.stack ?? error.message)}${cause}`;
}
