/**
 * A large cluster that has converged, each node running the agent's own membership on a virtual clock and
 * network. Three things differ from an agent, and none of them is protocol: what is known from the start is
 * shared between nodes (shared-entry-store.ts), signatures are hashes (Ed25519 costs 0.1 ms, and says the same),
 * and frames are not encrypted (the tag's 16 bytes per frame are added when bytes are counted).
 */

import { createHash } from 'node:crypto';
import { type Identity, idOfPublicKey } from '../identity.ts';
import { prefixOf } from '../ip/prefix.ts';
import { silentLogger } from '../log/logger.ts';
import { MemberTable } from '../membership/member-table.ts';
import { Membership } from '../membership/membership.ts';
import { seededRandom } from '../membership/random.ts';
import { SIGNING_CONTEXT, signRecord } from '../membership/record.ts';
import { RecordReader } from '../membership/record-reader.ts';
import type { MembershipTiming } from '../membership/timing.ts';
import type { NodeRecord, SignedRecord } from '../membership/types.ts';
import { endpointOf, rethrow } from './cluster.ts';
import { SharedDecoder } from './shared-decoder.ts';
import { Roll, SharedEntryStore } from './shared-entry-store.ts';
import { VirtualClock } from './virtual-clock.ts';
import { type LinkQuality, type VirtualHost, VirtualNetwork } from './virtual-network.ts';

export interface LargeClusterOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly timing: MembershipTiming;
  readonly quality?: LinkQuality;
}

export interface LargeNode {
  readonly number: number;
  readonly host: VirtualHost;
  readonly membership: Membership;
}

/** The tag less the clear frame's cluster name, and IPv4 and UDP headers. */
export const SEALED_EXTRA_BYTES = 16 - (1 + 'simulated'.length);
export const UDP_IP_BYTES = 28;

export class LargeCluster {
  readonly clock = new VirtualClock();
  readonly network: VirtualNetwork;
  readonly nodes: LargeNode[] = [];
  readonly #options: LargeClusterOptions;
  readonly #records: RecordReader;
  readonly #decoder = new SharedDecoder();
  readonly #roll: Roll;
  readonly #template: MemberTable;

  private constructor(options: LargeClusterOptions) {
    const { seed, nodes, quality } = options;
    this.#options = options;
    this.network = new VirtualNetwork(this.clock, seededRandom(seed), quality);
    this.#records = new RecordReader(4 * nodes + 10_000, verifyHashed);
    const entries = Array.from({ length: nodes }, (_, number) => {
      const { record, signed } = signRecord(hashedIdentity(seed, number), this.#firstRecord(number));
      return {
        id: record.id,
        record,
        signed,
        status: 'alive' as const,
        statusSinceMs: 0,
        suspicion: undefined,
        memory: undefined,
      };
    });
    this.#roll = new Roll(entries);
    this.#template = new MemberTable(seededRandom(seed));
    for (const entry of entries) this.#template.add(entry);
  }

  get seed(): number {
    return this.#options.seed;
  }

  /** All nodes run and know each other. */
  static async start(options: LargeClusterOptions): Promise<LargeCluster> {
    const cluster = new LargeCluster(options);
    for (let number = 0; number < options.nodes; number++) {
      const store = new SharedEntryStore(cluster.#roll);
      const random = seededRandom(options.seed * 7919 + number);
      await cluster.#startNode(number, MemberTable.copyOf(cluster.#template, random, store));
    }
    return cluster;
  }

  /** A newcomer that knows nobody and joins through `seed`. */
  join(seed: number): Promise<LargeNode> {
    return this.#startNode(this.nodes.length, undefined, seed);
  }

  async #startNode(number: number, table?: MemberTable, seed?: number): Promise<LargeNode> {
    const { timing } = this.#options;
    const {
      lease,
      left: _left,
      session: _session,
      generation: _generation,
      ...self
    } = this.#firstRecord(number);
    const host = this.network.host(self.gossip);
    const membership = new Membership({
      identity: hashedIdentity(this.#options.seed, number),
      clusterName: 'simulated',
      keyRing: undefined,
      session: sessionOf(number),
      self,
      seeds: seed === undefined ? [] : [{ host: hostText(seed), port: 7946 }],
      transport: host.transport(),
      store: { load: () => undefined, save: () => {} },
      logger: silentLogger,
      timing,
      clock: host.clock,
      random: seededRandom(this.#options.seed * 104_729 + number),
      records: this.#records,
      decode: (bytes) => this.#decoder.decode(bytes),
      onBug: rethrow,
      ...(table && { table }),
    });
    if (!table) membership.updateSelf({ lease });
    const node = { number, host, membership };
    this.nodes.push(node);
    await membership.start();
    return node;
  }

  #firstRecord(number: number): Omit<NodeRecord, 'id' | 'publicKey'> {
    const { address } = endpointOf(number);
    const subnet = prefixOf({ family: 4, value: 0x0a80_0000n + (BigInt(number) << 8n) }, 24);
    return {
      incarnation: 1,
      name: `node-${number}`,
      gossip: endpointOf(number),
      vtep: { address, port: 4790 },
      encapsulation: { type: 'vxlan-gpe', vni: 42, partialChecksums: true },
      lease: { state: 'active', prefixes: [subnet], sinceSeconds: 1_767_225_600, inUse: true, reclaims: 0 },
      left: false,
      mtu: undefined,
      inventory: undefined,
      session: sessionOf(number),
      generation: 0,
    };
  }
}

/** Its first half is never zero (link/seal.ts). */
function sessionOf(number: number): string {
  return `${(number + 1).toString(16).padStart(8, '0')}${'0'.repeat(8)}`;
}

function hostText(number: number): string {
  const { value } = endpointOf(number).address;
  return [24n, 16n, 8n, 0n].map((shift) => Number((value >> shift) & 255n)).join('.');
}

function hashedIdentity(seed: number, number: number): Identity {
  const publicKey = new Uint8Array(createHash('sha256').update(`${seed}/${number}`).digest());
  return { id: idOfPublicKey(publicKey), publicKey, sign: (message) => hashed(publicKey, message) };
}

function verifyHashed(record: NodeRecord, signed: SignedRecord): boolean {
  const expected = hashed(record.publicKey, Buffer.concat([SIGNING_CONTEXT, signed.bytes]));
  return Buffer.compare(expected, signed.signature) === 0;
}

function hashed(publicKey: Uint8Array, message: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha512').update(publicKey).update(message).digest());
}
