/** The YAML text of a configuration: its values, and where in the text each key and value stands. */
import { isAlias, isMap, isPair, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';

export type KeyPath = readonly (string | number)[];

/** One thing wrong with the configuration; lines and columns count from 1. */
export interface Problem {
  readonly line: number;
  readonly column: number;
  /** `cluster.seeds[0]`; empty for the file as a whole. */
  readonly key: string;
  readonly message: string;
}

export interface ConfigSource {
  /** The text as plain values; undefined for an empty file. */
  readonly value: unknown;
  /** What YAML itself objects to. */
  readonly syntaxProblems: readonly Problem[];
  /** A problem with the value at `path`, or with the nearest thing around it where there is none. */
  problem(path: KeyPath, message: string): Problem;
  /** A problem with the key `name` itself of the mapping at `path`. */
  keyProblem(path: KeyPath, name: string, message: string): Problem;
}

/** An alias may repeat a part of the file; more than this is a "billion laughs" file. */
const MAX_ALIASES = 100;

export function readSource(text: string): ConfigSource {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, stringKeys: true });

  const at = (offset: number, key: string, message: string): Problem => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1), key, message };
  };

  const syntaxProblems = [...document.errors, ...document.warnings].map((error) => {
    const name = /^[^\s:]*/.exec(text.slice(error.pos[0], error.pos[0] + 64))?.[0] ?? '';
    return error.code === 'DUPLICATE_KEY'
      ? at(error.pos[0], '', `the key ${name} is given twice (keep one of them)`)
      : at(error.pos[0], '', `not valid YAML: ${error.message.replace(/\s+/g, ' ')}`);
  });

  /** The offset of the value at `path`, or of the last of its parents that exists. */
  const offsetOf = (path: KeyPath): number => {
    let node: unknown = document.contents;
    let offset = startOf(node) ?? 0;
    for (const key of path) {
      if (isAlias(node)) node = node.resolve(document);
      const item = childOf(node, key);
      if (item === undefined) break;
      offset = startOf(item.value) ?? startOf(item.key) ?? offset;
      node = item.value;
    }
    return offset;
  };

  let value: unknown;
  if (document.errors.every((error) => error.code === 'DUPLICATE_KEY')) {
    try {
      value = document.toJS({ maxAliasCount: MAX_ALIASES });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return { value, syntaxProblems: [at(0, '', `not valid YAML: ${reason}`)], problem, keyProblem };
    }
  }
  return { value, syntaxProblems, problem, keyProblem };

  function problem(path: KeyPath, message: string): Problem {
    return at(offsetOf(path), keyText(path), message);
  }

  function keyProblem(path: KeyPath, name: string, message: string): Problem {
    let node: unknown = path.length === 0 ? document.contents : document.getIn(path, true);
    if (isAlias(node)) node = node.resolve(document);
    const offset = startOf(childOf(node, name)?.key) ?? offsetOf(path);
    return at(offset, keyText([...path, name]), message);
  }
}

function childOf(node: unknown, key: string | number): { key?: unknown; value: unknown } | undefined {
  if (isSeq(node) && typeof key === 'number') {
    return key < node.items.length ? { value: node.items[key] } : undefined;
  }
  if (!isMap(node)) return undefined;
  return node.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === key);
}

function startOf(node: unknown): number | undefined {
  return (node as Node | null | undefined)?.range?.[0];
}

/** `['staticPeers', 0, 'name']` as `staticPeers[0].name`. */
export function keyText(path: KeyPath): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    return text === '' ? key : `${text}.${key}`;
  }, '');
}
