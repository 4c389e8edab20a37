/**
 * The CNI plugin (specification 1.1.0, and back to 0.3.0): a client of the agent that keeps nothing of its own but the
 * deletions that the agent has yet to hear of. Whatever happens to it in the middle of a command, the agent finishes
 * what it was asked or has not begun it, and the runtime's next command finds that.
 */
import { AgentAway, AgentRefused, type AgentSocket, askAgent } from './agent-call.ts';
import { queueDelete } from './delete-queue.ts';
import { CNI_ERROR, CniError } from './errors.ts';
import type {
  AddRequest,
  Attached,
  AttachmentKey,
  Caller,
  CheckAnswer,
  CniStatus,
  DeleteRequest,
  GcAnswer,
  GcRequest,
  UndoRequest,
} from './messages.ts';
import {
  attachmentOf,
  type CniCommand,
  commandOf,
  type Environment,
  invalidConfig,
  invalidEnvironment,
  isObject,
  type JsonObject,
  type NetworkConfig,
  networkConfigOf,
  parseConfigText,
} from './request.ts';
import { differences, resultOf } from './result.ts';
import { isSupported, NEWEST, VERSIONS } from './versions.ts';
import { wishesOf } from './wishes.ts';

export interface Outcome {
  /** Of the process. */
  readonly exitCode: number;
  /** For standard output. */
  readonly text: string;
  /** To be called where nobody takes the text: then nothing has been done. Never rejects. */
  readonly undo?: (() => Promise<void>) | undefined;
}

export interface PluginOptions {
  /** How long the agent may take for an answer. Default a minute. */
  readonly timeoutMs?: number | undefined;
  /** The process that asks. */
  readonly caller?: Caller | undefined;
}

/** `readInput` gives all of standard input, and throws what keeps it from that. */
export async function runPlugin(
  env: Environment,
  readInput: () => Promise<string>,
  options: PluginOptions = {},
): Promise<Outcome> {
  let version: string = NEWEST;
  try {
    const command = commandOf(env);
    const text = await inputOf(readInput);
    const raw = command === 'VERSION' && text.trim() === '' ? {} : parseConfigText(text);
    if (isSupported(raw.cniVersion)) version = raw.cniVersion;
    const answer = await answerTo(command, raw, env, options);
    return {
      exitCode: 0,
      text: answer === undefined ? '' : `${JSON.stringify(answer)}\n`,
      ...(command === 'ADD' && { undo: () => undo(networkConfigOf(raw, command), env, options) }),
    };
  } catch (thrown) {
    const { code, message, details } = errorOf(thrown);
    const error = { cniVersion: version, code, msg: message, ...(details !== undefined && { details }) };
    return { exitCode: 1, text: `${JSON.stringify(error)}\n` };
  }
}

async function inputOf(readInput: () => Promise<string>): Promise<string> {
  try {
    return await readInput();
  } catch (error) {
    throw new CniError(CNI_ERROR.io, 'standard input cannot be read', (error as Error).message);
  }
}

async function answerTo(
  command: CniCommand,
  raw: JsonObject,
  env: Environment,
  { timeoutMs, caller }: PluginOptions,
): Promise<JsonObject | undefined> {
  if (command === 'VERSION') {
    const cniVersion = typeof raw.cniVersion === 'string' ? raw.cniVersion : NEWEST;
    return { cniVersion, supportedVersions: VERSIONS };
  }
  const config = networkConfigOf(raw, command);
  const agent = { path: config.socket, timeoutMs };
  switch (command) {
    case 'ADD':
      return add(agent, config, env, caller);
    case 'DEL':
      return remove(agent, config, attachmentOf(env, command, config.name), caller);
    case 'CHECK':
      return check(agent, config, attachmentOf(env, command, config.name));
    case 'STATUS':
      return status(agent);
    case 'GC':
      return collect(agent, config, caller);
  }
}

async function add(
  agent: AgentSocket,
  config: NetworkConfig,
  env: Environment,
  caller: Caller | undefined,
): Promise<JsonObject> {
  const { netns, ...key } = attachmentOf(env, 'ADD', config.name);
  const { name, labels, addresses } = wishesOf(config.raw, env);
  const request: AddRequest = {
    ...key,
    caller,
    netns,
    name,
    labels,
    addresses,
    mtu: config.mtu,
    queue: config.queue,
  };
  const attached = await askAgent<Attached>(agent, 'add', request);
  return resultOf(attached, config, { netns, interfaceName: key.interfaceName });
}

/** Of an ADD that was answered. Without a caller the agent could not tell it from one that came after it. */
async function undo(
  { socket, name }: NetworkConfig,
  env: Environment,
  { timeoutMs, caller }: PluginOptions,
): Promise<void> {
  if (caller === undefined) return;
  const { network, containerId, interfaceName } = attachmentOf(env, 'ADD', name);
  const request: UndoRequest = { network, containerId, interfaceName, caller };
  // What stays is the runtime's to delete, or to collect.
  await askAgent({ path: socket, timeoutMs }, 'undo', request).catch(() => {});
}

async function remove(
  agent: AgentSocket,
  { queue }: NetworkConfig,
  attachment: AttachmentKey,
  caller: Caller | undefined,
): Promise<undefined> {
  const { network, containerId, interfaceName } = attachment;
  const key = { network, containerId, interfaceName };
  const request: DeleteRequest = { ...key, caller };
  try {
    await askAgent(agent, 'delete', request);
  } catch (error) {
    if (!(error instanceof AgentAway)) throw error;
    if (!queueDelete(queue, key)) return;
    // Whatever comes of it, the agent finds the file.
    await askAgent(agent, 'delete', request).catch(() => {});
  }
}

async function check(
  agent: AgentSocket,
  { raw }: NetworkConfig,
  { netns, ...key }: AttachmentKey & { readonly netns: string },
): Promise<undefined> {
  const { prevResult } = raw;
  if (!isObject(prevResult))
    throw invalidConfig('prevResult', prevResult, 'CHECK is about the result of an ADD');
  const { attached, problems } = await askAgent<CheckAnswer>(agent, 'check', { ...key, netns });
  if (attached === undefined) {
    throw new CniError(
      CNI_ERROR.unknownContainer,
      `${key.containerId} has no interface ${key.interfaceName} in network ${key.network}`,
    );
  }
  const wrong = [
    ...problems,
    ...differences(attached, prevResult, { netns, interfaceName: key.interfaceName }),
  ];
  if (wrong.length > 0) {
    throw new CniError(
      CNI_ERROR.checkFailed,
      `the network of ${key.containerId} is damaged`,
      wrong.join('; '),
    );
  }
}

async function status(agent: AgentSocket): Promise<undefined> {
  let answer: CniStatus;
  try {
    answer = await askAgent<CniStatus>(agent, 'status');
  } catch (error) {
    if (!(error instanceof AgentAway)) throw error;
    // Packets go through the agent: without it nobody reaches another node.
    throw new CniError(CNI_ERROR.unavailableAndLimited, 'the warren agent does not answer', error.message);
  }
  if (answer.isReady) return;
  throw new CniError(
    answer.isLimited ? CNI_ERROR.unavailableAndLimited : CNI_ERROR.unavailable,
    'the warren agent cannot attach containers now',
    answer.reason,
  );
}

async function collect(
  agent: AgentSocket,
  { name, raw }: NetworkConfig,
  caller: Caller | undefined,
): Promise<undefined> {
  const request: GcRequest = { caller, network: name, keep: validAttachments(raw) };
  const { failed } = await askAgent<GcAnswer>(agent, 'gc', request);
  if (failed.length === 0) return;
  throw new CniError(
    CNI_ERROR.agent,
    `${failed.length} attachments could not be collected`,
    failed.slice(0, 20).join('; '),
  );
}

/** Without the list nothing may be removed; libcni writes one without entries as null. */
function validAttachments(raw: JsonObject): GcRequest['keep'] {
  const key = 'cni.dev/valid-attachments';
  const list = raw[key] === undefined ? raw['cni.dev/attachments'] : raw[key];
  if (list === null) return [];
  if (!Array.isArray(list)) throw invalidConfig(key, list, 'it must be the list of attachments to keep');
  return list.map((entry: unknown) => {
    const { containerID, ifname } = isObject(entry) ? entry : {};
    if (typeof containerID === 'string' && typeof ifname === 'string')
      return { containerId: containerID, interfaceName: ifname };
    throw invalidConfig(key, entry, 'each entry must have containerID and ifname');
  });
}

/** What the agent refuses, in the specification's terms. */
const REFUSED: Readonly<Record<string, (error: AgentRefused) => CniError>> = {
  ATTACHMENT_INVALID: ofConfig,
  ADDRESS_INVALID: ofConfig,
  ADDRESS_OUTSIDE: ofConfig,
  CNI_QUEUE: ofConfig,
  POD_NETNS_MISSING: ({ message }) => invalidEnvironment([`CNI_NETNS: ${message}`]),
  POD_NETNS_IS_NODE: ({ message }) => invalidEnvironment([`CNI_NETNS: ${message}`]),
  POD_INTERFACE_EXISTS: ({ message }) => invalidEnvironment([`CNI_IFNAME: ${message}`]),
  ATTACHMENT_INTERFACE_TAKEN: ({ message }) => invalidEnvironment([`CNI_IFNAME: ${message}`]),
  ATTACHMENT_BUSY: later,
  CNI_ADD_LATE: later,
  NAMESPACE_THREAD_LOST: later,
  NO_SUBNET: later,
  POD_NO_SUBNET: later,
  POLICY_LATE: later,
};

function errorOf(thrown: unknown): CniError {
  if (thrown instanceof CniError) return thrown;
  if (thrown instanceof AgentAway) {
    return new CniError(CNI_ERROR.tryAgainLater, 'the warren agent does not answer', thrown.message);
  }
  if (thrown instanceof AgentRefused) {
    const known = REFUSED[thrown.code];
    if (known !== undefined) return known(thrown);
    return new CniError(
      CNI_ERROR.agent,
      thrown.message,
      `${thrown.code}${thrown.hint ? `: ${thrown.hint}` : ''}`,
    );
  }
  return new CniError(
    CNI_ERROR.agent,
    'warren-cni failed, which is a bug in it',
    String((thrown as Error)?.stack),
  );
}

function ofConfig({ message, hint }: AgentRefused): CniError {
  return new CniError(CNI_ERROR.invalidConfig, `invalid network configuration: ${message}`, hint);
}

function later({ message, hint }: AgentRefused): CniError {
  return new CniError(CNI_ERROR.tryAgainLater, message, hint);
}
