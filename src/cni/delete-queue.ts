/**
 * What the plugin leaves behind where a DEL finds no agent: one empty file for each attachment that is to go, which the
 * agent works off when it is back. Its name says which one, so asking twice leaves one file, and a file is there or is
 * not: a crash in between leaves nothing half written. The folder is on a disk, for attachments outlive a reboot too.
 *
 *     DEL, nobody answers -> make the file, flush the folder -> ask the agent once more -> answer 0
 *     agent: bind the control socket -> look into the folder
 *
 * The plugin asks again because an agent that has come up meanwhile may have looked already. One that comes up later
 * looks after that, and so finds the file.
 */
import { closeSync, existsSync, fsyncSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { queueFileName } from './attachment-key.ts';
import { CNI_ERROR, CniError } from './errors.ts';
import type { AttachmentKey } from './messages.ts';

/** As many as a node can have attachments. */
export const MAX_QUEUED = 4096;

/**
 * False if there is no such folder: the agent makes it before it attaches anything, so nothing was ever attached. Throws
 * 11 if it is full, 5 if it cannot be written.
 */
export function queueDelete(folder: string, key: AttachmentKey): boolean {
  if (!existsSync(folder)) return false;
  const path = join(folder, queueFileName(key));
  try {
    if (!existsSync(path) && readdirSync(folder).length >= MAX_QUEUED) {
      throw new CniError(CNI_ERROR.tryAgainLater, `${folder} is full: the agent is away for too long`);
    }
    closeSync(openSync(path, 'w', 0o600));
    const handle = openSync(folder, 'r');
    try {
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    return true;
  } catch (error) {
    if (error instanceof CniError) throw error;
    throw new CniError(
      CNI_ERROR.io,
      `no agent answers, and the deletion cannot be left for it in ${folder}`,
      error instanceof Error ? error.message : String(error),
    );
  }
}
