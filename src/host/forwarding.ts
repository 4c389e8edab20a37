/** IP forwarding: this host routes between its pods and the tunnel. */
import type { Family } from '../ip/address.ts';
import type { InNetns } from './command.ts';
import { readSysctl, type SysctlName, setSysctls } from './sysctl.ts';

/** One setting and what it should be. */
export type WantedSysctl = readonly [name: SysctlName, value: string];

/**
 * What is missing for forwarding of `families`, in the order to set it. IPv6 forwarding makes the kernel ignore router
 * advertisements (Documentation/networking/ip-sysctl.rst, accept_ra), and with them a default route that the underlay
 * interface may live on: where it accepted them, it is told to go on (2).
 */
export async function missingForwarding(
  families: ReadonlySet<Family>,
  underlayInterface: string | undefined,
  where: InNetns = {},
): Promise<WantedSysctl[]> {
  const missing: WantedSysctl[] = [];
  if (families.has(4) && (await readSysctl('net/ipv4/ip_forward', where)) !== '1') {
    missing.push(['net/ipv4/ip_forward', '1']);
  }
  if (families.has(6) && (await readSysctl('net/ipv6/conf/all/forwarding', where)) !== '1') {
    const acceptRa = `net/ipv6/conf/${underlayInterface ?? 'default'}/accept_ra` as const;
    if (underlayInterface !== undefined && (await readSysctl(acceptRa, where)) === '1') {
      missing.push([acceptRa, '2']);
    }
    missing.push(['net/ipv6/conf/all/forwarding', '1']);
  }
  return missing;
}

/** Turns forwarding on for `families`. Gives the settings that were changed, such as `net/ipv4/ip_forward`. */
export async function enableForwarding(
  families: ReadonlySet<Family>,
  underlayInterface: string,
  where: InNetns = {},
): Promise<SysctlName[]> {
  const changed: SysctlName[] = [];
  for (const [name, value] of await missingForwarding(families, underlayInterface, where)) {
    changed.push(...(await setSysctls([name], value, where)));
  }
  return changed;
}
