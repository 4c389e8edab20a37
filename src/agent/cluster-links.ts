/** Links of the whole cluster as an agent has them: what asks and answers is loaded when somebody asks. */
import type { ClusterLink, ClusterLinks, ClusterLinksOptions } from '../history/cluster-links.ts';
import type { History } from '../history/history.ts';
import { LINKS_METHOD } from '../history/method.ts';

export type LoadLinks = (options: ClusterLinksOptions) => Promise<ClusterLinks>;

/** Serves other nodes from now on; gives what this node's own page asks. */
export function servedLinks(
  options: Omit<ClusterLinksOptions, 'own'>,
  history: History,
  load: LoadLinks = loadLinks,
): () => Promise<readonly ClusterLink[]> {
  let loading: Promise<ClusterLinks> | undefined;
  const loaded = () => {
    loading ??= load({ ...options, own: () => history.links() });
    return loading;
  };
  options.rpc.serve(LINKS_METHOD, async () => (await loaded()).answer());
  return async () => (await loaded()).links();
}

async function loadLinks(options: ClusterLinksOptions): Promise<ClusterLinks> {
  const { ClusterLinks: Links } = await import('../history/cluster-links.ts');
  return new Links(options);
}
