/**
 * What one node puts into a sysdump: its reports, its configuration as it is rendered (paths of key files, no keys), the
 * latest lines of its log, and what its host says. What is not named here or in linux-facts.ts does not go in.
 */
import { errorMessage, WarrenError } from '../errors.ts';
import type { DumpFile } from '../readmodel/reports.ts';
import { SecretScan } from './secret-scan.ts';

export const MAX_FILE_CHARACTERS = 512 * 1024;
export const MAX_NODE_CHARACTERS = 4 * 1024 * 1024;

export interface DumpSources {
  /** By the name of the file that each becomes. */
  readonly reports: Readonly<Record<string, () => unknown>>;
  readonly config: () => string;
  /** The latest lines. */
  readonly log: () => string;
  /** What the host says; what it does not say is told in its file. */
  readonly host: () => Promise<readonly DumpFile[]>;
  /** What may not be in any file. */
  readonly secrets: () => readonly Uint8Array[];
}

/** Rejects with SYSDUMP_SECRET where a file would hold a secret of this node: then nothing is handed out. */
export async function collectSysdump(sources: DumpSources): Promise<DumpFile[]> {
  const reports = Object.entries(sources.reports).map(([name, report]) =>
    file(`${name}.json`, () => `${JSON.stringify(report(), null, 1)}\n`),
  );
  const own = [file('config.yaml', sources.config), file('log.txt', sources.log)];
  const files = [...reports, ...own, ...(await hostFiles(sources))];
  const scan = new SecretScan(sources.secrets());
  // Whole files: half of a key at the place of a cut would not be found.
  const bad = files.find(({ text }) => scan.finds(text));
  if (bad === undefined) return withinBounds(files);
  throw new WarrenError('SYSDUMP_SECRET', `${bad.name} would hold a secret key of this node`, {
    hint: 'Nothing was written. This is a bug in warren, or a key was given as a name or label: please report which.',
  });
}

function file(name: string, text: () => string): DumpFile {
  try {
    return { name, text: text() };
  } catch (error) {
    return { name, text: `could not be collected: ${errorMessage(error)}\n` };
  }
}

async function hostFiles({ host }: DumpSources): Promise<readonly DumpFile[]> {
  try {
    return await host();
  } catch (error) {
    return [{ name: 'host.txt', text: `could not be collected: ${errorMessage(error)}\n` }];
  }
}

function withinBounds(files: readonly DumpFile[]): DumpFile[] {
  let room = MAX_NODE_CHARACTERS;
  return files.map(({ name, text }) => {
    const most = Math.min(MAX_FILE_CHARACTERS, room);
    const kept = text.length <= most ? text : `${text.slice(0, most)}\n[cut: ${text.length - most} more]\n`;
    room -= Math.min(text.length, most);
    return { name, text: kept };
  });
}
