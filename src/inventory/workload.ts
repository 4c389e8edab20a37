/**
 * What an inventory says of a container besides its name, network and addresses. Whoever attaches containers of an engine
 * writes these labels; who answers names or keeps networks apart reads them here, of this node's and of all others' alike.
 */
import type { InventoryEntry } from './inventory.ts';

/** Labels of a container itself that go on as they are: Compose's, and people's own, by which names are made. */
export const PASSED_LABELS = [
  'com.docker.compose.service',
  'com.docker.compose.project',
  'warren.service',
  'warren.aliases',
  'warren.ports',
] as const;

/** Keys of labels. */
export const WORKLOAD_LABELS = {
  networkId: 'docker.network.id',
  containerId: 'docker.container.id',
  /** `healthy`, `unhealthy` or `starting`; absent where a container has no health check. */
  health: 'docker.health',
  /** The other networks that this one may reach, separated by commas; `*`: all. */
  reach: 'docker.reach',
  /** Other names of it in its network, separated by commas. */
  aliases: 'docker.aliases',
  /** What it listens on, as far as it says: `80/tcp,5432/tcp`. */
  ports: 'docker.ports',
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
  /** Other names of it in its network. */
  readonly aliases: readonly string[];
  /** Names of networks; `*` is all. */
  readonly reach: readonly string[];
}

export function workloadOf({
  name,
  network,
  labels,
}: Pick<InventoryEntry, 'name' | 'network' | 'labels'>): Workload {
  const { service, project, health, aliases, reach } = WORKLOAD_LABELS;
  return {
    name,
    network,
    service: labels[service],
    project: labels[project],
    isHealthy: ['healthy', undefined].includes(labels[health]),
    aliases: listOf(labels[aliases]),
    reach: listOf(labels[reach]),
  };
}

function listOf(text = ''): string[] {
  return text.split(',').filter((one) => one !== '');
}
