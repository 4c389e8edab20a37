/**
 * Attachments of containers that are gone and that no DEL will come for: a runtime that crashed, `ctr run -d`. A network
 * namespace that is gone does not come back, and whoever was in it is gone too. An attachment is removed when that is so
 * at two looks in a row, in case the path is only being mounted again.
 */
import type { Attachment } from '../attachment/attachment.ts';
import type { AttachmentProblem } from '../attachment/attachment-maker.ts';

export interface OrphansOptions {
  /** Those of CNI. */
  readonly list: () => readonly Attachment[];
  readonly check: (id: string) => Promise<readonly AttachmentProblem[]>;
  readonly remove: (id: string) => Promise<unknown>;
}

export class Orphans {
  readonly #options: OrphansOptions;
  /** Ids of those without a namespace at the last look. Bounded by the attachments that there are. */
  #suspects: ReadonlySet<string> = new Set();

  constructor(options: OrphansOptions) {
    this.#options = options;
  }

  /** The ids of those that were removed. Throws what the first of them says. */
  async look(): Promise<string[]> {
    const { list, check, remove } = this.#options;
    const before = this.#suspects;
    const gone: string[] = [];
    for (const { id, status } of list()) {
      if (status !== 'missing') continue;
      const problems = await check(id);
      if (problems.some(({ code }) => code === 'namespace')) gone.push(id);
    }
    this.#suspects = new Set(gone);
    const removed = gone.filter((id) => before.has(id));
    for (const id of removed) await remove(id);
    return removed;
  }
}
