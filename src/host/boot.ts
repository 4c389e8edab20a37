/** This run of the kernel: its id, and how long it has been up. */
import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';

const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/** Empty where it cannot be read. */
export function bootId(): string {
  try {
    return readFileSync(BOOT_ID, 'utf8').trim();
  } catch {
    return '';
  }
}

export function linuxBoot(): { readonly id: string; uptimeMs(): number } {
  // CLOCK_BOOTTIME; whole hundredths of seconds from /proc/uptime.
  return { id: bootId(), uptimeMs: () => Math.round(uptime() * 1000) };
}
