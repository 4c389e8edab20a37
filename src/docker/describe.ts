/** How attachments are called by what the engine says of its networks and containers. */
import type { AttachmentDescription } from '../attachment/attachment.ts';
import { PASSED_LABELS, WORKLOAD_LABELS } from '../inventory/workload.ts';
import { UNPRINTABLE } from '../names.ts';
import type { EngineContainer, EngineNetwork } from './engine.ts';

/** How Compose calls a network in its file, apart from the project. */
const COMPOSE_NETWORK = 'com.docker.compose.network';
/** `--opt warren.network=NAME`: the network is to be called that on all hosts. */
export const NAME_OPTION = 'warren.network';
/** `--opt warren.reach=NAME,NAME`: the other networks that this one may reach; `*`: all. */
export const REACH_OPTION = 'warren.reach';

/** So much of a name goes on: an inventory's label has at most 256 characters, and all of an attachment's 2,048 bytes. */
const MAX_TEXT = 200;

/** What a network is on all hosts. */
export interface NetworkFacts {
  readonly name: string;
  /** Names of networks with commas between; `*`: all; empty: none. */
  readonly reach: string;
}

export function networkFacts({ Name, Labels, Options }: Omit<EngineNetwork, 'Id' | 'Driver'>): NetworkFacts {
  return { name: networkName({ Name, Labels, Options }), reach: Options?.[REACH_OPTION] ?? '' };
}

/** What the user wrote: Compose puts the project's name before it. */
function networkName({ Name, Labels, Options }: Omit<EngineNetwork, 'Id' | 'Driver'>): string {
  const option = Options?.[NAME_OPTION];
  if (option !== undefined) return option;
  const [project, key] = [Labels?.[WORKLOAD_LABELS.project], Labels?.[COMPOSE_NETWORK]];
  return key !== undefined && Name === `${project}_${key}` ? key : Name;
}

/** Before the engine says which container an endpoint is of. */
export function newEndpoint(id: string, networkId: string, facts: NetworkFacts): AttachmentDescription {
  return { name: id.slice(0, 12), ...ofNetwork({ [WORKLOAD_LABELS.networkId]: networkId }, facts) };
}

/** `before` with what is known of its container and its network. */
export function described(
  before: AttachmentDescription,
  container: EngineContainer | undefined,
  facts: NetworkFacts | undefined,
  aliases: readonly string[] = [],
): AttachmentDescription {
  const known = container === undefined ? before : ofContainer(before, container, aliases);
  return facts === undefined ? known : { ...known, ...ofNetwork(known.labels, facts) };
}

/** Endpoint to its container. Bounded by the engine's answer. */
export function containersByEndpoint(containers: readonly EngineContainer[]): Map<string, EngineContainer> {
  const found = new Map<string, EngineContainer>();
  for (const container of containers)
    for (const endpoint of Object.values(container.NetworkSettings?.Networks ?? {}))
      if (endpoint !== null && endpoint.EndpointID !== '') found.set(endpoint.EndpointID, container);
  return found;
}

function ofNetwork(
  labels: Readonly<Record<string, string>>,
  { name, reach }: NetworkFacts,
): Pick<AttachmentDescription, 'network' | 'labels'> {
  const { [WORKLOAD_LABELS.reach]: _, ...rest } = labels;
  return {
    network: name,
    labels: reach === '' ? rest : { ...rest, [WORKLOAD_LABELS.reach]: reach },
  };
}

function ofContainer(
  before: AttachmentDescription,
  container: EngineContainer,
  aliases: readonly string[],
): AttachmentDescription {
  const keys = WORKLOAD_LABELS;
  const { [keys.networkId]: networkId, [keys.reach]: reach } = before.labels;
  const ports = (container.Ports ?? []).map(({ PrivatePort, Type }) => `${PrivatePort}/${Type}`);
  const said = {
    [keys.networkId]: networkId,
    [keys.reach]: reach,
    [keys.containerId]: container.Id,
    [keys.health]: healthOf(container.Status ?? ''),
    // The engine adds the beginning of the id, which is known as it is.
    [keys.aliases]: listOf(aliases.filter((one) => !container.Id.startsWith(one))),
    [keys.ports]: listOf(ports.sort()),
    ...Object.fromEntries(PASSED_LABELS.map((key) => [key, container.Labels?.[key]?.slice(0, MAX_TEXT)])),
  };
  // Links give a container more names, with the other's before a slash.
  const name = container.Names?.map((one) => one.replace(/^\//, '')).find((one) => !one.includes('/'));
  return {
    ...before,
    name: name === undefined || name === '' ? before.name : name.slice(0, MAX_TEXT),
    labels: Object.fromEntries(
      // What a person wrote into a Dockerfile may be anything.
      Object.entries(said).filter(
        (label): label is [string, string] => label[1] !== undefined && !UNPRINTABLE.test(label[1]),
      ),
    ),
  };
}

/** With commas between, each once, as many as fit; undefined if there are none. */
function listOf(all: readonly string[]): string | undefined {
  let text = '';
  for (const one of new Set(all)) {
    const longer = text === '' ? one : `${text},${one}`;
    if (longer.length > MAX_TEXT) break;
    text = longer;
  }
  return text === '' ? undefined : text;
}

function healthOf(status: string): string | undefined {
  const [, health] = /\((?:health: )?(healthy|unhealthy|starting)\)/.exec(status) ?? [];
  return health;
}
