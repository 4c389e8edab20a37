/**
 * What a runtime asks of the plugin: environment variables and, on standard input, the network's configuration as JSON.
 * Everything is checked before anything is done, and what is wrong is said with the specification's codes.
 */
import {
  isContainerId,
  isInterfaceName,
  isNetworkName,
  MAX_CONTAINER_ID,
  MAX_NETWORK_NAME,
} from './attachment-key.ts';
import { CNI_ERROR, CniError } from './errors.ts';
import type { AttachmentKey } from './messages.ts';
import { type CniVersion, checkVersion } from './versions.ts';

export const COMMANDS = ['ADD', 'DEL', 'CHECK', 'STATUS', 'GC', 'VERSION'] as const;
export type CniCommand = (typeof COMMANDS)[number];

export const DEFAULT_SOCKET = '/run/warren/agent.sock';
/** Of an agent whose node.stateDir is the default one. */
export const DEFAULT_QUEUE = '/var/lib/warren/cni-deletes';

export type Environment = Readonly<Record<string, string | undefined>>;
export type JsonObject = Readonly<Record<string, unknown>>;

/** The part of a configuration that is the plugin's own, checked. */
export interface NetworkConfig {
  readonly cniVersion: CniVersion;
  readonly name: string;
  /** The agent's control socket. */
  readonly socket: string;
  /** The folder of deletions that the agent has yet to hear of. */
  readonly queue: string;
  readonly mtu: number | undefined;
  /** As it was given. */
  readonly raw: JsonObject;
}

/** Throws 4. */
export function commandOf(env: Environment): CniCommand {
  const found = COMMANDS.find((one) => one === env.CNI_COMMAND);
  if (found !== undefined) return found;
  throw invalidEnvironment([`CNI_COMMAND must be one of ${COMMANDS.join(', ')}`]);
}

/** Throws 6 for what is no JSON object. */
export function parseConfigText(text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CniError(
      CNI_ERROR.undecodable,
      'the network configuration on standard input is not JSON',
      (error as Error).message,
    );
  }
  if (isObject(value)) return value;
  throw new CniError(CNI_ERROR.undecodable, 'the network configuration on standard input is no JSON object');
}

/** Throws 1, 2, 7. */
export function networkConfigOf(raw: JsonObject, command: CniCommand): NetworkConfig {
  const cniVersion = checkVersion(raw.cniVersion, command);
  const { name, mtu } = raw;
  if (typeof name !== 'string' || !isNetworkName(name)) {
    throw invalidConfig(
      'name',
      name,
      `it must be 1 to ${MAX_NETWORK_NAME} letters, digits, dots, underscores and hyphens, a letter or digit first`,
    );
  }
  if (mtu !== undefined && !(Number.isInteger(mtu) && (mtu as number) > 0)) {
    throw invalidConfig('mtu', mtu, 'it must be a number of bytes');
  }
  // A deletion must go through whatever the configuration has become.
  if (command === 'ADD') refuseUnsupported(raw);
  return {
    cniVersion,
    name,
    mtu: mtu as number | undefined,
    socket: pathOf(raw, 'socket', DEFAULT_SOCKET),
    queue: pathOf(raw, 'queue', DEFAULT_QUEUE),
    raw,
  };
}

/** Of ADD, DEL and CHECK. Throws 4, with every variable that is not as it must be. */
export function attachmentOf(
  env: Environment,
  command: CniCommand,
  network: string,
): AttachmentKey & { readonly netns: string } {
  const { CNI_CONTAINERID: containerId = '', CNI_IFNAME: interfaceName = '', CNI_NETNS: netns = '' } = env;
  const wrong: string[] = [];
  if (!isContainerId(containerId)) {
    wrong.push(
      `CNI_CONTAINERID must be 1 to ${MAX_CONTAINER_ID} letters, digits, dots, underscores and hyphens, a letter or digit first`,
    );
  }
  if (!isInterfaceName(interfaceName)) {
    wrong.push('CNI_IFNAME must be the name of an interface, of 1 to 15 characters');
  }
  if (command !== 'DEL' && !netns.startsWith('/')) {
    wrong.push('CNI_NETNS must be the absolute path of a network namespace');
  }
  if (wrong.length > 0) throw invalidEnvironment(wrong);
  return { network, containerId, interfaceName, netns };
}

/** The pairs of CNI_ARGS. Throws 4. */
export function argsOf(env: Environment): Readonly<Record<string, string>> {
  const pairs = (env.CNI_ARGS ?? '').split(';').filter((pair) => pair !== '');
  const found: Record<string, string> = Object.create(null);
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    if (at < 1) throw invalidEnvironment(['CNI_ARGS must be pairs such as FOO=BAR;ABC=123']);
    found[pair.slice(0, at)] = pair.slice(at + 1);
  }
  return found;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The object at `key`; an empty one if there is none. Throws 7 if it is something else. */
export function objectAt(raw: JsonObject, key: string): JsonObject {
  const value = raw[key];
  if (value === undefined || value === null) return {};
  if (isObject(value)) return value;
  throw invalidConfig(key, value, 'it must be an object');
}

export function invalidEnvironment(wrong: readonly string[]): CniError {
  return new CniError(CNI_ERROR.invalidEnvironment, `invalid environment variables: ${wrong.join('; ')}`);
}

export function invalidConfig(key: string, value: unknown, rule: string): CniError {
  return new CniError(CNI_ERROR.invalidConfig, `invalid network configuration: ${shown(key, value)}`, rule);
}

export function unsupported(key: string, value: unknown, why: string): CniError {
  return new CniError(
    CNI_ERROR.unsupportedField,
    `unsupported field in the network configuration: ${shown(key, value)}`,
    why,
  );
}

function refuseUnsupported(raw: JsonObject): void {
  const ipam = raw.ipam;
  if (isObject(ipam) && Object.keys(ipam).length > 0) {
    throw unsupported('ipam', ipam, 'warren gives the addresses itself, from the subnet of the node');
  }
  if (raw.ipMasq === true) {
    throw unsupported(
      'ipMasq',
      true,
      "it is a choice of the whole node: egress.masquerade of the agent's configuration",
    );
  }
}

function pathOf(raw: JsonObject, key: string, fallback: string): string {
  const value = raw[key] ?? fallback;
  if (typeof value === 'string' && value.startsWith('/') && !value.includes('\0')) return value;
  throw invalidConfig(key, value, 'it must be an absolute path');
}

/** Short enough for a log, whatever it is. */
function shown(key: string, value: unknown): string {
  return `${key} is ${(JSON.stringify(value) ?? 'not there').slice(0, 200)}`;
}
