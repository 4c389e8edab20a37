/** An agent that is nothing but its reports, for tests of the API and the CLI. */
import type { AddPodOptions, AddWireguardPeer, Commands } from '../../src/api/commands.ts';
import type { RunningCapture } from '../../src/capture/captures.ts';
import type { CaptureRequest } from '../../src/capture/request.ts';
import { WarrenError } from '../../src/errors.ts';
import { ChangeFeed, type ChangeListener } from '../../src/readmodel/change-feed.ts';
import type { RespondersReport } from '../../src/readmodel/check-reports.ts';
import type { ReadModel } from '../../src/readmodel/read-model.ts';
import type {
  AllTargets,
  EventReport,
  HistoryReport,
  InventoryReport,
  KeyChange,
  LeasesReport,
  LinkReport,
  NodeChange,
  NodeListReport,
  NodeTargets,
  PeerReport,
  PodReport,
  ReloadReport,
  StatusReport,
  SysdumpReport,
  WireguardPeerFile,
} from '../../src/readmodel/reports.ts';
import type { Topic } from '../../src/readmodel/topics.ts';
import type { TraceRequest } from '../../src/trace/messages.ts';
import type { TraceReport } from '../../src/trace/model.ts';

const fakeDurations = { sum: 0.5, counts: [...Array(15).fill(0), 1, 2] };

export const fakeStatus: StatusReport = {
  version: '0.1.0',
  node: { name: 'node-a', id: 'a1b2c3', pid: 4711, uptimeSeconds: 93_784 },
  cluster: {
    name: 'test',
    sealed: true,
    members: { alive: 2, suspect: 0, dead: 1, left: 0 },
    admission: { mode: 'open', approved: 0, pending: 2, revoked: 0 },
    problems: [],
  },
  underlay: { address: '198.51.100.1', interface: 'eth0', mtu: 1500, gossipPort: 7946 },
  encapsulation: { type: 'vxlan-gpe', port: 4790, vni: 42, overheadBytes: 36, encrypted: false },
  tun: { name: 'warren0', mtu: 1464, addresses: ['10.42.3.1', 'fd42:0:0:3::1'] },
  lease: { status: 'active', subnets: ['10.42.3.0/24', 'fd42:0:0:3::/64'] },
  pods: 1,
  dns: {
    enabled: true,
    addresses: ['10.42.3.1'],
    queries: { answered: 5, absent: 0 },
    forwards: { udp: 2, failed: 1 },
    cache: { hits: 4, misses: 2, entries: 2, bytes: 700 },
  },
  datapath: {
    type: 'userspace',
    active: true,
    workers: 1,
    stuckWorkers: 0,
    offloads: { tso: true, checksum: false },
    outbound: { packets: 1200, bytes: 1_500_000 },
    inbound: { packets: 7, bytes: 588 },
    drops: { 'inbound-unknown-source': 3, 'outbound-no-route': 0 },
    groupProbes: { whole: 3, broken: 0 },
  },
  gossip: { probesSent: 42 },
  repairs: { device: 0, route: 2 },
  durations: { probe: fakeDurations, handshake: fakeDurations, attach: fakeDurations },
  log: { dropped: 0 },
};

export const fakePeers: PeerReport[] = [
  {
    name: 'node-b',
    id: 'b2',
    kind: 'gossip',
    status: 'alive',
    endpoint: '198.51.100.2:4790',
    subnets: ['10.42.7.0/24', 'fd42:0:0:7::/64'],
    partialChecksums: true,
    mtu: 1464,
    outbound: { packets: 5, bytes: 500 },
    inbound: { packets: 6, bytes: 600 },
  },
  {
    name: 'leg"acy',
    id: 'static-1',
    kind: 'static',
    status: 'static',
    endpoint: '198.51.100.9:4790',
    subnets: ['10.43.9.0/24'],
    partialChecksums: false,
    outbound: { packets: 0, bytes: 0 },
    inbound: { packets: 0, bytes: 0 },
  },
];

const ownTargets: NodeTargets = {
  node: 'node-a',
  addresses: ['127.0.0.1'],
  pods: [{ name: 'web', addresses: ['10.42.3.2'] }],
};

export class FakeAgent implements ReadModel, Commands {
  readonly feed = new ChangeFeed();
  inventoryReports: InventoryReport[] = [
    {
      node: 'node-a',
      status: 'alive',
      name: 'web',
      addresses: ['10.42.1.2', 'fd42:0:0:1::2'],
      labels: { app: 'shop', tier: 'front' },
    },
    { node: 'node-b', status: 'dead', name: 'db', addresses: ['10.42.2.2'] },
  ];
  podReports: PodReport[] = [
    {
      name: 'web',
      addresses: ['10.42.3.2', 'fd42:0:0:3::2'],
      netns: '/run/netns/warren-node-a-web',
      hostInterface: 'wp0123456789ab',
      status: 'ready',
      static: false,
    },
  ];
  statusReport: StatusReport = fakeStatus;
  everyTarget: AllTargets = { targets: [ownTargets], unreachable: [] };
  /** What every status throws, if set. */
  failure: unknown;
  peerReports: readonly PeerReport[] = fakePeers;

  get version(): number {
    return this.feed.version;
  }

  subscribe(topics: readonly Topic[], listener: ChangeListener): () => void {
    return this.feed.subscribe(topics, listener);
  }

  status(): StatusReport {
    if (this.failure !== undefined) throw this.failure;
    return this.statusReport;
  }

  peers(): readonly PeerReport[] {
    return this.peerReports;
  }

  inventory(): readonly InventoryReport[] {
    return this.inventoryReports;
  }

  pods(): readonly PodReport[] {
    return this.podReports;
  }

  routes() {
    return [
      { prefix: '10.42.3.0/24', via: 'local', endpoint: '' },
      { prefix: '10.42.7.0/24', via: 'node-b', endpoint: '198.51.100.2:4790' },
    ];
  }

  traceRequests: TraceRequest[] = [];
  traceReport: TraceReport | undefined;

  async trace(request: TraceRequest): Promise<TraceReport> {
    this.traceRequests.push(request);
    if (this.traceReport) return this.traceReport;
    throw new WarrenError('POD_UNKNOWN', `there is no pod "${request.source}" on any node`);
  }

  wireguardPeerReports: WireguardPeerFile[] = [];
  /** What was asked for last. */
  wireguardRequest: AddWireguardPeer | undefined;

  listWireguardPeers() {
    return this.wireguardPeerReports.map(({ file: _, isComplete: __, ...report }) => report);
  }

  showWireguardPeer(name: string) {
    const found = this.wireguardPeerReports.find((one) => one.name === name);
    if (found) return { ...found, isComplete: false };
    throw new WarrenError('PEER_UNKNOWN', `there is no peer ${name} on this node`);
  }

  async addWireguardPeer(request: AddWireguardPeer) {
    this.wireguardRequest = request;
    const added: WireguardPeerFile = {
      ...{ name: request.name, addresses: ['10.42.3.9'], publicKey: 'cHVibGlj', presharedKey: true },
      ...{ endpoint: '', dns: request.dns ?? [], labels: request.labels ?? {}, handshakeAgeSeconds: 75 },
      ...{ outbound: { packets: 1, bytes: 1500 }, inbound: { packets: 2, bytes: 300 } },
      file: `# ${request.name}\n[Interface]\nPrivateKey = x\n\n[Peer]\nPublicKey = y\n`,
      isComplete: request.publicKey === undefined,
    };
    this.wireguardPeerReports.push(added);
    return added;
  }

  async removeWireguardPeer(name: string) {
    const removed = this.showWireguardPeer(name);
    this.wireguardPeerReports = this.wireguardPeerReports.filter((one) => one.name !== name);
    return removed;
  }

  targets(): NodeTargets {
    return ownTargets;
  }

  leasesReport: LeasesReport = {
    ranges: [{ range: '10.42.0.0/16', nodePrefixLength: 24 }],
    leases: [
      {
        node: 'node-a',
        id: 'a1b2c3',
        status: 'alive',
        state: 'active',
        subnets: ['10.42.3.0/24'],
        slots: [{ range: 0, index: 3 }],
        sinceSeconds: 1_700_000_000,
        inUse: true,
        conflicts: [],
      },
    ],
  };
  eventReports: EventReport[] = [
    { number: 1, timeMs: 1_700_000_000_000, kind: 'joined', nodeId: 'b2', node: 'node-b' },
  ];

  leases(): LeasesReport {
    return this.leasesReport;
  }

  events(): readonly EventReport[] {
    return this.eventReports;
  }

  history(after: number): HistoryReport {
    return {
      sequence: after + 1,
      intervalSeconds: 5,
      times: [1_700_000_000_000],
      totals: { outboundBytes: [1], inboundBytes: [2], outboundPackets: [3], inboundPackets: [4] },
      drops: { 'outbound-no-route': [0.2] },
      peers: [{ name: 'node-b', id: 'b2', outboundBytes: [5], inboundBytes: [6] }],
    };
  }

  linkReports: LinkReport[] = [];

  async links() {
    return this.linkReports;
  }

  async allTargets() {
    return this.everyTarget;
  }

  forget(node: string) {
    if (node !== 'node-b') throw new WarrenError('MEMBER_UNKNOWN', `there is no node ${node}`);
    return { name: 'node-b', id: 'b2', subnets: ['10.42.7.0/24'] };
  }

  async leave({ force }: { readonly force: boolean }) {
    if (this.podReports.length > 0 && !force) throw new WarrenError('LEAVE_PODS', 'this node has pods');
    this.onLeave();
    return { name: 'node-a', subnets: ['10.42.3.0/24'] };
  }

  /** An agent ends then. */
  onLeave: () => void = () => {};

  reloadReport: ReloadReport = { changed: ['log.level'], needsRestart: ['tun.name'] };

  async reload() {
    return this.reloadReport;
  }

  async sysdump({ all }: { readonly all: boolean }): Promise<SysdumpReport> {
    const own = { node: 'node-a', id: '', files: [{ name: 'log.txt', text: 'started\n' }] };
    const unreachable = all ? [{ node: 'node-b', reason: 'no answer' }] : [];
    return { nodes: [own], unreachable };
  }

  async respond() {
    return this.responders;
  }

  responders: RespondersReport = { nodes: [], unreachable: [] };
  captureRequests: CaptureRequest[] = [];
  captured: readonly Uint8Array[] = [];
  captureFailure: unknown;
  /** Thrown behind what was captured. */
  captureBug: unknown;

  async capture(request: CaptureRequest): Promise<RunningCapture> {
    this.captureRequests.push(request);
    if (this.captureFailure !== undefined) throw this.captureFailure;
    const { captured, captureBug } = this;
    async function* chunks() {
      yield* captured;
      if (captureBug !== undefined) throw captureBug;
    }
    const missing = request.all ? [{ node: 'nöde-b', reason: 'no answer' }] : [];
    return { chunks: chunks(), missing };
  }

  keyChanges: KeyChange[] = [];

  async listKeys() {
    return {
      keys: [
        { fingerprint: 'aabbccddeeff0011', primary: true, nodes: 2, primaryOn: 2 },
        { fingerprint: '00112233445566aa', primary: false, nodes: 1, primaryOn: 0 },
      ],
      nodes: 2,
      silent: ['node-c'],
    };
  }

  async changeKeys(change: KeyChange) {
    this.keyChanges.push(change);
    return { fingerprint: change.fingerprint ?? '00112233445566aa' };
  }

  nodeChanges: NodeChange[] = [];

  listNodes(): NodeListReport {
    const [aId, bId] = ['a1'.repeat(16), 'b2'.repeat(16)];
    const said = { by: 'node-a', at: '2026-11-27T12:00:00.000Z' };
    const common = { status: 'alive', admitted: true } as const;
    return {
      mode: 'allowlist',
      approvers: [aId],
      nodes: [
        { ...common, name: 'node-a', id: aId, admission: 'approved', approver: true, self: true },
        { ...common, name: 'node-b', id: bId, admission: 'approved', approver: false, self: false, ...said },
      ],
    };
  }

  changeNodes(change: NodeChange) {
    this.nodeChanges.push(change);
    return change.all ? [] : [{ name: 'node-b', id: 'b2'.repeat(16) }];
  }

  /** What the CNI plugin asks is the agent's own: tests of it have whole ones. */
  policies: Commands['policies'] = async () => {
    throw new WarrenError('NOT_FOUND', 'this agent has no network policies');
  };

  async docker(): Promise<never> {
    throw new WarrenError('NOT_FOUND', 'this agent does not serve Docker');
  }

  async cni(): Promise<never> {
    throw new WarrenError('NOT_FOUND', 'this agent does not serve CNI');
  }

  async addPod(name: string, { netns, labels }: AddPodOptions) {
    if (this.podReports.some((pod) => pod.name === name)) {
      throw new WarrenError('POD_EXISTS', `pod ${name} exists already`, { hint: 'Choose another name.' });
    }
    const pod: PodReport = {
      name,
      addresses: ['10.42.3.3'],
      netns: netns ?? `/run/netns/warren-node-a-${name}`,
      hostInterface: 'wpba9876543210',
      status: 'ready',
      static: false,
      ...(labels && { labels }),
    };
    this.podReports = [...this.podReports, pod];
    this.feed.touch(['pods']);
    return pod;
  }

  async removePod(name: string) {
    const pod = this.podReports.find((candidate) => candidate.name === name);
    if (pod === undefined) throw new WarrenError('POD_UNKNOWN', `there is no pod ${name} on this node`);
    this.podReports = this.podReports.filter((other) => other !== pod);
    this.feed.touch(['pods']);
    return pod;
  }
}
