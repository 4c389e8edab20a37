/**
 * Kernel settings of the network namespace that the calling thread is in: /proc/sys/net shows that one's to whoever
 * opens a file there. Only what differs is written.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import type { SysctlName } from '../sysctl.ts';

export interface Setting {
  readonly name: SysctlName;
  readonly value: string;
  /** It does not matter if this kernel has none. */
  readonly optional?: true;
}

/**
 * Writes `settings`, and gives those that could not be written, or do not exist and must: for `setSysctls`, which
 * knows a way round a read-only /proc/sys and says what is wrong where there is none.
 */
export function writeSettings(settings: readonly Setting[]): Setting[] {
  return settings.filter((setting) => {
    const path = `/proc/sys/${setting.name}`;
    try {
      if (readFileSync(path, 'utf8').trim() !== setting.value)
        writeFileSync(path, setting.value, { flag: 'r+' });
      return false;
    } catch (error) {
      return !(setting.optional === true && (error as NodeJS.ErrnoException).code === 'ENOENT');
    }
  });
}
