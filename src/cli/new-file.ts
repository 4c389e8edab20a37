/** Files that hold a cluster key. */
import { closeSync, fsyncSync, openSync, writeFileSync } from 'node:fs';
import { errorMessage, WarrenError } from '../errors.ts';

/** Only its owner may read it. Never over a file that is there: it may hold the key of a cluster that runs. */
export function writeNewFile(path: string, text: string): void {
  let file: number | undefined;
  try {
    file = openSync(path, 'wx', 0o600);
    writeFileSync(file, text);
    fsyncSync(file);
  } catch (error) {
    const exists = (error as NodeJS.ErrnoException).code === 'EEXIST';
    throw new WarrenError(
      exists ? 'KEY_FILE_EXISTS' : 'KEY_FILE_UNWRITABLE',
      exists ? `${path} exists already` : `cannot write ${path}: ${errorMessage(error)}`,
      {
        ...(exists ? { hint: 'Choose another file; a key in use is not overwritten.' } : {}),
        cause: error,
      },
    );
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
