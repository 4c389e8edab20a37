/**
 * The agent's end of the delete queue (src/cni/delete-queue.ts): what the plugin left in it while nobody answered is
 * worked off at the start, and looked for again now and then, for an agent that hung is not started anew.
 *
 * An entry is older than any ADD of the same attachment that comes after it, and must not take that one away: so an ADD
 * first settles what is queued for it.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { attachmentId, keyOfFileName, queueFileName } from '../cni/attachment-key.ts';
import type { AttachmentKey } from '../cni/messages.ts';
import type { Logger } from '../log/logger.ts';

export interface DeleteSpoolOptions {
  readonly folder: string;
  /** Deletes an attachment; nothing happens if there is none. */
  readonly remove: (id: string) => Promise<unknown>;
  readonly log: Logger;
}

export class DeleteSpool {
  readonly #options: DeleteSpoolOptions;

  constructor(options: DeleteSpoolOptions) {
    this.#options = options;
  }

  /** From now on the plugin has somewhere to leave deletions. Throws what the file system says. */
  open(): void {
    mkdirSync(this.#options.folder, { recursive: true, mode: 0o700 });
  }

  /** Carries out what is queued; what fails stays for the next time. */
  async workOff(): Promise<void> {
    const { folder, log } = this.#options;
    if (!existsSync(folder)) return;
    for (const name of readdirSync(folder)) {
      const key = keyOfFileName(name);
      if (key === undefined) {
        log.warn({ path: join(folder, name) }, 'this is no deletion that warren-cni has left, and goes');
        rmSync(join(folder, name), { recursive: true, force: true });
        continue;
      }
      try {
        await this.settle(key);
      } catch (error) {
        log.error({ id: attachmentId(key), err: error }, 'a deletion that was left for the agent failed');
      }
    }
  }

  /** Carries out what is queued for one attachment, if anything is. */
  async settle(key: AttachmentKey): Promise<void> {
    if (!existsSync(this.#pathOf(key))) return;
    await this.#options.remove(attachmentId(key));
    this.forget(key);
  }

  /** It is deleted. */
  forget(key: AttachmentKey): void {
    rmSync(this.#pathOf(key), { force: true });
  }

  #pathOf(key: AttachmentKey): string {
    return join(this.#options.folder, queueFileName(key));
  }
}
