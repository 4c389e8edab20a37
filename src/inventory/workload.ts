/**
 * What an inventory says of a container besides its name, network and addresses. Whoever attaches containers of an engine
 * writes these labels; who answers names or keeps networks apart reads them here, of this node's and of all others' alike.
 */
import type { InventoryEntry } from './inventory.ts';

/** Keys of labels. Those of Compose are its own, and are passed on as they are. */
export const WORKLOAD_LABELS = {
  networkId: 'docker.network.id',
  containerId: 'docker.container.id',
  /** `healthy`, `unhealthy` or `starting`; absent where a container has no health check. */
  health: 'docker.health',
  /** The other networks that this one may reach, separated by commas; `*`: all. */
  reach: 'docker.reach',
  service: 'com.docker.compose.service',
  project: 'com.docker.compose.project',
} as const;

export interface Workload {
  /** What people call the container. */
  readonly name: string;
  /** The same on all hosts; empty where there is only one. */
  readonly network: string;
  /** Of Compose; undefined for what it did not make. */
  readonly service: string | undefined;
  readonly project: string | undefined;
  /** Also where nobody looks at its health. */
  readonly isHealthy: boolean;
  /** Names of networks; `*` is all. */
  readonly reach: readonly string[];
}

export function workloadOf({
  name,
  network,
  labels,
}: Pick<InventoryEntry, 'name' | 'network' | 'labels'>): Workload {
  const { service, project, health, reach } = WORKLOAD_LABELS;
  return {
    name,
    network,
    service: labels[service],
    project: labels[project],
    isHealthy: ['healthy', undefined].includes(labels[health]),
    reach: (labels[reach] ?? '').split(',').filter((one) => one !== ''),
  };
}
