/** A read model of a large cluster with everything in it, for the web page: what a lab would take minutes to make. */
import type {
  EventReport,
  HistoryReport,
  InventoryReport,
  LeasesReport,
  PeerReport,
  StatusReport,
} from '../../src/readmodel/reports.ts';
import { FakeAgent, fakeStatus } from './fake-agent.ts';

const START_MS = 1_764_240_000_000;
const SAMPLES = 181;

export interface LargeOptions {
  readonly nodes: number;
  /** Of all nodes. */
  readonly pods: number;
}

/** The same for the same options, but for counters, which grow with `tick`. */
export class LargeModel extends FakeAgent {
  readonly #options: LargeOptions;
  #ticks = 0;

  constructor(options: LargeOptions) {
    super();
    this.#options = options;
    this.statusReport = this.#status();
    this.inventoryReports = this.#inventory();
    this.leasesReport = this.#leases();
    this.eventReports = this.#events();
    this.linkReports = Array.from({ length: 2 * options.nodes }, (_, i) => ({
      from: nodeId(1 + (i % (options.nodes - 1))),
      to: nodeId(1 + ((i * 5 + 3) % (options.nodes - 1))),
      outboundBytes: 10 ** (3 + (i % 5)),
      isSealed: true,
    }));
    this.tick();
  }

  /** Two seconds pass. */
  tick(): void {
    this.#ticks++;
    this.peerReports = Array.from({ length: this.#options.nodes - 1 }, (_, i) => this.#peer(i + 1));
    this.feed.touch(['peers']);
  }

  override history(after: number): HistoryReport {
    const wave = (i: number, size: number) =>
      Array.from({ length: SAMPLES }, (_, at) =>
        Math.round(size * (1.2 + Math.sin((at + 7 * i) / (6 + i)) + 0.25 * Math.sin(at * (1.1 + i)))),
      ).slice(after === 0 ? 0 : SAMPLES);
    const times = Array.from({ length: SAMPLES }, (_, at) => START_MS - 5000 * (SAMPLES - 1 - at));
    return {
      sequence: SAMPLES,
      intervalSeconds: 5,
      times: after === 0 ? times : [],
      totals: {
        outboundBytes: wave(0, 9e7),
        inboundBytes: wave(1, 7e7),
        outboundPackets: wave(0, 6e4),
        inboundPackets: wave(1, 5e4),
      },
      drops: { 'outbound-no-route': wave(2, 3), 'inbound-unknown-source': wave(5, 1) },
      peers: this.peerReports.slice(0, 10).map(({ name, id }, i) => ({
        name,
        id,
        outboundBytes: wave(i, 3e7 / (i + 1)),
        inboundBytes: wave(i + 3, 2e7 / (i + 1)),
      })),
    };
  }

  #status(): StatusReport {
    const { nodes } = this.#options;
    return {
      ...fakeStatus,
      node: { ...fakeStatus.node, name: nodeName(0), id: nodeId(0) },
      cluster: {
        ...fakeStatus.cluster,
        name: 'production',
        members: { alive: nodes - 2, suspect: 1, dead: 1, left: 0 },
      },
      encapsulation: {
        type: 'wireguard',
        port: 51_820,
        overheadBytes: 60,
        encrypted: true,
        cipher: 'chacha20-poly1305 (openssl)',
      },
      datapath: {
        ...fakeStatus.datapath,
        drops: { 'outbound-no-route': 431, 'inbound-unknown-source': 12, 'inbound-forged': 0 },
      },
    };
  }

  #peer(i: number): PeerReport {
    const bytes = i % 5 === 0 ? 0 : Math.round(this.#ticks * 2e8 * Math.abs(Math.sin(i * 1.7)) ** 6) + 100;
    return {
      name: nodeName(i),
      id: nodeId(i),
      kind: 'gossip',
      status: i % 97 === 7 ? 'dead' : i % 61 === 12 ? 'suspect' : 'alive',
      endpoint: `192.0.${2 + (i >> 8)}.${i & 255}:51820`,
      subnets: [`10.42.${i}.0/24`, `fd42:0:0:${i.toString(16)}::/64`],
      partialChecksums: true,
      mtu: 1440,
      ...(i % 5 !== 0 && { sessionAgeSeconds: (i * 13) % 120 }),
      outbound: { packets: Math.round(bytes / 1400), bytes },
      inbound: { packets: Math.round(bytes / 2800), bytes: Math.round(bytes / 2) },
    };
  }

  #inventory(): InventoryReport[] {
    const { nodes, pods } = this.#options;
    return Array.from({ length: pods }, (_, i) => ({
      node: nodeName(i % nodes),
      status: 'alive' as const,
      name: `${['web', 'api', 'worker', 'cache'][i % 4]}-${i}`,
      addresses: [`10.42.${i % nodes}.${2 + Math.floor(i / nodes)}`],
      labels: { app: ['shop', 'search', 'mail'][i % 3]! },
    }));
  }

  #leases(): LeasesReport {
    const { nodes } = this.#options;
    return {
      ranges: [
        { range: '10.42.0.0/16', nodePrefixLength: 24 },
        { range: 'fd42::/48', nodePrefixLength: 64 },
      ],
      leases: Array.from({ length: nodes }, (_, i) => ({
        node: nodeName(i),
        id: nodeId(i),
        status: i % 97 === 7 ? ('dead' as const) : ('alive' as const),
        state: i % 67 === 11 ? ('claiming' as const) : ('active' as const),
        subnets: [`10.42.${i}.0/24`, `fd42:0:0:${i.toString(16)}::/64`],
        slots: [
          { range: 0, index: i },
          { range: 1, index: 300 * i },
        ],
        sinceSeconds: START_MS / 1000 - 3600 * i,
        inUse: i % 3 !== 0,
        conflicts: i === 20 || i === 21 ? [nodeName(41 - i)] : [],
      })),
    };
  }

  #events(): EventReport[] {
    const kinds: EventReport['kind'][] = [
      'joined',
      'rekeyed',
      'suspect',
      'recovered',
      'died',
      'moved',
      'repaired',
      'offload-off',
    ];
    return Array.from({ length: 120 }, (_, i) => ({
      number: 120 - i,
      timeMs: START_MS - 41_000 * i,
      kind: kinds[(i * 5) % kinds.length]!,
      nodeId: nodeId(1 + ((i * 7) % 23)),
      node: nodeName(1 + ((i * 7) % 23)),
      detail:
        { moved: '192.0.2.77:51820', 'offload-off': 'udpSegment' }[
          kinds[(i * 5) % kinds.length]! as string
        ] ?? 'route',
    }));
  }
}

function nodeName(i: number): string {
  return `node-${String(i).padStart(3, '0')}`;
}

function nodeId(i: number): string {
  return i.toString(16).padStart(4, '0').repeat(8);
}
