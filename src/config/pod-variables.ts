/**
 * In a Kubernetes cluster all nodes have one configuration, a ConfigMap. What is a node's own comes from variables that its
 * pod's manifest fills in, and counts where the configuration does not say it.
 */
import { parseAddress } from '../ip/address.ts';
import { KUBERNETES_NODE_NAME, KUBERNETES_NODE_NAME_RULE, NODE_NAME } from '../names.ts';
import type { Report } from './checks.ts';
import type { Parsed } from './schema.ts';

export interface PodVariables {
  /** `spec.nodeName`: of this node's Node. */
  readonly WARREN_NODE_NAME?: string | undefined;
  /** `status.hostIP`: this node's address towards the others. */
  readonly WARREN_HOST_IP?: string | undefined;
}

/** Before the rest is checked. */
export function takePodVariables(parsed: Parsed, variables: PodVariables, report: Report): void {
  const { kubernetes, node, underlay } = parsed;
  if (!kubernetes?.enabled) return;
  const { WARREN_NODE_NAME: name, WARREN_HOST_IP: address } = variables;
  if (name) {
    if (!KUBERNETES_NODE_NAME.test(name)) {
      report(
        ['kubernetes'],
        `the variable WARREN_NODE_NAME must be the name of a Node: ${KUBERNETES_NODE_NAME_RULE}`,
      );
    } else {
      kubernetes.nodeName ??= name;
      if (node && NODE_NAME.test(name)) node.name ??= name;
    }
  }
  if (!address || underlay?.address !== 'auto') return;
  try {
    underlay.address = parseAddress(address);
  } catch {
    report(['kubernetes'], 'the variable WARREN_HOST_IP must be an IP address');
  }
}

/** Once the node has its name. */
export function nameKubernetesNode({ kubernetes, node }: Parsed, report: Report): void {
  if (!kubernetes?.enabled || kubernetes.nodeName !== undefined || node?.name === undefined) return;
  if (KUBERNETES_NODE_NAME.test(node.name)) kubernetes.nodeName = node.name;
  else report(['kubernetes'], `node.name, ${node.name}, cannot be a Node's name (set kubernetes.nodeName)`);
}
