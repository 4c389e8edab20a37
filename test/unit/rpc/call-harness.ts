/** Nodes that call each other on the virtual network, without membership: each knows the others by a directory. */
import { createHash } from 'node:crypto';
import { type Identity, identityFromSeed } from '../../../src/identity.ts';
import { ClusterKeys } from '../../../src/link/cluster-keys.ts';
import { GossipCounters } from '../../../src/link/counters.ts';
import { generateClusterKey, type KeyRing, parseKeyRing } from '../../../src/link/key-ring.ts';
import { Link } from '../../../src/link/link.ts';
import { Sealer } from '../../../src/link/seal.ts';
import { Sessions } from '../../../src/link/sessions.ts';
import { seededRandom } from '../../../src/membership/random.ts';
import type { DirectoryEntry } from '../../../src/rpc/directory.ts';
import { RpcNode } from '../../../src/rpc/rpc-node.ts';
import { endpointOf } from '../../../src/simulate/cluster.ts';
import { inTime, settled } from '../../../src/simulate/in-time.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { type VirtualHost, VirtualNetwork } from '../../../src/simulate/virtual-network.ts';

export interface CallingNode {
  readonly number: number;
  readonly identity: Identity;
  readonly id: string;
  readonly session: string;
  readonly sealer: Sealer;
  readonly link: Link;
  readonly rpc: RpcNode;
  readonly counters: GossipCounters;
  readonly host: VirtualHost;
  readonly bugs: unknown[];
  stop(): Promise<void>;
}

export class CallHarness {
  readonly clock = new VirtualClock();
  readonly network = new VirtualNetwork(this.clock, seededRandom(1));
  readonly keyRing: KeyRing | undefined;
  /** What every node knows of the others. */
  readonly directory = new Map<string, DirectoryEntry>();
  /** By number, the ids of whom a node does not know. */
  readonly unknown = new Map<number, Set<string>>();
  readonly nodes: CallingNode[] = [];

  constructor(kind: 'sealed' | 'clear') {
    this.keyRing = kind === 'sealed' ? parseKeyRing(generateClusterKey(), 'test') : undefined;
  }

  /** Adds a node, or runs its agent anew: `run` makes another session. */
  async start(number: number, run = 1): Promise<CallingNode> {
    const identity = identityFromSeed(createHash('sha256').update(`node ${number}`).digest());
    const session = `${number}${run}`.padStart(8, '0').repeat(2);
    const host = this.network.host(endpointOf(number));
    host.isDown = false;
    const sealer = new Sealer('test', this.keyRing && new ClusterKeys(this.keyRing));
    const counters = new GossipCounters();
    const bugs: unknown[] = [];
    const link = new Link({
      transport: host.transport(),
      sealer,
      sessions: new Sessions({ clock: host.clock, id: session }),
      counters,
      streamTimeoutMs: 1000,
      memberOf: () => undefined,
      onBug: (error) => bugs.push(error),
    });
    const knows = (id: string) => !this.unknown.get(number)?.has(id);
    const directory = { find: (id: string) => (knows(id) ? this.directory.get(id) : undefined) };
    const { clock } = host;
    const rpc = new RpcNode({ identity, link, directory, clock, onBug: (error) => bugs.push(error) });
    await link.open({ datagram: () => {}, stream: () => ({ message: () => {}, end: () => [] }) });
    const { id, publicKey } = identity;
    this.know({ id, name: `node-${number}`, publicKey, session, gossip: host.endpoint, status: 'alive' });
    const stop = async () => {
      rpc.close();
      await link.close();
    };
    const node = { number, identity, id, session, sealer, link, rpc, counters, host, bugs, stop };
    this.nodes[number] = node;
    return node;
  }

  know(entry: DirectoryEntry): void {
    this.directory.set(entry.id, entry);
  }

  /** Lets virtual time pass until `work` is done. */
  inTime<T>(work: Promise<T>): Promise<T> {
    return inTime(this.clock, work, { stepMs: 1 });
  }

  /** Lets so much virtual time pass, promises included. */
  async pass(durationMs: number, stepMs = 1): Promise<void> {
    for (let passedMs = 0; passedMs < durationMs; passedMs += stepMs) {
      this.clock.advance(stepMs);
      await settled();
    }
  }
}

export const text = (value: string) => new Uint8Array(Buffer.from(value));
export const texts = (parts: readonly Uint8Array[]) => parts.map((part) => Buffer.from(part).toString());
