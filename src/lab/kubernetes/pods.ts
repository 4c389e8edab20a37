/** Pods of a cluster as its API server knows them. */
import type { Cluster } from './cluster.ts';

export interface ClusterPod {
  readonly name: string;
  readonly node: string;
  /** Empty before it has one. */
  readonly address: string;
  readonly restarts: string;
}

/** Those of an app. Throws LAB_COMMAND_FAILED. */
export async function podsOf({ control }: Cluster, namespace: string, app: string): Promise<ClusterPod[]> {
  const path =
    '{range .items[*]}{.metadata.name} {.spec.nodeName} {.status.podIP} {.status.containerStatuses[0].restartCount}{"\\n"}{end}';
  const argv = ['-n', namespace, 'get', 'pods', '-l', `app=${app}`, `-o=jsonpath=${path}`];
  const text = (await control.told(argv)).trim();
  return text.split('\n').flatMap((line) => {
    const [name, node, address, restarts] = line.split(' ');
    return restarts === undefined ? [] : [{ name: name!, node: node!, address: address!, restarts }];
  });
}
