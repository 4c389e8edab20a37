/**
 * The result of an ADD, in the format of each version:
 *
 *     0.3.0 to 0.4.0   an address says its family: "version": "4"
 *     1.0.0            it does not
 *     1.1.0            an interface says its MTU
 *
 * Interfaces are the node's end and the container's, in this order, behind those of a previous plugin.
 */
import type { Attached } from './messages.ts';
import { isObject, type JsonObject, type NetworkConfig } from './request.ts';
import { type CniVersion, isAtLeast } from './versions.ts';

export function resultOf(
  attached: Attached,
  { cniVersion, raw }: NetworkConfig,
  container: { readonly interfaceName: string; readonly netns: string },
): JsonObject {
  const before = isObject(raw.prevResult) ? raw.prevResult : {};
  const others = listOf(before.interfaces);
  const mtu = isAtLeast(cniVersion, '1.1.0') ? { mtu: attached.mtu } : {};
  const families = attached.addresses.map(({ address }) => (address.includes(':') ? 6 : 4));
  return {
    ...before,
    cniVersion,
    interfaces: [
      ...others,
      { name: attached.hostInterface, mac: attached.hostMac, ...mtu },
      { name: container.interfaceName, mac: attached.mac, ...mtu, sandbox: container.netns },
    ],
    ips: [
      ...listOf(before.ips),
      ...attached.addresses.map(({ address, gateway }, i) => ({
        ...versionOf(cniVersion, families[i]!),
        address,
        gateway,
        interface: others.length + 1,
      })),
    ],
    routes: [
      ...listOf(before.routes),
      ...attached.addresses.map(({ gateway }, i) => ({
        dst: families[i] === 6 ? '::/0' : '0.0.0.0/0',
        gw: gateway,
      })),
    ],
    dns: isObject(raw.dns) ? raw.dns : { ...attached.dns, ...(isObject(before.dns) && before.dns) },
  };
}

/**
 * What of an attachment a previous result says otherwise, one sentence each; empty if nothing. What other plugins of the
 * chain have added is theirs.
 */
export function differences(
  attached: Attached,
  previous: JsonObject,
  container: { readonly interfaceName: string; readonly netns: string },
): string[] {
  const found: string[] = [];
  const interfaces = listOf(previous.interfaces).filter(isObject);
  const inside = interfaces.findIndex(
    ({ name, sandbox }) => name === container.interfaceName && sandbox === container.netns,
  );
  if (inside < 0) found.push(`prevResult has no interface ${container.interfaceName} in ${container.netns}`);
  const own = listOf(previous.ips)
    .filter(isObject)
    .filter((ip) => ip.interface === undefined || ip.interface === inside);
  for (const { address } of attached.addresses) {
    if (!own.some((ip) => sameText(ip.address, address)))
      found.push(`the container has ${address}, and prevResult does not say so`);
  }
  for (const ip of own) {
    if (!attached.addresses.some(({ address }) => sameText(ip.address, address)))
      found.push(`prevResult has ${String(ip.address)}, and the container does not have it`);
  }
  return found;
}

function sameText(a: unknown, b: string): boolean {
  return typeof a === 'string' && a.toLowerCase() === b.toLowerCase();
}

function versionOf(cniVersion: CniVersion, family: number): { version?: string } {
  return isAtLeast(cniVersion, '1.0.0') ? {} : { version: String(family) };
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
