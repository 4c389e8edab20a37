/**
 * NetworkPolicies from YAML (or JSON) text of one document or many, as `kubectl apply` takes them. All that is wrong is
 * reported at once, a line each:
 *
 *     FILE:LINE:COLUMN: document N: spec.ingress[0].ports[1].port: what is wrong (what to do)
 *
 * Loads zod's checks of policies and YAML: import it when there are documents to read.
 */
import { isMap, isPair, isScalar, isSeq, LineCounter, type Node, parseAllDocuments } from 'yaml';
import { keyText } from '../config/source.ts';
import { didYouMean } from '../config/suggest.ts';
import { WarrenError } from '../errors.ts';
import type { z } from '../zod.ts';
import { DEFAULT_NAMESPACE } from './compile.ts';
import { type NetworkPolicy, networkPolicySchema, POLICY_API_VERSION } from './schema.ts';

const MAX_TEXT_BYTES = 16 * 1024 * 1024;
export const MAX_POLICIES = 10_000;
/** More problems than this tell a reader nothing new. */
const MAX_PROBLEMS = 50;
/** An alias may repeat a part of a document; more than this is a "billion laughs" file. */
const MAX_ALIASES = 100;

type KeyPath = readonly (string | number)[];
type Report = (path: KeyPath, message: string, isKey?: boolean) => void;

/** Throws POLICY_INVALID, whose message has one line for each problem; `fileName` stands in them. */
export function parsePolicies(text: string, fileName: string): NetworkPolicy[] {
  if (Buffer.byteLength(text) > MAX_TEXT_BYTES) {
    throw new WarrenError('POLICY_INVALID', `${fileName}: is larger than ${MAX_TEXT_BYTES} bytes`, {
      hint: 'Give policies in several files.',
    });
  }
  const problems: string[] = [];
  const policies: NetworkPolicy[] = [];
  const seen = new Map<string, number>();
  const lines = new LineCounter();
  const options = { lineCounter: lines, prettyErrors: false, stringKeys: true } as const;
  const documents = [...parseAllDocuments(text, options)];
  for (const [i, document] of documents.entries()) {
    const at = (offset: number, what: string): void => {
      const { line, col } = lines.linePos(offset);
      problems.push(`${fileName}:${Math.max(line, 1)}:${Math.max(col, 1)}: document ${i + 1}: ${what}`);
    };
    const report: Report = (path, message, isKey = false) => {
      const key = keyText(path);
      at(offsetOf(document.contents, path, isKey), `${key === '' ? '' : `${key}: `}${message}`);
    };
    const faults = [...document.errors, ...document.warnings];
    for (const { pos, message } of faults) at(pos[0], `not valid YAML: ${message.replace(/\s+/g, ' ')}`);
    if (faults.length > 0) continue;
    let value: unknown;
    try {
      value = document.toJS({ maxAliasCount: MAX_ALIASES });
    } catch (error) {
      report([], `not valid YAML: ${(error as Error).message}`);
      continue;
    }
    // `---` at the end, or between comments.
    if (value === null || value === undefined) continue;
    for (const [path, item] of itemsOf(value)) {
      const policy = readPolicy(item, path, report);
      if (policy === undefined) continue;
      const { name, namespace = DEFAULT_NAMESPACE } = policy.metadata;
      const before = seen.get(`${namespace}/${name}`);
      if (before !== undefined) {
        const message = `${namespace}/${name} is in document ${before} already (keep one, or rename one)`;
        report([...path, 'metadata', 'name'], message);
      }
      seen.set(`${namespace}/${name}`, i + 1);
      policies.push(policy);
    }
  }
  if (policies.length > MAX_POLICIES)
    problems.push(
      `${fileName}: has ${policies.length} policies, and ${MAX_POLICIES} is the most (remove some)`,
    );
  if (problems.length > 0) throw invalid(problems);
  return policies;
}

function invalid(problems: readonly string[]): WarrenError {
  const more = problems.length - MAX_PROBLEMS;
  const shown = problems.slice(0, MAX_PROBLEMS);
  return new WarrenError(
    'POLICY_INVALID',
    [...shown, ...(more > 0 ? [`and ${more} more problems`] : [])].join('\n'),
  );
}

/** The objects of a document: it may be a list, as `kubectl get -o yaml` writes it. */
function itemsOf(value: unknown): [KeyPath, unknown][] {
  if (isMapping(value) && Array.isArray(value.items) && /^(NetworkPolicy)?List$/.test(String(value.kind)))
    return value.items.map((item, i) => [['items', i], item]);
  return [[[], value]];
}

function readPolicy(value: unknown, at: KeyPath, report: Report): NetworkPolicy | undefined {
  if (!isMapping(value)) {
    report(at, 'must be a mapping of keys to values: apiVersion, kind, metadata, spec');
    return undefined;
  }
  if (value.kind !== 'NetworkPolicy' || value.apiVersion !== POLICY_API_VERSION) {
    const found = `${show(value.kind)} of ${show(value.apiVersion)}`;
    report(
      at,
      `is ${found} (only a NetworkPolicy of ${POLICY_API_VERSION} can be read: remove the document)`,
    );
    return undefined;
  }
  const given = withoutNulls(value);
  const result = networkPolicySchema.safeParse(given);
  if (result.success) return result.data;
  for (const issue of result.error.issues) reportIssue(issue, given, at, report);
  return undefined;
}

/** As with Kubernetes, a key without a value is an absent key. Not among labels: there it would select more. */
function withoutNulls(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) return value.map((item) => withoutNulls(item));
  if (!isMapping(value) || key === 'matchLabels') return value;
  const entries = Object.entries(value).filter(([, one]) => one !== null);
  return Object.fromEntries(entries.map(([name, one]) => [name, withoutNulls(one, name)]));
}

function reportIssue(issue: z.core.$ZodIssue, whole: unknown, at: KeyPath, report: Report): void {
  const path = [...at, ...(issue.path as (string | number)[])];
  const value = (issue.path as (string | number)[]).reduce<unknown>(
    (found, key) => (found as Record<string | number, unknown> | null | undefined)?.[key],
    whole,
  );
  if (issue.code === 'unrecognized_keys') {
    for (const key of issue.keys)
      report([...path, key], `unknown key${didYouMean(key, KNOWN_KEYS) || ' (remove it)'}`, true);
  } else if (issue.code === 'invalid_key') {
    report(path, issue.issues[0]?.message ?? issue.message, true);
  } else {
    report(path, problemOf(issue, value));
  }
}

function problemOf(issue: z.core.$ZodIssue, value: unknown): string {
  switch (issue.code) {
    case 'invalid_value': {
      const choices = issue.values.map(String);
      return `must be one of ${choices.join(', ')}, not ${show(value)}${didYouMean(String(value), choices)}`;
    }
    case 'invalid_type':
      if (value === undefined) return 'is missing (add it)';
      if (value === null) return 'has no value (give it one, or remove it)';
      return `must be ${TYPE_NAMES[issue.expected] ?? issue.expected}, not ${show(value)}`;
    default:
      return issue.message;
  }
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'text (put it in quotes)',
  array: 'a list (begin its lines with -)',
  object: 'a mapping of keys to values',
  record: 'a mapping of keys to values',
};

const KNOWN_KEYS = (
  'apiVersion kind metadata spec podSelector namespaceSelector ipBlock matchLabels matchExpressions key operator ' +
  'values ingress egress from to ports protocol port endPort cidr except policyTypes'
).split(' ');

function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Where the value at `path` stands in the text (its key, if asked for), or the last of its parents that is there. */
function offsetOf(contents: unknown, path: KeyPath, isKey: boolean): number {
  let node = contents;
  let offset = startOf(node) ?? 0;
  for (const [i, key] of path.entries()) {
    const pair = isMap(node)
      ? node.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === key)
      : undefined;
    const value = isSeq(node) && typeof key === 'number' ? node.items[key] : pair?.value;
    const wantsKey = isKey && i === path.length - 1;
    offset = (wantsKey ? startOf(pair?.key) : (startOf(value) ?? startOf(pair?.key))) ?? offset;
    node = value;
  }
  return offset;
}

function startOf(node: unknown): number | undefined {
  return (node as Node | null | undefined)?.range?.[0];
}
