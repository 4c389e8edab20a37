/** The configuration in force, and what of a new one is taken over while the agent runs: at SIGHUP and `warren reload`. */
import type { Admission } from '../admission/admission.ts';
import type { Attachments } from '../attachment/attachments.ts';
import type { Config } from '../config/config.ts';
import { type ConfigChange, configChange } from '../config/reload.ts';
import type { DataPlane } from '../dataplane/dataplane.ts';
import type { Logger } from '../log/logger.ts';
import type { Membership } from '../membership/membership.ts';
import type { GossipPeers } from '../peers/gossip-peers.ts';
import type { StaticPeers } from '../peers/static-peers.ts';
import type { PodManager } from '../pod/pod-manager.ts';
import type { Followers } from './followers.ts';
import type { Names } from './names.ts';
import { ownEncapsulation } from './own-encapsulation.ts';

export interface LiveConfigParts {
  readonly config: Config;
  /** Absent: nothing is ever read again. Throws what is wrong with the file. */
  readonly readConfig: (() => Config) | undefined;
  readonly log: Logger;
  readonly tunnelKey: Uint8Array | undefined;
  readonly dataPlane: DataPlane;
  readonly membership: Membership;
  readonly admission: Admission;
  readonly staticPeers: StaticPeers;
  readonly gossipPeers: GossipPeers;
  readonly attachments: Attachments;
  readonly pods: PodManager;
  readonly followers: Followers;
  readonly names: Names;
  /** It is being read again, or has been. */
  readonly onReload: (isDone: boolean) => void;
  /** What `warren status` says of the offloads is another now. */
  readonly onOffloads: () => void;
}

export class LiveConfig {
  readonly #parts: LiveConfigParts;
  #config: Config;
  /** The last reload; each waits for the one before. */
  #reloading: Promise<unknown> = Promise.resolve();

  constructor(parts: LiveConfigParts) {
    this.#parts = parts;
    this.#config = parts.config;
  }

  get current(): Config {
    return this.#config;
  }

  /** Says what is taken over and what is not. Throws why none of it is; nothing has changed then. */
  reload(): Promise<ConfigChange> {
    const reloaded = this.#reloading.then(() => this.#reload());
    this.#reloading = reloaded.catch(() => {});
    return reloaded;
  }

  async #reload(): Promise<ConfigChange> {
    const { log, readConfig, pods, onReload } = this.#parts;
    onReload(false);
    try {
      const config = readConfig?.() ?? this.#config;
      const change = configChange(this.#config, config);
      await this.#takeOver(config, change);
      log.info(change, 'the configuration was read again');
      if (change.needsRestart.length > 0)
        log.warn({ keys: change.needsRestart.join(' ') }, 'these keys count after a restart of the agent');
      if (change.changed.includes('staticPods')) await pods.setStatic(config.staticPods);
      return change;
    } catch (error) {
      log.error({ err: error }, 'the configuration was read again, and nothing of it is taken over');
      throw error;
    } finally {
      onReload(true);
    }
  }

  async #takeOver(config: Config, { changed }: ConfigChange): Promise<void> {
    const { log, admission, attachments, staticPeers, followers, names } = this.#parts;
    const hasChanged = (section: string) => changed.some((key) => key.startsWith(section));
    // The one that can fail comes first.
    if (hasChanged('datapath.offload')) await this.#switchOffloads(config);
    if (changed.includes('log.level')) log.level = config.log.level;
    if (changed.includes('staticPeers')) {
      attachments.setReserved(config.staticPeers.flatMap(({ subnets }) => subnets));
      staticPeers.replace(config.staticPeers);
    }
    if (changed.includes('cluster.admission') || changed.includes('cluster.approvers')) {
      const { admission: mode, approvers } = config.cluster;
      this.#config = { ...this.#config, cluster: { ...this.#config.cluster, admission: mode, approvers } };
      admission.setRules({ mode, approvers });
    }
    if (hasChanged('egress.')) followers.setEgress(config.egress);
    if (hasChanged('dns.')) names.configure(config.dns);
    const { egress, dns } = config;
    this.#config = {
      ...this.#config,
      api: { ...this.#config.api, remoteCapture: config.api.remoteCapture },
      ...{ staticPeers: config.staticPeers, staticPods: config.staticPods, egress, dns },
      log: { ...this.#config.log, level: config.log.level },
    };
  }

  /** In the data plane, and in what is announced and sent to others: or nowhere. */
  async #switchOffloads({ datapath: { offload } }: Config): Promise<void> {
    const { dataPlane, membership, gossipPeers, tunnelKey, onOffloads } = this.#parts;
    await dataPlane.switchOffloads(offload);
    const isOther = this.#config.datapath.offload.checksum !== offload.checksum;
    this.#config = { ...this.#config, datapath: { ...this.#config.datapath, offload } };
    if (isOther) {
      membership.updateSelf({ encapsulation: ownEncapsulation(this.#config, tunnelKey) });
      gossipPeers.ownEndChanged();
    }
    onOffloads();
  }
}
