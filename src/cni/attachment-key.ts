/** The names of an attachment: to the agent, and as a file of the delete queue. What they are made of is checked first. */
import type { AttachmentKey } from './messages.ts';

/** The specification's rule for container ids and names of networks. */
const WORD = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
/** With both at their longest the file's name has 239 characters of 255, the agent's id 212 of 256. */
export const MAX_CONTAINER_ID = 128;
export const MAX_NETWORK_NAME = 64;
const MAX_INTERFACE_BYTES = 15;

export function isContainerId(text: string): boolean {
  return text.length <= MAX_CONTAINER_ID && WORD.test(text);
}

export function isNetworkName(text: string): boolean {
  return text.length <= MAX_NETWORK_NAME && WORD.test(text);
}

/** What the kernel takes (linux/if.h), less what the agent's ids do not: printable ASCII. */
export function isInterfaceName(text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text) && text.length <= MAX_INTERFACE_BYTES && !/^\.\.?$|[/:]/.test(text);
}

/** Neither a network's name nor a container's id has a slash in it. */
export function attachmentId({ network, containerId, interfaceName }: AttachmentKey): string {
  return `cni/${network}/${containerId}/${interfaceName}`;
}

/** The name of its file in the delete queue: none of the parts has a plus sign in it. */
export function queueFileName({ network, containerId, interfaceName }: AttachmentKey): string {
  return `${network}+${containerId}+${encodeURIComponent(interfaceName)}`;
}

/** Undefined for what is no name of `queueFileName`. */
export function keyOfFileName(name: string): AttachmentKey | undefined {
  const [network, containerId, encoded, ...rest] = name.split('+');
  if (encoded === undefined || rest.length > 0) return undefined;
  try {
    const key = { network: network!, containerId: containerId!, interfaceName: decodeURIComponent(encoded) };
    return isKey(key) && queueFileName(key) === name ? key : undefined;
  } catch {
    return undefined;
  }
}

function isKey({ network, containerId, interfaceName }: AttachmentKey): boolean {
  return isNetworkName(network) && isContainerId(containerId) && isInterfaceName(interfaceName);
}
