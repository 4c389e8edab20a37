/**
 * Every name a lab makes, so that labs can run side by side and a left-over can be told from anything else.
 *
 *     lab        node names           node namespaces           other namespaces        folder
 *     `lab`      node-a, node-b ...   warrenlab-node-a ...      warrenlab-lab-bridge    /run/warren/lab-lab
 *     `x7`       x7-a, x7-b ...       warrenlab-x7-a ...        warrenlab-x7-bridge     /run/warren/lab-x7
 *
 * A pod's namespace is named by the agent, after its node: warren-node-a-web. Lab names have no hyphen and
 * `node` is reserved, so no two labs come to the same name.
 */
import { WarrenError } from '../errors.ts';

/** The lab that commands mean unless told otherwise. Only its nodes are called node-a, node-b ... */
export const DEFAULT_LAB = 'lab';

/** Addresses .1 to .200 of the underlay are nodes'; the rest is for hosts that run no agent. */
export const MAX_NODES = 200;

const LAB_NAME = /^[a-z][a-z0-9]{0,15}$/;

/** Throws LAB_NAME_INVALID for a name that could not be told from another's. */
export function checkLabName(name: string): void {
  if (LAB_NAME.test(name) && name !== 'node') return;
  throw new WarrenError('LAB_NAME_INVALID', `"${name}" cannot be the name of a lab`, {
    hint: 'Take 1 to 16 lower-case letters and digits, a letter first; `node` is reserved.',
  });
}

/** Name of the node at `index` (from 0). */
export function nodeName(lab: string, index: number): string {
  return `${nodePrefix(lab)}-${letters(index)}`;
}

export function nodeNamespace(node: string): string {
  return `warrenlab-${node}`;
}

export function bridgeNamespace(lab: string): string {
  return `warrenlab-${lab}-bridge`;
}

export function hostNamespace(lab: string, host: string): string {
  return `warrenlab-${lab}-host-${host}`;
}

/** The node whose namespace is called `namespace`, if it is one of `lab`'s. */
export function nodeOfNamespace(lab: string, namespace: string): string | undefined {
  const match = new RegExp(`^warrenlab-(${nodePrefix(lab)}-[a-z]{1,2})$`).exec(namespace);
  return match?.[1];
}

/** Whether `namespace` is `lab`'s bridge or one of its hosts without an agent. */
export function isExtraNamespace(lab: string, namespace: string): boolean {
  return namespace === bridgeNamespace(lab) || namespace.startsWith(hostNamespace(lab, ''));
}

/** Whether `namespace` is that of a pod of `node`, as the agent names them. */
export function isPodNamespace(node: string, namespace: string): boolean {
  return namespace.startsWith(`warren-${node}-`);
}

export function labFolder(lab: string): string {
  return `/run/warren/lab-${lab}`;
}

function nodePrefix(lab: string): string {
  return lab === DEFAULT_LAB ? 'node' : lab;
}

/** a, b ... z, aa, ab ... */
function letters(index: number): string {
  const last = String.fromCharCode(97 + (index % 26));
  return index < 26 ? last : letters(Math.floor(index / 26) - 1) + last;
}
