/** `warren capture`: packets of this node, or of all, as a file that Wireshark opens. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { CaptureWishes } from '../../capture/request.ts';
import { WarrenError } from '../../errors.ts';
import type { CliContext } from '../../terminal/io.ts';
import { agentClient, type SocketOption, withSocket } from '../agent-option.ts';

/** As the agent has them (src/capture/request.ts), which checks all of it; said here for the help alone. */
const DEFAULTS = { seconds: 60, bytes: '64M' } as const;
const PROTOCOLS: Readonly<Record<string, readonly number[]>> = { icmp: [1, 58], tcp: [6], udp: [17] };
const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1024, M: 1024 ** 2, G: 1024 ** 3 };
/** After Ctrl-C. */
const LAST_PACKETS_MS = 300;
const SIDES = ['inner', 'outer', 'dropped'] as const;

interface CaptureCommandOptions extends SocketOption {
  readonly write?: string;
  readonly seconds?: number;
  readonly bytes?: number;
  readonly snap?: number;
  readonly all?: true;
  readonly pod?: string[];
  readonly peer?: string[];
  readonly protocol?: number[];
  readonly port?: number[];
  readonly side?: (typeof SIDES)[number][];
  readonly dropReason?: string[];
}

export function registerCaptureCommand(program: Command, context: CliContext): void {
  const command = program
    .command('capture')
    .description('write packets as pcapng: what pods send and get, the tunnel, and what is dropped and why')
    .option('-w, --write <file>', 'to this file; -: to standard output (default, if that is no terminal)')
    .option('--seconds <n>', `end after so long (default: ${DEFAULTS.seconds})`, numberOf)
    .option('--bytes <n>', `end with so many bytes, such as 500k or 1G (default: ${DEFAULTS.bytes})`, bytesOf)
    .option('--snap <n>', 'bytes of each packet that are kept (default: all)', numberOf)
    .option('--all', 'of every node that lets it be done (api.remoteCapture), merged by time')
    .option(
      '--pod <name>',
      'to or from this pod, of any node; again for more',
      gathered((name) => [name]),
    )
    .option(
      '--peer <name>',
      'to or from this node; again for more',
      gathered((name) => [name]),
    )
    .option('--protocol <name>', 'tcp, udp, icmp or a number; again for more', gathered(protocolOf))
    .option(
      '--port <n>',
      'TCP or UDP port; again for more',
      gathered((text) => [numberOf(text)]),
    )
    .addOption(
      new Option('--side <side>', 'inner (pods), outer (tunnel) or dropped; again for more')
        .choices(SIDES)
        .argParser(gathered((side) => [choiceOf(side, SIDES)])),
    )
    .option(
      '--drop-reason <reason>',
      'only what was dropped for this; again for more',
      gathered((text) => [text]),
    )
    .addHelpText(
      'after',
      '\nExamples:\n  warren capture -w web.pcapng --pod web --seconds 10\n' +
        '  warren capture --pod web -w - | wireshark -k -i -\n  warren capture -w lost.pcapng --side dropped --all',
    );
  withSocket(command).action(async (options: CaptureCommandOptions) => {
    const { io } = context;
    if (options.write === undefined && io.stdout.isTerminal) {
      throw new WarrenError('CAPTURE_NO_OUTPUT', 'packets are not for a terminal', {
        hint: 'Name a file with -w FILE, or pipe them: warren capture | wireshark -k -i -',
      });
    }
    const signal = later(io.interruptSignal());
    const { captureOutput } = await import('../capture-output.ts');
    const { WholeBlocks } = await import('../../capture/pcapng.ts');
    const blocks = new WholeBlocks();
    const output = captureOutput(options.write);
    const stream = agentClient(context, options).capture(wishesOf(options), signal);
    let bytes = 0;
    try {
      for (;;) {
        const next = await stream.next();
        if (next.done) {
          for (const { node, reason } of next.value) io.stderr.write(`${node} is missing: ${reason}\n`);
          break;
        }
        const whole = blocks.push(next.value);
        bytes += whole.length;
        output.write(whole);
      }
    } finally {
      output.close();
    }
    const place = options.write === undefined || options.write === '-' ? 'standard output' : options.write;
    io.stderr.write(`${place}: ${bytes} bytes\n`);
  });
}

/** Aborted a moment after `signal`: what was captured by then is on its way. */
function later(signal: AbortSignal): AbortSignal {
  const end = new AbortController();
  signal.addEventListener('abort', () => setTimeout(() => end.abort(), LAST_PACKETS_MS), { once: true });
  return end.signal;
}

function wishesOf(options: CaptureCommandOptions): CaptureWishes {
  const { dropReason: reasons, protocol: protocols, port: ports, seconds, bytes, snap } = options;
  return {
    sides: options.side ?? (reasons === undefined ? [...SIDES] : ['dropped']),
    all: options.all === true,
    pods: options.pod ?? [],
    peers: options.peer ?? [],
    ...(reasons && { reasons }),
    ...(protocols && { protocols }),
    ...(ports && { ports }),
    ...(seconds !== undefined && { seconds }),
    ...(bytes !== undefined && { bytes }),
    ...(snap !== undefined && { snapBytes: snap }),
  };
}

/** An option that may be given again and again. */
function gathered<T>(read: (text: string) => readonly T[]) {
  return (text: string, before: readonly T[] | undefined): T[] => [...(before ?? []), ...read(text)];
}

function choiceOf<T extends string>(text: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text);
  if (found !== undefined) return found;
  throw new InvalidArgumentError(`Allowed choices are ${choices.join(', ')}.`);
}

function protocolOf(text: string): readonly number[] {
  return PROTOCOLS[text] ?? [numberOf(text)];
}

function numberOf(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a number over 0.');
}

function bytesOf(text: string): number {
  const [, count, unit] = /^(\d+)([kMG]?)$/.exec(text) ?? [];
  if (count === undefined)
    throw new InvalidArgumentError('It must be a number of bytes, such as 500k or 1G.');
  return Number(count) * UNITS[unit ?? '']!;
}
