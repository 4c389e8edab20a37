/**
 * What the agent knows, as one versioned model that the control socket, metrics and streams read. It changes nothing:
 * commands are apart (api/commands.ts).
 */
import { ChangeFeed, type ChangeListener } from './change-feed.ts';
import { historyReport } from './history.ts';
import { inventoryReports } from './inventory.ts';
import { leasesReport } from './leases.ts';
import { peerReports } from './peers.ts';
import type { ReadModelSources } from './ports.ts';
import type {
  EventReport,
  HistoryReport,
  InventoryReport,
  LeasesReport,
  NodeTargets,
  PeerReport,
  PodReport,
  RouteReport,
  StatusReport,
} from './reports.ts';
import { routeReports } from './routes.ts';
import { statusReport } from './status.ts';
import { ownTargets } from './targets.ts';
import type { Topic } from './topics.ts';

export interface ReadModel {
  /** Grows with each change of what the topics show. Counters and times go on without one. */
  readonly version: number;
  status(): StatusReport;
  peers(): readonly PeerReport[];
  routes(): readonly RouteReport[];
  pods(): readonly PodReport[];
  /** What all nodes have attached, this one's first. */
  inventory(): readonly InventoryReport[];
  /** This node's addresses and its pods, as `warren check` on other nodes wants them. */
  targets(): NodeTargets;
  leases(): LeasesReport;
  /** What happened, newest first. */
  events(): readonly EventReport[];
  /** Rates since sample number `after`; 0: of all that are kept. */
  history(after: number): HistoryReport;
  /**
   * `listener` hears once per turn of the event loop which of `topics` may have changed, all changes of that turn
   * together. Returns what ends it.
   */
  subscribe(topics: readonly Topic[], listener: ChangeListener): () => void;
}

/** The model over sources that run. */
export class LiveReadModel implements ReadModel {
  readonly #sources: ReadModelSources;
  readonly #feed = new ChangeFeed();

  constructor(sources: ReadModelSources) {
    this.#sources = sources;
    const { members, leases, peers, pods, inventory, history } = sources;
    members.on('change', () => this.changed('status', 'inventory', 'leases'));
    peers.on('change', () => this.changed('status', 'peers'));
    leases.on('change', () => this.changed('status', 'peers', 'routes', 'targets', 'leases'));
    inventory.on('change', () => this.changed('inventory'));
    history.on('change', () => this.changed('events'));
    pods.on('change', () => this.changed('status', 'pods', 'targets'));
  }

  get version(): number {
    return this.#feed.version;
  }

  status(): StatusReport {
    return statusReport(this.#sources);
  }

  peers(): readonly PeerReport[] {
    return peerReports(this.#sources);
  }

  routes(): readonly RouteReport[] {
    return routeReports(this.#sources);
  }

  pods(): readonly PodReport[] {
    return this.#sources.pods.list();
  }

  inventory(): readonly InventoryReport[] {
    return inventoryReports(this.#sources);
  }

  targets(): NodeTargets {
    return ownTargets(this.#sources);
  }

  leases(): LeasesReport {
    return leasesReport(this.#sources);
  }

  events(): readonly EventReport[] {
    return this.#sources.history.events();
  }

  history(after: number): HistoryReport {
    return historyReport(this.#sources, after);
  }

  subscribe(topics: readonly Topic[], listener: ChangeListener): () => void {
    return this.#feed.subscribe(topics, listener);
  }

  /** For what has no events of its own: the data plane was activated or moved, something was put back. */
  changed(...topics: readonly Topic[]): void {
    this.#feed.touch(topics);
  }

  /** Nobody hears of anything any more. */
  close(): void {
    this.#feed.close();
  }
}
