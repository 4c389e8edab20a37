/** Links of the whole cluster as an agent has them: what asks and answers is loaded when somebody asks. */
import type { ClusterLink, ClusterLinksOptions } from '../history/cluster-links.ts';
import type { History } from '../history/history.ts';
import { LINKS_METHOD } from '../history/method.ts';

/** Serves other nodes from now on; gives what this node's own page asks. */
export function servedLinks(
  options: Omit<ClusterLinksOptions, 'own'>,
  history: History,
): () => Promise<readonly ClusterLink[]> {
  const load = async () => {
    const { ClusterLinks } = await import('../history/cluster-links.ts');
    return new ClusterLinks({ ...options, own: () => history.links() });
  };
  let loading: ReturnType<typeof load> | undefined;
  const loaded = () => {
    loading ??= load();
    return loading;
  };
  options.rpc.serve(LINKS_METHOD, async () => (await loaded()).answer());
  return async () => (await loaded()).links();
}
