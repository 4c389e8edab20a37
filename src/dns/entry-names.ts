/**
 * What of an attachment makes names: its own, the services that its labels name it a part of, its ports.
 *
 *     warren.service       db                       beside its name, whoever made it
 *     warren.aliases       db,cache                 more of them
 *     warren.ports         http:80/tcp,5432/tcp     SRV records
 *
 * Containers of Docker have the labels of Compose, and of the driver `docker.aliases`, `docker.ports` and `docker.health`:
 * what is `unhealthy` or only `starting` is no part of its services.
 */
import type { InventoryEntry } from '../inventory/inventory.ts';
import { WORKLOAD_LABELS } from '../inventory/workload.ts';

export interface Port {
  /** Lower case, without the underscore; of one without a name its number. */
  readonly name: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
}

export interface EntryNames {
  /** As the labels of a DNS name; undefined: it cannot be one. */
  readonly name: string | undefined;
  /** All by which its network knows it, its own name among them. */
  readonly services: readonly string[];
  readonly ports: readonly Port[];
  readonly isHealthy: boolean;
}

const SERVICE_LABELS = ['warren.service', WORKLOAD_LABELS.service, WORKLOAD_LABELS.containerId] as const;
const ALIASES_LABELS = ['warren.aliases', WORKLOAD_LABELS.aliases] as const;
const PORTS_LABELS = ['warren.ports', WORKLOAD_LABELS.ports] as const;
/** Of one attachment; labels have so many bytes at most that this is hardly ever met. */
const MAX_SERVICES = 32;
const MAX_PORTS = 64;
/** A container's id, which is too long for a label: its first 12 characters, as container engines show it. */
const CONTAINER_ID = /^[0-9a-f]{64}$/;
const PORT = /^(?:([a-z0-9][a-z0-9-]{0,14}):)?([0-9]{1,5})(?:\/(tcp|udp|sctp))?$/;
/** All labels and their dots; with a node's name and the zone it is a name of 253 characters at most. */
const MAX_NAME_LENGTH = 180;

export function entryNames({ name, labels }: Pick<InventoryEntry, 'name' | 'labels'>): EntryNames {
  const own = dnsName(name);
  const lists = (keys: readonly string[]) => keys.map((key) => labelOf(labels, key) ?? '').join(',');
  const said = [...SERVICE_LABELS.map((key) => labelOf(labels, key)), ...lists(ALIASES_LABELS).split(',')];
  const services = [own, ...said.map((text) => (text === undefined ? undefined : dnsName(text.trim())))];
  return {
    name: own,
    services: [...new Set(services.filter((one) => one !== undefined))].slice(0, MAX_SERVICES),
    ports: portsOf(lists(PORTS_LABELS)),
    isHealthy: !['unhealthy', 'starting'].includes(labelOf(labels, WORKLOAD_LABELS.health) ?? ''),
  };
}

/**
 * A text as the labels of a DNS name, in lower case: of Kubernetes' `namespace/pod` it is `pod.namespace`, and what a host
 * name may not have is a hyphen. Undefined if nothing of it is left, or it is too long.
 */
export function dnsName(text: string): string | undefined {
  const short = CONTAINER_ID.test(text) ? text.slice(0, 12) : text;
  const labels = short
    .toLowerCase()
    .split('/')
    .reverse()
    .flatMap((part) => part.split('.'))
    .map((label) => label.replace(/[^a-z0-9_-]+/g, '-').replace(/^-+|-+$/g, ''));
  const joined = labels.join('.');
  const fits = joined.length <= MAX_NAME_LENGTH && labels.every(({ length }) => length >= 1 && length <= 63);
  return fits ? joined : undefined;
}

function portsOf(text: string): Port[] {
  const ports: Port[] = [];
  for (const part of text.split(',').slice(0, MAX_PORTS)) {
    const [, name, number, protocol = 'tcp'] = PORT.exec(part.trim().toLowerCase()) ?? [];
    const port = Number(number);
    if (number === undefined || port < 1 || port > 65_535) continue;
    ports.push({ name: name ?? String(port), port, protocol: protocol as Port['protocol'] });
  }
  return ports;
}

/** A label's own value, never what an object has from elsewhere. */
function labelOf(labels: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}
