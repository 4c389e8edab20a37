/** Finding nodes and pods by a part of their name, an address, a subnet, or a label. */
import type { NodeView } from './nodes.ts';
import { formatRoute } from './routes.ts';

export interface Found {
  readonly what: 'node' | 'peer' | 'pod';
  readonly title: string;
  readonly detail: string;
  readonly href: string;
}

export const MAX_FOUND = 12;

/** Those whose name begins with it first, then by name. */
export function search(nodes: readonly NodeView[], text: string): Found[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [];
  const found: { readonly rank: number; readonly one: Found }[] = [];
  const add = (one: Found, haystack: readonly string[]) => {
    const all = haystack.join('\n').toLowerCase();
    if (!words.every((word) => all.includes(word))) return;
    found.push({ rank: one.title.toLowerCase().startsWith(words[0]!) ? 0 : 1, one });
  };
  for (const node of nodes) {
    const { key, name, endpoint, subnets, healthText, pods, peer } = node;
    const isStatic = peer !== undefined && peer.kind !== 'gossip';
    add(
      {
        what: isStatic ? 'peer' : 'node',
        title: name,
        detail: `${healthText} · ${subnets[0] ?? endpoint}`,
        href: formatRoute({ view: isStatic ? 'peer' : 'node', key }),
      },
      [name, key, endpoint, ...subnets],
    );
    for (const pod of pods) {
      add(
        {
          what: 'pod',
          title: pod.name,
          detail: `on ${name} · ${pod.addresses[0] ?? 'no address'}`,
          href: formatRoute({ view: 'pod', node: pod.node, name: pod.name }),
        },
        [
          pod.name,
          ...pod.addresses,
          pod.network ?? '',
          ...Object.entries(pod.labels ?? {}).map(([label, value]) => `${label}=${value}`),
        ],
      );
    }
  }
  return found
    .sort((a, b) => a.rank - b.rank || (a.one.title < b.one.title ? -1 : Number(a.one.title > b.one.title)))
    .slice(0, MAX_FOUND)
    .map(({ one }) => one);
}
