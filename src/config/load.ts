/**
 * From a YAML file to a `Config`. Everything that is wrong is reported at once, a line each:
 *
 *     FILE:LINE:COLUMN: key.path: what is wrong (what to do)
 */

import { closeSync, openSync, readSync } from 'node:fs';
import { hostname } from 'node:os';
import { errorMessage, WarrenError } from '../errors.ts';
import { NODE_NAME } from '../names.ts';
import type { z } from '../zod.ts';
import {
  checkAdmission,
  checkApi,
  checkEncapsulation,
  checkPodRanges,
  checkStaticPeers,
  checkStaticPods,
  checkUnderlay,
  DEFAULT_PORTS,
  encapsulationOf,
  type Report,
} from './checks.ts';
import type { Config, PodRange, StaticPeer } from './config.ts';
import { nameKubernetesNode, type PodVariables, takePodVariables } from './pod-variables.ts';
import { emptySection, knownKeys, type Parsed, sectionNames, sections } from './schema.ts';
import { type ConfigSource, type KeyPath, type Problem, readSource } from './source.ts';
import { didYouMean } from './suggest.ts';

/** A configuration is a page of text; more than this is some other file. */
const MAX_FILE_BYTES = 1024 * 1024;

/** Reads and checks a configuration file. Throws CONFIG_UNREADABLE or CONFIG_INVALID. */
export function loadConfig(path: string): Config {
  return parseConfig(readConfigText(path), path);
}

/**
 * Checks the text of a configuration; `fileName` stands in its errors, and `hostName` is the node's name
 * where the text gives none. In a Kubernetes cluster `variables` tell what differs from node to node. The result is frozen, all of it. Throws CONFIG_INVALID, whose message has one
 * line for each problem.
 */
export function parseConfig(
  text: string,
  fileName: string,
  hostName: string = hostname(),
  variables: PodVariables = process.env,
): Config {
  const source = readSource(text);
  const problems: Problem[] = [...source.syntaxProblems];
  const report: Report = (path, message) => problems.push(source.problem(path, message));

  const parsed = source.syntaxProblems.length === 0 || isMapping(source.value) ? parse(source, problems) : {};
  takePodVariables(parsed, variables, report);
  const podRanges = checkPodRanges(parsed.cluster, report);
  checkEncapsulation(parsed, report);
  checkStaticPeers(parsed, report);
  checkUnderlay(parsed, report);
  checkStaticPods(parsed, report);
  checkAdmission(parsed, report);
  checkApi(parsed, report);
  if (parsed.node && parsed.node.name === undefined) {
    if (NODE_NAME.test(hostName)) parsed.node.name = hostName;
    else report(['node'], `this host's name, "${hostName}", cannot be a node's name (set node.name)`);
  }
  nameKubernetesNode(parsed, report);
  if (problems.length > 0) throw invalid(fileName, problems);
  return freeze(assemble(parsed as Required<Parsed>, podRanges!));
}

/** Each section for itself, so that a slip in one does not hide what is wrong in another. */
function parse(source: ConfigSource, problems: Problem[]): Parsed {
  if (source.value === undefined || source.value === null) {
    problems.push(source.problem([], 'the file is empty (it needs at least cluster.podCidrs)'));
    return {};
  }
  if (!isMapping(source.value)) {
    problems.push(source.problem([], `must be a mapping of keys to values, not ${describe(source.value)}`));
    return {};
  }
  const raw = source.value;
  for (const key of Object.keys(raw)) {
    if (!(sectionNames as string[]).includes(key)) problems.push(unknownKey(source, [], key));
  }
  const parsed: Record<string, unknown> = {};
  for (const name of sectionNames) {
    const result = sections[name].safeParse(Object.hasOwn(raw, name) ? raw[name] : emptySection(name));
    if (result.success) parsed[name] = result.data;
    else for (const issue of result.error.issues) problems.push(...issueProblems(source, name, issue));
  }
  return parsed as Parsed;
}

function issueProblems(source: ConfigSource, section: string, issue: z.core.$ZodIssue): Problem[] {
  const path = [section, ...(issue.path as (string | number)[])];
  const value = valueAt(source.value, path);
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey(source, path, key));
  if (value === undefined) return [source.problem(path, 'is missing')];
  if (value === null) return [source.problem(path, 'has no value (give it one, or remove the line)')];
  if (issue.code === 'invalid_type') return [source.problem(path, typeMessage(issue.expected, value))];
  if (issue.code === 'invalid_value') {
    const choices = issue.values.map(String);
    const message = `must be one of ${choices.join(', ')}, not ${describe(value)}`;
    return [source.problem(path, message + didYouMean(String(value), choices))];
  }
  return [source.problem(path, issue.message)];
}

function unknownKey(source: ConfigSource, path: KeyPath, key: string): Problem {
  const known = knownKeys(path);
  const advice = didYouMean(key, known) || ` (known keys: ${known.join(', ')})`;
  return source.keyProblem(path, key, `unknown key${advice}`);
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'text',
  boolean: 'true or false',
  number: 'a number',
  array: 'a list',
  object: 'a mapping of keys to values',
};

function typeMessage(expected: string, value: unknown): string {
  const quotes = expected === 'string' && typeof value !== 'object' ? ' (put it in quotes)' : '';
  return `must be ${TYPE_NAMES[expected] ?? expected}, not ${describe(value)}${quotes}`;
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'a mapping of keys to values';
  if (typeof value === 'string') return `"${value.length > 40 ? `${value.slice(0, 40)}…` : value}"`;
  return `${typeof value} ${value}`;
}

function valueAt(value: unknown, path: KeyPath): unknown {
  let current = value;
  for (const key of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, key)) return undefined;
    current = (current as Record<string | number, unknown>)[key];
  }
  return current;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function assemble(parsed: Required<Parsed>, podCidrs: readonly PodRange[]): Config {
  const { node, cluster } = parsed;
  return {
    node: { name: node.name!, stateDir: node.stateDir, socket: node.socket },
    cluster: {
      name: cluster.name,
      podCidrs,
      seeds: cluster.seeds,
      keyFile: cluster.keyFile,
      admission: cluster.admission,
      approvers: cluster.approvers,
      timing: cluster.timing,
      leaseTtlSeconds: cluster.leaseTtl,
    },
    underlay: parsed.underlay,
    encapsulation: encapsulationOf(parsed),
    egress: parsed.egress,
    kubernetes: {
      enabled: parsed.kubernetes.enabled,
      ipam: parsed.kubernetes.ipam,
      networkPolicies: parsed.kubernetes.networkPolicies,
      nodeName: parsed.kubernetes.nodeName,
      kubeconfig: parsed.kubernetes.kubeconfig,
    },
    dns: parsed.dns,
    tun: parsed.tun,
    datapath: parsed.datapath,
    staticPeers: staticPeersOf(parsed),
    staticPods: parsed.staticPods,
    api: {
      socketGroup: parsed.api.socketGroup,
      readOnlySocket: parsed.api.readOnlySocket,
      readOnlyGroup: parsed.api.readOnlyGroup,
      remoteCapture: parsed.api.remoteCapture,
      listen: parsed.api.listen === 'off' ? undefined : parsed.api.listen,
      tls: parsed.api.tls,
      tokenFile: parsed.api.tokenFile,
    },
    log: parsed.log,
  };
}

function staticPeersOf(parsed: Required<Parsed>): StaticPeer[] {
  const defaultPort = DEFAULT_PORTS[encapsulationOf(parsed).type];
  return parsed.staticPeers.map(({ persistentKeepalive, endpoint, ...peer }) => ({
    ...peer,
    endpoint: endpoint && { address: endpoint.address, port: endpoint.port ?? defaultPort },
    ...(persistentKeepalive && { persistentKeepaliveSeconds: persistentKeepalive }),
  }));
}

function freeze<T>(value: T): T {
  // The elements of bytes cannot be frozen.
  if (ArrayBuffer.isView(value)) return value;
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const part of Object.values(value)) freeze(part);
  }
  return value;
}

function invalid(fileName: string, problems: Problem[]): WarrenError {
  const lines = problems
    .toSorted((a, b) => a.line - b.line || a.column - b.column)
    .map(({ line, column, key, message }) => {
      return `${fileName}:${line}:${column}: ${key === '' ? '' : `${key}: `}${message}`;
    });
  return new WarrenError('CONFIG_INVALID', lines.join('\n'));
}

/** Throws CONFIG_UNREADABLE. */
export function readConfigText(path: string): string {
  let file: number | undefined;
  try {
    file = openSync(path, 'r');
    // Read, not stat: the file may be a pipe (`-c /dev/stdin`).
    const bytes = Buffer.alloc(MAX_FILE_BYTES + 1);
    let length = 0;
    for (let count = -1; count !== 0 && length < bytes.length; length += count) {
      count = readSync(file, bytes, length, bytes.length - length, null);
    }
    if (length > MAX_FILE_BYTES) throw new Error(`it is larger than ${MAX_FILE_BYTES} bytes`);
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, length));
  } catch (error) {
    throw new WarrenError('CONFIG_UNREADABLE', `cannot read the configuration ${path}: ${reason(error)}`, {
      hint: 'Name a configuration file with -c FILE; the config folder of the package has examples.',
      cause: error,
    });
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function reason(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
      return 'there is no such file';
    case 'EACCES':
      return 'permission denied';
    case 'EISDIR':
      return 'it is a folder';
    case 'ERR_ENCODING_INVALID_ENCODED_DATA':
      return 'it is not UTF-8 text';
    default:
      return errorMessage(error);
  }
}
