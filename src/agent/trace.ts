/** Traces as an agent has them: loaded when somebody asks for one, here or on another node. */
import { nodeAddress } from '../attachment/addresses.ts';
import type { Attachments } from '../attachment/attachments.ts';
import type { DataPlane } from '../dataplane/dataplane.ts';
import { formatAddress, parseAddress } from '../ip/address.ts';
import { type Endpoint, formatEndpoint } from '../ip/endpoint.ts';
import { formatPrefix, type Prefix, parsePrefix, prefixContains } from '../ip/prefix.ts';
import type { ReadModel } from '../readmodel/read-model.ts';
import type { Rpc } from '../rpc/rpc.ts';
import { TRACE_METHOD } from '../trace/method.ts';
import type { NodeTracesOptions } from '../trace/node-traces.ts';
import type { ObservationParts } from '../trace/observation.ts';
import type { Traces, TracesOptions } from '../trace/traces.ts';
import type { AgentParts } from './parts.ts';

export interface TraceParts {
  /** Loads what traces are made with. */
  load(options: LoadTraces): Promise<Traces>;
}

export interface LoadTraces extends Omit<TracesOptions, 'own'>, Pick<NodeTracesOptions, 'isOwn'> {
  readonly parts: ObservationParts;
}

export interface ServedTraceParts {
  readonly rpc: Rpc;
  readonly model: ReadModel;
  readonly dataPlane: DataPlane;
  readonly attachments: Attachments;
  readonly nodeName: string;
  readonly subnets: () => readonly Prefix[];
  readonly member: ObservationParts['sources']['member'];
  /** Where the agent of a member takes requests. */
  readonly gossipOf: (memberId: string) => Endpoint | undefined;
  /** Whether the node with this id takes part in forwarding. */
  readonly admits: (nodeId: string) => boolean;
}

export interface ServedTraces {
  readonly loaded: () => Promise<Traces>;
  readonly stop: () => Promise<void>;
}

/** Serves other nodes from now on; gives what this node's own command calls. Undefined where it makes none. */
export function servedTraces(
  { traces, clock }: AgentParts,
  served: ServedTraceParts,
): ServedTraces | undefined {
  if (!traces) return undefined;
  const { rpc, model, dataPlane, attachments, nodeName, subnets, gossipOf, admits, member } = served;
  const endpointOf = (node: string) =>
    node === nodeName
      ? formatEndpoint(dataPlane.vtep)
      : model.peers().find(({ name }) => name === node)?.endpoint;
  let loading: Promise<Traces> | undefined;
  const loaded = () => {
    loading ??= traces.load({
      ...{ rpc, clock, nodeName, admits, endpointOf },
      world: () => worldOf(served),
      idOf: (node) => model.peers().find(({ name, kind }) => name === node && kind === 'gossip')?.id,
      isSealed: () => model.status().encapsulation.encrypted,
      isOwn: (address) => subnets().some((subnet) => prefixContains(subnet, parseAddress(address))),
      parts: {
        dropTaps: dataPlane.dropTaps,
        sources: {
          ...{ nodeName, gossipOf, member },
          pods: () =>
            attachments
              .list()
              // What is no neighbour of this node has no interface here.
              .filter(({ remote }) => !remote)
              .map(({ addresses, ...pod }) => ({ ...pod, addresses: addresses.map(formatAddress) })),
          status: () => model.status(),
          peers: () => model.peers(),
          ownSubnets: () => subnets().map(formatPrefix),
        },
      },
    });
    return loading;
  };
  rpc.serve(TRACE_METHOD, async (body, caller) => (await loaded()).answer(body, caller));
  return { loaded, stop: async () => (await loading)?.close() };
}

/** This node's pods and itself first. */
function worldOf({
  model,
  attachments,
  nodeName,
  subnets,
}: ServedTraceParts): ReturnType<TracesOptions['world']> {
  const own = attachments.list().map(({ name, addresses }) => ({
    ...{ node: nodeName, name },
    addresses: addresses.map(formatAddress),
  }));
  const addressesIn = (some: readonly Prefix[]) => some.map((subnet) => formatAddress(nodeAddress(subnet)));
  return {
    nodeName,
    pods: [...own, ...model.inventory().filter(({ node }) => node !== nodeName)],
    nodes: [
      { name: nodeName, subnets: subnets().map(formatPrefix), addresses: addressesIn(subnets()) },
      ...model.peers().map(({ name, kind, subnets: some }) => ({
        ...{ name, subnets: some },
        addresses: kind === 'gossip' ? addressesIn(some.map(parsePrefix)) : [],
      })),
    ],
  };
}
