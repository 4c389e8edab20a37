/**
 * What `warren host check --fix` does: settings now and in a drop-in file for the next boot, modules likewise, and
 * files that tell others to leave our interfaces alone. Nothing of anybody else's is changed or removed.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorMessage } from '../errors.ts';
import { runCommand } from '../host/command.ts';
import type { WantedSysctl } from '../host/forwarding.ts';
import { dotted, setSysctls } from '../host/sysctl.ts';
import { replaceFile } from '../state/replace-file.ts';
import type { Finding, Fix } from './finding.ts';

export const SYSCTL_FILE = '/etc/sysctl.d/90-warren.conf';
export const MODULES_FILE = '/etc/modules-load.d/90-warren.conf';

export interface FixResult {
  readonly check: string;
  /** What was done, in the order it was. */
  readonly did: readonly string[];
  /** Why it, or the rest of it, could not be done; undefined if all was. */
  readonly failure: string | undefined;
}

export interface FixHost {
  /** Where the host's files are. */
  readonly root: string;
  readonly setSysctl: (setting: WantedSysctl) => Promise<unknown>;
  readonly run: (argv: readonly string[]) => Promise<unknown>;
}

const THIS_HOST: FixHost = {
  root: '/',
  setSysctl: ([name, value]) => setSysctls([name], value),
  run: (argv) => runCommand(argv),
};

/** One that fails does not keep the others from being done. */
export async function fixFindings(
  findings: readonly Finding[],
  host: FixHost = THIS_HOST,
): Promise<FixResult[]> {
  const results: FixResult[] = [];
  for (const { check, fix } of findings) {
    if (fix === undefined) continue;
    const did: string[] = [];
    let failure: string | undefined;
    try {
      for await (const done of carryOut(fix, host)) did.push(done);
    } catch (error) {
      failure = errorMessage(error);
    }
    results.push({ check, did, failure });
  }
  return results;
}

/** Gives each thing when it has been done. */
async function* carryOut(fix: Fix, host: FixHost): AsyncGenerator<string> {
  switch (fix.type) {
    case 'sysctls':
      for (const [name, value] of fix.settings) {
        await host.setSysctl([name, value]);
        yield `set ${dotted(name)} to ${value}`;
      }
      for (const [name, value] of fix.settings) {
        // A dash: an interface that is not there at boot is no failure (sysctl.d(5)).
        setLine(host, SYSCTL_FILE, dotted(name), `-${dotted(name)} = ${value}`);
      }
      yield `wrote that into ${SYSCTL_FILE}`;
      return;
    case 'module':
      await host.run(['modprobe', fix.module]);
      yield `loaded the module ${fix.module}`;
      setLine(host, MODULES_FILE, fix.module, fix.module);
      yield `wrote it into ${MODULES_FILE}`;
      return;
    case 'file':
      put(host, fix.path, fix.text);
      yield `wrote ${fix.path}`;
      if (fix.reload !== undefined) {
        await host.run(fix.reload);
        yield `ran ${fix.reload.join(' ')}`;
      }
  }
}

/** Puts `line` into a file of ours, in place of the one about the same `subject`. */
function setLine(host: FixHost, path: string, subject: string, line: string): void {
  let text = '# Written by `warren host check --fix`.\n';
  try {
    text = readFileSync(join(host.root, path), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const kept = text.split('\n').filter((one) => one !== '' && subjectOf(one) !== subject);
  put(host, path, `${[...kept, line].join('\n')}\n`);
}

function subjectOf(line: string): string {
  return line.replace(/^-/, '').split('=')[0]!.trim();
}

function put({ root }: FixHost, path: string, text: string): void {
  replaceFile(join(root, path), text, { file: 0o644, folder: 0o755 });
}
