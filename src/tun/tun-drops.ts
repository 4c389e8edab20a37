/**
 * How many packets a TUN device did not take, because a queue of it was full (`tx_dropped`, tun_net_xmit in
 * drivers/net/tun.c). A device without queues, which nobody holds, drops all and counts that as well.
 *
 * It is read from /proc, which shows the devices of the caller's own network namespace whatever is mounted at /sys, and
 * which, unlike rtnetlink, does not wait for changes to other devices.
 */
import { readFileSync } from 'node:fs';

const DEVICES = '/proc/thread-self/net/dev';
/** Its column (dev_seq_printf_stats in net/core/net-procfs.c): after eight of what was received, bytes, packets, errors. */
const TX_DROPPED = 11;

/** Since the device called `name` was made. Undefined if there is none, or no /proc. */
export function tunDrops(name: string): number | undefined {
  try {
    return droppedIn(readFileSync(DEVICES, 'utf8'), name);
  } catch {
    return undefined;
  }
}

/** The same in the text of `/proc/net/dev`. */
export function droppedIn(devices: string, name: string): number | undefined {
  const start = `${name}:`;
  for (const line of devices.split('\n')) {
    const text = line.trimStart();
    if (!text.startsWith(start)) continue;
    const column = text.slice(start.length).trim().split(/\s+/)[TX_DROPPED];
    return column === undefined ? undefined : Number(column);
  }
  return undefined;
}
