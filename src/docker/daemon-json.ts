/**
 * The resolvers of containers in the configuration of an engine, as an edit of its text: `dns` in daemon.json. What else is in
 * the file stays as it was, to the byte, and what was put in can be taken out again.
 */
import { WarrenError } from '../errors.ts';

/** A file that is larger is not one. */
const MAX_CHARACTERS = 1024 * 1024;
const KEY = 'dns';
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/** A member of an object, or an element of an array, by where it is in the text. */
interface Item {
  readonly start: number;
  /** Where its value starts. */
  readonly value: number;
  readonly end: number;
}

/**
 * `text` with `address` before all resolvers that it has, or else with `address` and `others`; undefined: there is no file.
 * `added`: those that were not there before, in order. Throws DOCKER_CONFIG_INVALID.
 */
export function withResolvers(
  text: string | undefined,
  address: string,
  others: readonly string[],
): { readonly text: string; readonly added: readonly string[] } {
  const before = text === undefined || text.trim() === '' ? '{}\n' : text;
  const has = resolversIn(before);
  if (has?.includes(address)) return { text: before, added: [] };
  if (has !== undefined && has.length > 0) {
    const at = itemsOf(before, dnsMember(before)!.value)[0]!.start;
    return checked(put(before, at, at, `${JSON.stringify(address)}, `), [address], [address, ...has]);
  }
  const all = [...new Set([address, ...others])];
  return checked(withMember(before, `[${all.map((one) => JSON.stringify(one)).join(', ')}]`), all, all);
}

/** `text` without those of `added` that are still there, and without `dns` if none are left. Throws DOCKER_CONFIG_INVALID. */
export function withoutResolvers(text: string, added: readonly string[]): string {
  if (text.trim() === '') return text;
  let left = resolversIn(text);
  let after = text;
  for (const address of added) {
    const index = left?.indexOf(address) ?? -1;
    if (index < 0) continue;
    after = without(after, dnsMember(after)!.value, index);
    left = resolversIn(after);
  }
  if (after === text || left?.length !== 0) return after;
  const root = after.indexOf('{');
  return without(after, root, keysOf(after).lastIndexOf(KEY));
}

/** Whether it says nothing. */
export function isEmptyConfig(text: string): boolean {
  return text.trim() === '' || Object.keys(parsed(text)).length === 0;
}

function parsed(text: string): Record<string, unknown> {
  if (text.length > MAX_CHARACTERS) throw invalid('it is too large');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid((error as Error).message);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('it is no object');
  return value as Record<string, unknown>;
}

/** Undefined: the file has no `dns`. */
function resolversIn(text: string): string[] | undefined {
  const config = parsed(text);
  if (!Object.hasOwn(config, KEY)) return undefined;
  const { [KEY]: dns } = config;
  if (Array.isArray(dns) && dns.every((one) => typeof one === 'string')) return dns;
  throw invalid('its "dns" is not a list of addresses');
}

/** What was written must be what was meant, whatever else is in the file. */
function checked(text: string, added: readonly string[], wanted: readonly string[]) {
  if (resolversIn(text)?.join() !== wanted.join()) throw invalid('its "dns" cannot be changed');
  return { text, added };
}

function invalid(why: string): WarrenError {
  return new WarrenError('DOCKER_CONFIG_INVALID', why, {
    hint: 'Nothing was changed. Mend the file, or leave it alone with --no-names.',
  });
}

/** Of two members of that name the last counts, for engines as for JavaScript. */
function dnsMember(text: string): Item | undefined {
  return itemsOf(text, text.indexOf('{'))[keysOf(text).lastIndexOf(KEY)];
}

function keysOf(text: string): unknown[] {
  return itemsOf(text, text.indexOf('{')).map(({ start }) => {
    TOKEN.lastIndex = start;
    return JSON.parse(TOKEN.exec(text)![0]);
  });
}

function withMember(text: string, value: string): string {
  const member = dnsMember(text);
  if (member) return put(text, member.value, member.end, value);
  const root = text.indexOf('{');
  const items = itemsOf(text, root);
  const [first, last] = [items[0], items.at(-1)];
  if (!first || !last) return put(text, root + 1, text.lastIndexOf('}'), `\n  "${KEY}": ${value}\n`);
  // As far apart as the first one is from the brace.
  const space = text.slice(root + 1, first.start);
  return put(text, last.end, last.end, `,${space === '' ? ' ' : space}"${KEY}": ${value}`);
}

/** `text` without one item of the object or array that opens at `open`, and without its comma. */
function without(text: string, open: number, index: number): string {
  const items = itemsOf(text, open);
  const [item, next, previous] = [items[index]!, items[index + 1], items[index - 1]];
  if (next) return put(text, item.start, next.start, '');
  if (previous) return put(text, previous.end, item.end, '');
  const close = text[open] === '{' ? '}' : ']';
  return put(text, open + 1, text.indexOf(close, item.end), '');
}

function put(text: string, start: number, end: number, middle: string): string {
  return text.slice(0, start) + middle + text.slice(end);
}

/** Those of the object or array that opens at `open`, of a text that is JSON. */
function itemsOf(text: string, open: number): Item[] {
  const items: Item[] = [];
  let depth = 0;
  let item: { start: number; value: number; end: number } | undefined;
  let isValueNext = false;
  TOKEN.lastIndex = open;
  for (let found = TOKEN.exec(text); found !== null; found = TOKEN.exec(text)) {
    const [token] = found;
    const isClosing = token === '}' || token === ']';
    if (isClosing) depth--;
    if (depth === 0 && found.index !== open) break;
    if (depth === 1 && token === ',') {
      item = undefined;
    } else if (depth === 1 && token === ':') {
      isValueNext = true;
    } else if (found.index !== open) {
      if (item === undefined) {
        item = { start: found.index, value: found.index, end: 0 };
        items.push(item);
      }
      if (isValueNext) item.value = found.index;
      isValueNext = false;
      item.end = found.index + token.length;
    }
    if (token === '{' || token === '[') depth++;
  }
  return items;
}
