/** Where in the page somebody is: the part of the address after `#`. */

export type Route =
  | { readonly view: 'map' | 'traffic' | 'drops' | 'leases' | 'events' }
  | { readonly view: 'node' | 'peer'; readonly key: string }
  | { readonly view: 'pod'; readonly node: string; readonly name: string };

const VIEWS = ['map', 'traffic', 'drops', 'leases', 'events'] as const;

export function parseRoute(hash: string): Route {
  const [view, ...rest] = hash
    .replace(/^#?\/?/, '')
    .split('/')
    .map(decoded);
  const plain = VIEWS.find((one) => one === view);
  if (plain !== undefined) return { view: plain };
  const [first, second] = rest;
  if ((view === 'node' || view === 'peer') && first) return { view, key: first };
  if (view === 'pod' && first && second) return { view, node: first, name: second };
  return { view: 'map' };
}

export function formatRoute(route: Route): string {
  if (route.view === 'pod')
    return `#/pod/${encodeURIComponent(route.node)}/${encodeURIComponent(route.name)}`;
  if (route.view === 'node' || route.view === 'peer')
    return `#/${route.view}/${encodeURIComponent(route.key)}`;
  return `#/${route.view}`;
}

/** The token of a link that `warren ui` has printed; it goes no further than into this page. */
export function tokenOf(hash: string): string | undefined {
  return /^#token=([\w.~-]+)$/.exec(hash)?.[1];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
