/** Captures as an agent has them: loaded when somebody asks for one, here or on another node. */
import type { CaptureOptions, Captures } from '../capture/captures.ts';
import { CAPTURE_METHOD } from '../capture/method.ts';
import type { NodeRequest } from '../capture/request.ts';
import type { CaptureStream } from '../capture/source.ts';
import type { Config } from '../config/config.ts';
import type { DataPlane } from '../dataplane/dataplane.ts';
import { WarrenError } from '../errors.ts';
import { addressBytes, parseAddress } from '../ip/address.ts';
import { parseEndpoint } from '../ip/endpoint.ts';
import { formatPrefix, hostPrefix, type Prefix } from '../ip/prefix.ts';
import { VERSION } from '../package.ts';
import type { ReadModel } from '../readmodel/read-model.ts';
import type { Rpc } from '../rpc/rpc.ts';
import type { AgentParts } from './parts.ts';

/** What this host's part of a capture is made of; the thread's settings but for what it makes itself. */
export interface LocalCapture {
  readonly request: NodeRequest;
  readonly tunName: string;
  readonly underlayName: string;
  readonly own: { readonly address: Uint8Array; readonly port: number };
  readonly tunnelPorts: readonly number[];
  readonly isSealed: boolean;
  readonly rings: readonly SharedArrayBuffer[];
}

export interface CaptureParts {
  /** Loads what captures are made with. */
  load(options: CaptureOptions): Promise<Captures>;
  /** This host's packets, until `signal` is aborted. */
  local(capture: LocalCapture, signal: AbortSignal): CaptureStream;
}

export interface ServedParts {
  readonly rpc: Rpc;
  readonly model: ReadModel;
  readonly dataPlane: DataPlane;
  readonly config: () => Config;
  readonly subnets: () => readonly Prefix[];
  readonly others: CaptureOptions['others'];
  /** Whether the node with this id takes part in forwarding. */
  readonly admits: (nodeId: string) => boolean;
}

/** Serves other nodes from now on; gives what this node's own command calls. Undefined where it makes none. */
export function servedCaptures(agent: AgentParts, parts: ServedParts): (() => Promise<Captures>) | undefined {
  const { captures, clock, log, state } = agent;
  if (!captures) return undefined;
  const { rpc, config, others } = parts;
  let loading: Promise<Captures> | undefined;
  const loaded = () => {
    loading ??= captures.load({
      ...{ clock, rpc, others, nodeName: config().node.name, application: `warren ${VERSION}` },
      mayBeAsked: (id) => state.keys !== undefined && config().api.remoteCapture && parts.admits(id),
      resolve: (request) => ({
        ...{ sides: [...request.sides], protocols: request.protocols, ports: request.ports },
        reasons: request.reasons,
        pods: request.pods.flatMap((name) => addressesOfPod(name, parts)),
        peerSubnets: request.peers.flatMap((name) => peerOf(name, parts).subnets),
        peerEndpoints: request.peers.flatMap((name) => peerOf(name, parts).endpoints),
      }),
      local: (request, signal) => localStream(captures, request, parts, signal),
      onAsked: ({ name }, { filter, seconds }) =>
        log.info(
          { node: name, seconds, sides: filter.sides.join(' ') },
          'another node captures packets here',
        ),
    });
    return loading;
  };
  rpc.serve(CAPTURE_METHOD, async function* (body, caller, signal) {
    yield* (await loaded()).answer(body, caller, signal);
  });
  return loaded;
}

async function* localStream(
  captures: CaptureParts,
  request: NodeRequest,
  { dataPlane, model, config }: ServedParts,
  signal: AbortSignal,
): CaptureStream {
  const taps = request.filter.sides.includes('dropped') ? dataPlane.dropTaps?.open() : undefined;
  const { vtep, underlay } = dataPlane;
  const ports = model.peers().map(({ endpoint }) => parseEndpoint(endpoint, vtep.port).port);
  try {
    yield* captures.local(
      {
        request,
        isSealed: model.status().encapsulation.encrypted,
        tunName: config().tun.name,
        underlayName: underlay.interfaceName,
        own: { address: addressBytes(vtep.address), port: vtep.port },
        tunnelPorts: [...new Set([vtep.port, ...ports])],
        rings: taps?.rings ?? [],
      },
      signal,
    );
  } finally {
    taps?.close();
  }
}

/** `NAME`, of any node, or `NODE/NAME`. */
function addressesOfPod(wanted: string, { model, config }: ServedParts): string[] {
  const [name, node] = wanted.split('/').reverse();
  const own = model.pods().map((pod) => ({ ...pod, node: config().node.name }));
  const found = [...own, ...model.inventory()].filter(
    (pod) => pod.name === name && (node === undefined || pod.node === node),
  );
  if (found.length === 0) {
    throw new WarrenError('POD_UNKNOWN', `there is no pod "${wanted}" on any node`, {
      hint: 'See `warren pods --all`.',
    });
  }
  const addresses = new Set(found.flatMap((pod) => pod.addresses.map((text) => text.split('/')[0]!)));
  return [...addresses].map((text) => formatPrefix(hostPrefix(parseAddress(text))));
}

function peerOf(wanted: string, parts: ServedParts): { subnets: readonly string[]; endpoints: string[] } {
  const { config, dataPlane, model, subnets } = parts;
  const { vtep } = dataPlane;
  if (wanted === config().node.name) {
    return { subnets: subnets().map(formatPrefix), endpoints: [formatPrefix(hostPrefix(vtep.address))] };
  }
  const found = model.peers().filter(({ name, id }) => name === wanted || id === wanted);
  if (found.length === 0) {
    throw new WarrenError('MEMBER_UNKNOWN', `there is no peer "${wanted}"`, { hint: 'See `warren peers`.' });
  }
  const endpoints = found.map(({ endpoint }) => hostPrefix(parseEndpoint(endpoint, vtep.port).address));
  return { subnets: found.flatMap((peer) => peer.subnets), endpoints: endpoints.map(formatPrefix) };
}
