/** Puts a file in the place of another one: whoever reads sees the old one or the new one, also after a crash. */
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

export interface FileModes {
  readonly file: number;
  /** Of the folder, if it has to be made. */
  readonly folder: number;
}

/** The file is written beside, as `PATH.tmp`, flushed and renamed; then the folder is flushed. Throws what the disk says. */
export function replaceFile(path: string, content: string | Uint8Array, modes: FileModes): void {
  const temporary = `${path}.tmp`;
  mkdirSync(dirname(path), { recursive: true, mode: modes.folder });
  // Left by a crash, or put there by someone else: never written through.
  rmSync(temporary, { force: true });
  const file = openSync(temporary, 'wx', modes.file);
  try {
    writeFileSync(file, content);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
  syncFolder(dirname(path));
}

/** Makes sure that what is in the folder stays there over a power loss. */
export function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
