/** `warren trace`: where a packet between two ends dies, and why. Exit code 0 if it arrives, 1 if not, 2 if it could not be tried. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { CliContext } from '../../terminal/io.ts';
import { painter } from '../../terminal/table.ts';
import type { TraceWishes } from '../../trace/messages.ts';
import { agentClient, printJson, type SocketOption, withSocket } from '../agent-option.ts';

const EXIT_NOT_TRIED = 2;
/** As the agent has it (src/trace/messages.ts), which checks all of it. */
const DEFAULT_SECONDS = 10;

interface TraceOptions extends SocketOption {
  readonly tcp?: number;
  readonly udp?: number;
  readonly icmp?: true;
  readonly size?: number;
  readonly live?: true;
  readonly seconds?: number;
  readonly json?: true;
}

export function registerTraceCommand(program: Command, context: CliContext): void {
  const command = program
    .command('trace')
    .description('follow a packet from one pod or node to another: where it dies, why, and what to do')
    .argument('<source>', 'pod (NAME or NAME.NODE), address, or node:NAME')
    .argument('<destination>', 'the same')
    .addOption(
      new Option('--tcp <port>', 'the beginning of a TCP connection')
        .argParser(port)
        .conflicts(['udp', 'icmp']),
    )
    .addOption(new Option('--udp <port>', 'a UDP datagram').argParser(port).conflicts('icmp'))
    .option('--icmp', 'an echo request (default)')
    .addOption(
      new Option('--size <bytes>', 'of the whole packet, which may not be fragmented')
        .argParser(whole)
        .conflicts('live'),
    )
    .option('--live', 'follow real packets of that flow, and send none')
    .option(
      '--seconds <n>',
      `with --live: for how long they are waited for (default: ${DEFAULT_SECONDS})`,
      seconds,
    )
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExit code: 0 it arrives, 1 it does not, 2 it could not be tried.' +
        '\n\nExamples:\n  warren trace web db --tcp 5432\n  warren trace web.node-a 10.42.7.2 --size 1440\n' +
        '  warren trace node:node-a db.node-b\n  warren trace web db --tcp 5432 --live',
    );
  withSocket(command).action(async (source: string, destination: string, options: TraceOptions) => {
    try {
      const report = await agentClient(context, options).trace(wishesOf(source, destination, options));
      if (options.json) printJson(context, report);
      else {
        const { renderTrace } = await import('../../trace/render.ts');
        context.io.stdout.write(renderTrace(report, painter(context.io.stdout, context.io.env)));
      }
      context.exitCode = report.arrives ? 0 : 1;
    } catch (error) {
      context.exitCode = EXIT_NOT_TRIED;
      throw error;
    }
  });
}

function wishesOf(source: string, destination: string, options: TraceOptions): TraceWishes {
  const { tcp, udp, size, live, seconds: forSeconds } = options;
  return {
    ...{ source, destination, protocol: tcp !== undefined ? 'tcp' : udp !== undefined ? 'udp' : 'icmp' },
    ...((tcp ?? udp) !== undefined && { port: (tcp ?? udp)! }),
    ...(size !== undefined && { bytes: size }),
    ...(live && { live }),
    ...(forSeconds !== undefined && { seconds: forSeconds }),
  };
}

function port(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= 65_535) return value;
  throw new InvalidArgumentError('It must be a port, 1 to 65535.');
}

function whole(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a number of bytes.');
}

function seconds(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value >= 0.5 && value <= 60) return value;
  throw new InvalidArgumentError('It must be a number of seconds, 0.5 to 60.');
}
