/** The parts of README.md and docs/*.md that tests hold against the code: blocks, tables, links, commands. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Written by hand, relative to the repository: reports that a program writes are not among them. */
export const DOCUMENTS: readonly string[] = [
  'README.md',
  'CHANGELOG.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md') && name !== 'simulation.md')
    .map((name) => `docs/${name}`),
];

export function readDocument(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

export interface Block {
  /** What follows the three backticks. */
  readonly language: string;
  readonly text: string;
  /** Of its first line, from 1. */
  readonly line: number;
}

export function blocks(markdown: string): Block[] {
  return [...markdown.matchAll(/^```([a-z]*)\n(.*?)^```$/gms)].map(({ 1: language, 2: text, index }) => ({
    language: language!,
    text: text!,
    line: markdown.slice(0, index).split('\n').length + 1,
  }));
}

/** The text without its blocks, where `#` and `|` mean what they mean in Markdown. */
export function prose(markdown: string): string {
  return markdown.replace(/^```[a-z]*\n.*?^```$/gms, '');
}

/** From a heading to the next one of its level or above. */
export function section(markdown: string, title: string): string {
  const [start] = markdown.match(new RegExp(`^#+ ${title}$`, 'm')) ?? [];
  if (start === undefined) throw new Error(`there is no heading "${title}"`);
  const from = markdown.indexOf(start);
  const level = start.indexOf(' ');
  const rest = markdown.slice(from + start.length);
  const next = prose(rest).match(new RegExp(`^#{1,${level}} .*$`, 'm'))?.[0];
  return start + (next === undefined ? rest : rest.slice(0, rest.indexOf(`\n${next}\n`)));
}

/** Each table as rows of cells, the header first. */
export function tables(markdown: string): string[][][] {
  return [...prose(markdown).matchAll(/(?:^\|.*\|\n)+/gm)].map(([table]) =>
    table
      .trimEnd()
      .split('\n')
      .filter((_, i) => i !== 1)
      .map((row) =>
        row
          .slice(1, -1)
          .split(/(?<!\\)\|/)
          .map((cell) => cell.trim().replaceAll('\\|', '|')),
      ),
  );
}

/** The first table whose header begins with `head`, without the header. */
export function table(markdown: string, head: string): string[][] {
  const found = tables(markdown).find(([header]) => header?.[0] === head);
  if (found === undefined) throw new Error(`there is no table with the head "${head}"`);
  return found.slice(1);
}

/** The `code` in a text. */
export function codeSpans(text: string): string[] {
  return [...prose(text).matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!);
}

/** Targets of links and pictures. */
export function links(markdown: string): string[] {
  return [...prose(markdown).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!);
}

/** The anchors that GitHub gives a document's headings. */
export function anchors(markdown: string): string[] {
  return [...prose(markdown).matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
    title!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

export interface Command {
  /** `node-a` of the prompt `node-a# `; undefined for the prompts `# ` (root) and `$ `. */
  readonly host: string | undefined;
  readonly line: string;
  readonly output: readonly string[];
}

/** The commands of a `console` block, with what is shown below each. */
export function commands(block: Block): Command[] {
  const found: { host: string | undefined; line: string; output: string[] }[] = [];
  for (const text of block.text.trimEnd().split('\n')) {
    const prompt = /^([a-z][a-z0-9-]*)?[#$] (.*)$/.exec(text);
    if (prompt !== null) found.push({ host: prompt[1], line: prompt[2]!, output: [] });
    else if (found.length === 0) throw new Error(`line ${block.line}: a console block begins with a prompt`);
    else found.at(-1)!.output.push(text);
  }
  return found;
}

/** A line's words as a shell would split them, with single and double quotes. */
export function shellWords(line: string): string[] {
  return [...line.matchAll(/(?:[^\s'"]+|'[^']*'|"[^"]*")+/g)].map(([word]) => word.replace(/['"]/g, ''));
}
