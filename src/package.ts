/** The installed package around this code: its version, what the build made, and files that are no modules. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = rootAbove(dirname(fileURLToPath(import.meta.url)));

/** As package.json has it. */
export const VERSION = (JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as { version: string })
  .version;

/** `path` is relative to package.json. */
export function packageFile(path: string): string {
  return join(ROOT, path);
}

/** What scripts/build.mjs made of an entry, `bin/warren` of src/bin/warren.ts: only that can be run. */
export function builtFile(entry: string): string {
  return packageFile(`dist/${entry}.js`);
}

/** Bundled, this module may be in any file under dist/; in tests it is under src/. */
function rootAbove(folder: string): string {
  if (existsSync(join(folder, 'package.json'))) return folder;
  const parent = dirname(folder);
  if (parent === folder) throw new Error(`no package.json above ${fileURLToPath(import.meta.url)}`);
  return rootAbove(parent);
}
