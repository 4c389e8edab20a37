/** A responder over nodes and attachments that a test writes down, with resolvers that it plays itself. */
import { EventEmitter } from 'node:events';
import { type DecodedPacket, decode, encode, type Packet } from 'dns-packet';
import { dnsCounters } from '../../src/dns/counters.ts';
import type { ExchangeRequest } from '../../src/dns/forwarder.ts';
import { NameIndex } from '../../src/dns/name-index.ts';
import { Responder } from '../../src/dns/responder.ts';
import type { Holder, InventoryChange, InventoryEntry } from '../../src/inventory/inventory.ts';
import { type IpAddress, parseAddress, sameAddress } from '../../src/ip/address.ts';
import { parsePrefix, prefixContains } from '../../src/ip/prefix.ts';
import type { Member, MemberStatus } from '../../src/membership/types.ts';
import { VirtualClock } from '../../src/simulate/virtual-clock.ts';

export interface EntryText {
  readonly name: string;
  /** Node, such as 1 for 10.42.1.0/24. */
  readonly node: number;
  /** The last number of its addresses. */
  readonly host: number;
  readonly network?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export const RANGES = ['10.42.0.0/16', 'fd42::/48'].map(parsePrefix);

/** What members and inventories tell, as a test changes it. */
export class MemoryCluster {
  readonly inventory = Object.assign(new EventEmitter<{ change: [InventoryChange] }>(), {
    entries: (): Iterable<Holder> => this.#holders(),
    holders: (address: IpAddress) =>
      this.#holders().filter(({ entry }) => entry.addresses.some((one) => sameAddress(one, address))),
  });
  readonly members = Object.assign(new EventEmitter<{ change: [Member]; removed: [Member] }>(), {
    members: () => [...this.#members.values()],
    member: (id: string) => this.#members.get(id),
  });
  readonly revoked = new Set<string>();
  readonly #members = new Map<string, Member>();
  readonly #entries = new Map<string, Map<string, InventoryEntry>>();

  node(number: number, name = `node-${number}`, status: MemberStatus = 'alive'): void {
    const prefixes = [`10.42.${number}.0/24`, `fd42:0:0:${number}::/64`].map(parsePrefix);
    const lease = { state: 'active', prefixes, sinceSeconds: 0, inUse: true, reclaims: 0 } as const;
    const member = { id: `id-${number}`, name, status, lease } as unknown as Member;
    this.#members.set(member.id, member);
    this.members.emit('change', member);
  }

  forget(number: number): void {
    const member = this.#members.get(`id-${number}`)!;
    this.#members.delete(member.id);
    this.members.emit('removed', member);
  }

  attach({ name, node, host, network = '', labels = {} }: EntryText): void {
    const addresses = [`10.42.${node}.${host}`, `fd42:0:0:${node}::${host.toString(16)}`].map(parseAddress);
    const entry = { id: `${name}-${host}`, name, addresses, network, labels };
    const ofNode = this.#entries.get(`id-${node}`) ?? new Map<string, InventoryEntry>();
    this.#entries.set(`id-${node}`, ofNode.set(entry.id, entry));
    this.inventory.emit('change', { nodeId: `id-${node}`, set: [entry], deleted: [] });
  }

  detach({ name, node, host }: EntryText): void {
    this.#entries.get(`id-${node}`)?.delete(`${name}-${host}`);
    this.inventory.emit('change', { nodeId: `id-${node}`, set: [], deleted: [`${name}-${host}`] });
  }

  readonly mayHave = (nodeId: string, address: IpAddress): boolean =>
    this.#members.get(nodeId)?.lease?.prefixes.some((prefix) => prefixContains(prefix, address)) ?? false;

  index(): NameIndex {
    const { inventory, members, mayHave } = this;
    return new NameIndex({ inventory, members, mayHave, admits: (id) => !this.revoked.has(id) });
  }

  #holders(): Holder[] {
    return [...this.#entries].flatMap(([nodeId, entries]) =>
      [...entries.values()].map((entry) => ({
        ...{ nodeId, entry },
        status: this.#members.get(nodeId)?.status ?? 'dead',
      })),
    );
  }
}

export class DnsBench {
  readonly clock = new VirtualClock();
  readonly cluster = new MemoryCluster();
  readonly counters = dnsCounters();
  /** What was asked of the host's resolvers. */
  readonly asked: ExchangeRequest[] = [];
  resolvers = ['192.0.2.53', '192.0.2.54'];
  /** What they answer; undefined: nothing, until the time is over. */
  upstream: (request: ExchangeRequest) => Uint8Array | undefined | Promise<Uint8Array | undefined> = () =>
    undefined;
  readonly responder: Responder;

  constructor() {
    this.cluster.node(1);
    this.cluster.node(2);
    this.responder = new Responder({
      ...{ clock: this.clock, counters: this.counters, names: this.cluster.index() },
      ...{ ranges: () => RANGES, node: 'node-1', random: () => 0.5 },
      mayAsk: (from) => RANGES.some((range) => prefixContains(range, from)),
      exchange: (request) => this.#exchange(request),
      resolvers: async () => this.resolvers,
    });
  }

  async raw(bytes: Uint8Array, from = '10.42.1.1', via: 'udp' | 'tcp' = 'udp') {
    return this.responder.answer(bytes, { from: parseAddress(from), via });
  }

  async ask(
    name: string,
    type = 'A',
    { from = '10.42.1.1', via = 'udp', edns }: { from?: string; via?: 'udp' | 'tcp'; edns?: number } = {},
  ): Promise<DecodedPacket> {
    const bytes = await this.raw(question(name, type, edns), from, via);
    if (!bytes) throw new Error(`no answer to ${name}`);
    return decode(Buffer.from(bytes));
  }

  /** The data of the answers, sorted: their order is random. */
  async data(name: string, type = 'A', from = '10.42.1.1'): Promise<unknown[]> {
    const { answers, rcode } = (await this.ask(name, type, { from })) as DecodedPacket & { rcode: string };
    return rcode === 'NOERROR'
      ? (answers ?? []).map((one) => ('data' in one ? one.data : one)).sort()
      : [rcode];
  }

  async #exchange(request: ExchangeRequest): Promise<Uint8Array> {
    this.asked.push(request);
    const answer = await this.upstream(request);
    if (answer && request.isAnswer(answer)) return answer;
    return new Promise((_, reject) => {
      this.clock.after(request.timeoutMs, () => reject(new Error('no answer in time')));
    });
  }
}

export function question(name: string, type = 'A', edns?: number, more: Partial<Packet> = {}): Buffer {
  return encode({
    type: 'query',
    id: 4711,
    flags: 0x0100,
    questions: [{ name, type: type as 'A' }],
    ...(edns !== undefined && {
      additionals: [
        {
          type: 'OPT',
          name: '.',
          udpPayloadSize: edns,
          extendedRcode: 0,
          ednsVersion: 0,
          flags: 0,
          flag_do: false,
          options: [],
        },
      ],
    }),
    ...more,
  });
}

/** A resolver's answer to what was asked of it. */
export function reply({ query }: ExchangeRequest, packet: Partial<Packet>, flags = 0x0180): Buffer {
  const { id, questions } = decode(Buffer.from(query));
  return encode({
    type: 'response',
    ...(id !== undefined && { id }),
    flags,
    ...(questions && { questions }),
    ...packet,
  });
}
