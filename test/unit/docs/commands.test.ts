/** Every `warren` command that the documentation shows is one that the command line takes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { buildProgram } from '../../../src/cli/main.ts';
import {
  blocks,
  codeSpans,
  commands,
  DOCUMENTS,
  ROOT,
  readDocument,
  section,
  shellWords,
  table,
} from '../../helpers/markdown.ts';

const quiet = { write: () => {}, isTerminal: false, columns: 100 };
const io = { stdout: quiet, stderr: quiet, env: {}, interruptSignal: () => new AbortController().signal };
/** Options that are said of all commands at once. */
const COMMON_OPTIONS = ['--help', '--version', '--socket', '--json'];
/** They do something themselves, and have commands below them as well. */
const ACTING_GROUPS = ['bench', 'simulate'];

function program(): Promise<Command> {
  return buildProgram({ io, exitCode: 0 }, []);
}

/** The commands that do something. */
function acting(command: Command): Command[] {
  const own = command.commands.length === 0 || ACTING_GROUPS.includes(command.name()) ? [command] : [];
  return [...own, ...command.commands.flatMap(acting)];
}

function fullName(command: Command): string {
  return command.parent ? `${fullName(command.parent)} ${command.name()}` : command.name();
}

/** Throws what the command line would say to `argv`, without doing anything. */
async function parse(argv: readonly string[]): Promise<void> {
  const whole = await program();
  let ran = argv.includes('--version');
  for (const command of acting(whole)) {
    command.action(() => {
      ran = true;
    });
  }
  await whole.parseAsync([...argv], { from: 'user' }).catch((error: { code?: string }) => {
    if (error.code !== 'commander.version') throw error;
  });
  if (!ran) throw new Error('this is no whole command');
}

/** What follows `warren` in a line that runs it, up to the end of that command. */
function warrenArguments(line: string): string[] | undefined {
  const words = shellWords(line);
  const at = words.findIndex((word) => /^(.*\/)?warren(\.js)?$/.test(word));
  if (at < 0 || (at > 0 && !['sudo', 'node', 'docker-compose'].includes(words[0]!))) return undefined;
  const rest = words.slice(at + 1);
  const end = rest.findIndex((word) => ['|', '>', '&&', ';', '&'].includes(word));
  return end < 0 ? rest : rest.slice(0, end);
}

const shown = DOCUMENTS.flatMap((document) => {
  const text = readDocument(document);
  const lines = blocks(text)
    .filter(({ language }) => language === 'console')
    .flatMap((block) => commands(block).map(({ line }) => line));
  const services = blocks(text)
    .filter(({ language }) => language === 'ini')
    .flatMap((block) => [...block.text.matchAll(/^ExecStart=(.*)$/gm)].map(([, line]) => line!));
  return [...lines, ...services].map((line) => ({ document, line }));
});
const spans = DOCUMENTS.flatMap((document) => codeSpans(readDocument(document)));

describe('commands in the documentation', () => {
  const ours = shown.flatMap(({ document, line }) => {
    const argv = warrenArguments(line);
    return argv === undefined ? [] : [{ document, line, argv }];
  });

  it('are found', () => {
    const found = new Set(ours.map(({ document }) => document));
    expect([...found]).toEqual(expect.arrayContaining(['README.md', 'docs/operations.md']));
    expect(ours.length).toBeGreaterThan(20);
  });

  it.each(ours)('$document: $line', async ({ argv }) => {
    await parse(argv);
  });

  it('that are not there are refused by this test', async () => {
    await expect(parse(['pod', 'make', 'web'])).rejects.toThrow(/unknown command/);
    await expect(parse(['status', '--colour'])).rejects.toThrow(/unknown option/);
    await expect(parse(['pod', 'add'])).rejects.toThrow(/missing required argument/);
    await expect(parse(['key'])).rejects.toThrow();
  });

  it('in running text exist, with their options', async () => {
    const whole = await program();
    const named = spans.filter((code) => /^warren [a-z]/.test(code));
    expect(named.length).toBeGreaterThan(30);
    for (const code of named) {
      let command = whole;
      let isGroup = true;
      for (const word of shellWords(code).slice(1)) {
        if (word === '--' || word === '...') break;
        const next = command.commands.find((one) => one.name() === word);
        if (next !== undefined) command = next;
        // `warren forget NODE`: what follows the command's name is its own.
        else if (/^[a-z]/.test(word) && isGroup && command.commands.length > 0) expect.fail(code);
        else if (/^--?[a-z]/.test(word)) {
          const known = command.options.flatMap(({ short, long }) => [short, long]);
          expect(known, code).toContain(word);
        } else isGroup = false;
      }
    }
  });

  it('of npm are scripts of package.json', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const used = [...shown.map(({ line }) => line), ...spans].flatMap((line) =>
      [...line.matchAll(/\bnpm (?:run ([a-z:]+)|(test))\b/g)].map(([, run, test]) => run ?? test!),
    );
    expect(used).toContain('demo');
    for (const name of used) expect(Object.keys(scripts)).toContain(name);
  });

  it('of docker-compose name services that are there', () => {
    const compose = readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8');
    const used = shown.flatMap(({ line }) => /^docker-compose exec (?:-T )?(\S+)/.exec(line)?.[1] ?? []);
    expect(used.length).toBeGreaterThan(0);
    for (const service of used) expect(compose).toMatch(new RegExp(`^  ${service}:$`, 'm'));
  });
});

describe('the table of commands', () => {
  const rows = table(section(readDocument('docs/operations.md'), 'Commands'), 'command');
  const usages = rows.map(([usage]) => usage!.replaceAll('`', ''));
  const names = usages.map((usage) => /^warren(?: [a-z]+)+/.exec(usage)![0]);

  it('has every command, with its options, and no other', async () => {
    const all = acting(await program());
    expect([...names].sort()).toEqual(all.map(fullName).sort());
    for (const command of all) {
      const row = rows[names.indexOf(fullName(command))]!.join(' ');
      for (const { short, long } of command.options) {
        if (long === undefined || COMMON_OPTIONS.includes(long)) continue;
        const isShown = row.includes(long) || (short !== undefined && row.includes(`${short} `));
        expect(isShown, `${fullName(command)} ${long}`).toBe(true);
      }
    }
  });

  it('gives each command what it must be given', async () => {
    for (const command of acting(await program())) {
      const usage = usages[names.indexOf(fullName(command))]!;
      const given = usage.split(' ').filter((word) => /^[A-Z]+$/.test(word));
      const required = command.registeredArguments.filter((argument) => argument.required);
      expect(given.length, usage).toBeGreaterThanOrEqual(required.length);
    }
  });
});
