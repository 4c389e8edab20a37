/** A disk for attachments in memory: what `write` has finished is what the next `read` gives. */
import type { AttachmentState, AttachmentStore } from '../../src/attachment/attachment-store.ts';

export class MemoryAttachmentStore implements AttachmentStore {
  readonly #step: (what: string) => Promise<void>;
  #state: AttachmentState = { attachments: [], last: [] };
  #isWriting = false;
  writes = 0;
  isOutdated = false;
  readonly violations: string[] = [];

  constructor(options: { readonly step?: (what: string) => Promise<void> } = {}) {
    this.#step = options.step ?? (async () => {});
  }

  get state(): AttachmentState {
    return this.#state;
  }

  read(): AttachmentState {
    return this.#state;
  }

  async write(state: AttachmentState): Promise<void> {
    if (this.#isWriting) this.violations.push('two writes at the same time');
    this.#isWriting = true;
    this.writes++;
    try {
      await this.#step('write');
      this.#state = state;
      this.isOutdated = false;
      await this.#step('write (done)');
    } finally {
      this.#isWriting = false;
    }
  }
}
