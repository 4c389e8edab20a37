/** IP forwarding: this host routes between its pods and the tunnel. */
import type { Family } from '../ip/address.ts';
import type { InNetns } from './command.ts';
import { readSysctl, type SysctlName, setSysctls } from './sysctl.ts';

/**
 * Turns forwarding on for `families`. IPv6 forwarding makes the kernel ignore router advertisements
 * (Documentation/networking/ip-sysctl.rst, accept_ra), and with them a default route that the underlay
 * interface may live on: where it accepted them, it is told to go on (2).
 * Gives the settings that were changed, such as `net/ipv4/ip_forward`.
 */
export async function enableForwarding(
  families: ReadonlySet<Family>,
  underlayInterface: string,
  where: InNetns = {},
): Promise<SysctlName[]> {
  const changed: SysctlName[] = [];
  const set = async (name: SysctlName, value: string) => {
    if ((await readSysctl(name, where)) !== value) changed.push(...(await setSysctls([name], value, where)));
  };
  if (families.has(4)) await set('net/ipv4/ip_forward', '1');
  if (families.has(6) && (await readSysctl('net/ipv6/conf/all/forwarding', where)) !== '1') {
    const acceptRa = `net/ipv6/conf/${underlayInterface}/accept_ra` as const;
    if ((await readSysctl(acceptRa, where)) === '1') await set(acceptRa, '2');
    await set('net/ipv6/conf/all/forwarding', '1');
  }
  return changed;
}
