/**
 * What may stand at the end of a command line that somebody is typing. It is read from commander's own commands, so
 * that it cannot get out of step with them; names of what runs at the moment are asked of the agent.
 */
import type { Argument, Command, Option } from 'commander';

export interface Candidate {
  readonly word: string;
  readonly description: string;
}

/** What an argument names that only the agent knows. */
export type LiveKind =
  | 'pods'
  | 'peers'
  | 'wireguard-peers'
  | 'keys'
  | 'nodes'
  | 'allPods'
  | 'policies'
  | 'traceEnds'
  | 'dropReasons';

/** Gives names of that kind, none where the agent does not answer. `socket`: the value of --socket in the line. */
export type LiveNames = (kind: LiveKind, socket: string | undefined) => Promise<readonly Candidate[]>;

/** The first argument of these commands; a number behind: that one. */
export const LIVE_ARGUMENTS: Readonly<Record<string, LiveKind>> = {
  exec: 'pods',
  'pod rm': 'pods',
  forget: 'peers',
  'peer show': 'wireguard-peers',
  'peer rm': 'wireguard-peers',
  'key use': 'keys',
  'node approve': 'nodes',
  'node revoke': 'nodes',
  'key remove': 'keys',
  'policy delete': 'policies',
  'policy explain': 'allPods',
  trace: 'traceEnds',
  'trace 2': 'traceEnds',
};

/** What these options take, of whatever command. */
export const LIVE_OPTIONS: Readonly<Record<string, LiveKind>> = {
  '--pod': 'allPods',
  '--peer': 'peers',
  '--drop-reason': 'dropReasons',
};

/** Only what no shell would read as anything but a word. A peer chooses its name itself. */
const PLAIN_WORD = /^[A-Za-z0-9_.][A-Za-z0-9_.:/-]*$/;

/** `words`: what follows `warren`, the last of them unfinished, perhaps empty. None: the shell may offer files. */
export async function candidatesFor(
  program: Command,
  words: readonly string[],
  liveNames: LiveNames,
): Promise<Candidate[]> {
  const partial = words.at(-1) ?? '';
  const line = readLine(program, words.slice(0, -1));
  const found = await possible(line, partial, liveNames);
  return found.filter(({ word }) => word.startsWith(partial));
}

interface Line {
  readonly command: Command;
  /** How many arguments of `command` stand before the unfinished word. */
  readonly argumentCount: number;
  /** The option whose value the unfinished word is. */
  readonly option: Option | undefined;
  /** Options may follow. */
  readonly takesOptions: boolean;
  readonly socket: string | undefined;
}

function readLine(program: Command, words: readonly string[]): Line {
  let command = program;
  let argumentCount = 0;
  let option: Option | undefined;
  let ended = false;
  let socket: string | undefined;
  for (const word of words) {
    if (option !== undefined) {
      if (option.long === '--socket') socket = word;
      option = undefined;
    } else if (word === '--') {
      ended = true;
    } else if (!ended && word.startsWith('-')) {
      const known = command.options.find(({ short, long }) => word === short || word === long);
      if (known?.required) option = known;
      else if (word.startsWith('--socket=')) socket = word.slice('--socket='.length);
    } else {
      const below = argumentCount === 0 && !ended ? commandBelow(command, word) : undefined;
      if (below === undefined) argumentCount += 1;
      else command = below;
    }
  }
  // `warren exec web ls -l`: from the second argument on options belong to what is run.
  const runsOthers = command.registeredArguments.at(-1)?.variadic === true && argumentCount > 0;
  return { command, argumentCount, option, takesOptions: !ended && !runsOthers, socket };
}

function commandBelow(command: Command, word: string): Command | undefined {
  return command.commands.find((one) => one.name() === word || one.aliases().includes(word));
}

async function possible(line: Line, partial: string, liveNames: LiveNames): Promise<Candidate[]> {
  const { command, argumentCount, option } = line;
  if (option !== undefined) {
    const kind = LIVE_OPTIONS[option.long ?? ''];
    return kind === undefined ? choicesOf(option) : live(kind, line, liveNames);
  }
  const help = command.createHelp();
  if (partial.startsWith('-')) {
    if (!line.takesOptions) return [];
    return help.visibleOptions(command).flatMap((one) => wordsOf(one, partial));
  }
  const argument = command.registeredArguments[argumentCount];
  const found = argument === undefined ? [] : choicesOf(argument);
  if (argumentCount === 0) {
    for (const below of help.visibleCommands(command)) {
      found.push({ word: below.name(), description: firstLine(below.description()) });
    }
  }
  const path = pathOf(command);
  const kind = LIVE_ARGUMENTS[argumentCount === 0 ? path : `${path} ${argumentCount + 1}`];
  if (kind === undefined) return found;
  return [...found, ...(await live(kind, line, liveNames))];
}

async function live(kind: LiveKind, { socket }: Line, liveNames: LiveNames): Promise<Candidate[]> {
  const names = await liveNames(kind, socket);
  return names
    .filter(({ word }) => PLAIN_WORD.test(word))
    .map(({ word, description }) => ({ word, description: firstLine(description) }));
}

/** `-s` is offered only to who has typed just that: the long name says more. */
function wordsOf(option: Option, partial: string): Candidate[] {
  const words = [option.long, partial === option.short || !option.long ? option.short : undefined];
  const description = firstLine(option.description);
  return words.flatMap((word) => (word ? [{ word, description }] : []));
}

function choicesOf({ argChoices }: Option | Argument): Candidate[] {
  return (argChoices ?? []).map((word) => ({ word, description: '' }));
}

/** A terminal shows it: no control characters. */
function firstLine(text: string): string {
  return (text.split('\n')[0] ?? '').replace(/\p{Cc}/gu, ' ');
}

/** The command's names without the program's. */
export function pathOf(command: Command): string {
  const { parent } = command;
  if (!parent) return '';
  const above = pathOf(parent);
  return above === '' ? command.name() : `${above} ${command.name()}`;
}
