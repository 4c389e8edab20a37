/** Traces over the requests between nodes: who is asked what, whoever begins, and what is left when somebody does not answer. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type TraceWishes, traceRequest } from '../../src/trace/messages.ts';
import type { Sighting, TraceReport } from '../../src/trace/model.ts';
import type { ObservationRequest } from '../../src/trace/observation.ts';
import { observed, seen } from '../unit/trace/observed.ts';
import { World, type WorldNode } from './world.ts';

let world: World;
let nodes: WorldNode[];
/** What each node was asked to look at, and what it did then. */
let asked: { readonly node: string; readonly request: ObservationRequest; readonly did: string[] }[];

beforeEach(async () => {
  world = new World(1);
  nodes = await world.cluster(3);
  asked = [];
  for (const node of nodes) await node.addPod(`pod-${node.name}`);
  for (const node of nodes) watch(node);
  await world.until(() => nodes.every((node) => node.model.inventory().length >= nodes.length), 60_000);
});
afterEach(() => world.stop());

/** The node sees what passes it when all is well. */
function watch(node: WorldNode, sees: (request: ObservationRequest) => Sighting[] = wellSeen): void {
  node.observe = async (request) => {
    const did: string[] = [];
    asked.push({ node: node.name, request, did });
    const isSource = request.role !== 'destination';
    const { source, destination } = observed();
    const sightings = sees(request);
    return {
      send: () => void did.push('send'),
      look: () => {
        did.push('look');
        const has = (what: Sighting['what']) => sightings.some((one) => one.what === what);
        return { hasSeen: true, hasArrived: false, isAnswered: has('answer'), isLost: false };
      },
      end: async ({ triesAgent }) => {
        did.push(`end ${triesAgent}`);
        const like = (isSource ? source : destination) as NonNullable<
          Exclude<typeof destination, { missing: string }>
        >;
        return { ...like, node: node.name, role: request.role, sightings };
      },
      close: async () => void did.push('close'),
    };
  };
}

function wellSeen({ role }: ObservationRequest): Sighting[] {
  const answer: Sighting = { point: 'to-pod', what: 'answer', answer: 'echo-reply', atUs: 9 };
  return role === 'destination'
    ? [...seen('underlay-in', 'out-of-tun', 'to-pod'), answer]
    : [...seen('host-end', 'into-tun', 'underlay-out'), answer];
}

async function trace(node: WorldNode, wishes: TraceWishes): Promise<TraceReport> {
  let [report, failure]: [TraceReport | undefined, unknown] = [undefined, undefined];
  void node.commands.trace(traceRequest.parse(wishes), new AbortController().signal).then(
    (got) => {
      report = got;
    },
    (error: unknown) => {
      failure = error;
    },
  );
  await world.until(() => report !== undefined || failure !== undefined, 60_000);
  if (failure !== undefined) throw failure;
  return report!;
}

describe('a trace', () => {
  it.each([0, 1, 2])('begun on node-%i has both nodes look, and the one with the source send', async (i) => {
    const { line, verdict } = await trace(nodes[i]!, {
      source: 'pod-node-0',
      destination: 'pod-node-1.node-1',
    });
    expect(line).toBe('pod-node-0.node-0 -> pod-node-1.node-1 (ICMP): arrives, and is answered');
    expect(verdict.arrives).toBe(true);
    const roles = asked.map(({ node, request, did }) => [node, request.role, did[0], did.at(-1)]);
    expect(roles.sort()).toEqual([
      ['node-0', 'source', 'send', 'end false'],
      ['node-1', 'destination', 'look', 'end false'],
    ]);
    const [a, b] = ['node-0', 'node-1'].map((name) => asked.find(({ node }) => node === name)!.request);
    // The same packet, by the same mark; each knows the other's end of the tunnel.
    expect(a!.flow).toEqual(b!.flow);
    expect([a!.tunnel?.address, b!.tunnel?.address]).toEqual(['192.0.2.2', '192.0.2.1']);
  });

  it('on one node asks no other', async () => {
    await nodes[0]!.addPod('second');
    await trace(nodes[0]!, { source: 'pod-node-0', destination: 'second' });
    expect(asked.map(({ node, request }) => [node, request.role, request.tunnel])).toEqual([
      ['node-0', 'both', undefined],
    ]);
  });

  it('to a node that does not answer has what the other one saw, which tries its agent', async () => {
    await nodes[1]!.kill();
    watch(nodes[0]!, () => seen('host-end', 'into-tun', 'underlay-out'));
    const { verdict } = await trace(nodes[0]!, { source: 'pod-node-0', destination: 'pod-node-1.node-1' });
    expect(verdict).toMatchObject({ cause: 'peer-dead', arrives: false });
    expect(asked.map(({ node, did }) => [node, did.at(-1)])).toEqual([['node-0', 'end true']]);
  });

  it('of a long packet that is lost between the nodes is done again with a short one', async () => {
    watch(nodes[0]!, () => seen('host-end', 'into-tun', 'underlay-out'));
    watch(nodes[1]!, ({ flow }) => (flow.bytes > 200 ? [] : seen('underlay-in', 'out-of-tun')));
    const { verdict } = await trace(nodes[0]!, {
      source: 'pod-node-0',
      destination: 'pod-node-1.node-1',
      bytes: 1400,
    });
    expect(verdict.cause).toBe('mtu-hole');
    expect(new Set(asked.map(({ request }) => request.flow.bytes))).toEqual(new Set([1400, 140]));
  });

  it('of real packets sends none', async () => {
    const { line } = await trace(nodes[0]!, {
      source: 'pod-node-0',
      destination: 'pod-node-1.node-1',
      protocol: 'tcp',
      port: 80,
      live: true,
    });
    expect(line).toContain('(TCP 80): arrives');
    expect(asked.flatMap(({ did }) => did)).not.toContain('send');
    expect(asked[0]!.request.flow).toMatchObject({ mark: 0, bytes: 0 });
  });
});
