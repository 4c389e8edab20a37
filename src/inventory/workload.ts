/**
 * What an inventory says of a container besides its name, network and addresses: the labels that whoever attaches containers
 * of an engine writes. Names (dns/entry-names.ts) and the isolation of networks go by them, on all nodes alike.
 */

/** Labels of a container itself that go on as they are: Compose's, and people's own, by which names are made. */
export const PASSED_LABELS = [
  'com.docker.compose.service',
  'com.docker.compose.project',
  'warren.service',
  'warren.aliases',
  'warren.ports',
  'warren.namespace',
  'warren.labels',
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

/** Names of the other networks that what has these labels may reach; `*` is all. */
export function reachOf(labels: Readonly<Record<string, string>>): string[] {
  return (labels[WORKLOAD_LABELS.reach] ?? '').split(',').filter((one) => one !== '');
}
