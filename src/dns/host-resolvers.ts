/** The resolvers of this host, from its files; looked at again where those have changed. */
import { readFile, stat } from 'node:fs/promises';
import { resolversOf } from './resolv-conf.ts';

/**
 * The second is systemd-resolved's, which names those that it asks itself: of use where the first names none but this
 * node, or one on a loopback that is not there.
 */
const FILES = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'] as const;
const LOOK_EVERY_MS = 2000;

interface Read {
  readonly mark: string;
  readonly text: string;
}

export class HostResolvers {
  readonly #files: readonly string[];
  /** By file. */
  readonly #read = new Map<string, Read>();
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(files: readonly string[] = FILES) {
    this.#files = files;
  }

  /** In the order in which to ask them. `isOwn`: it is this node's own responder. */
  async list(nowMs: number, isOwn: (address: string) => boolean): Promise<readonly string[]> {
    if (nowMs - this.#lookedMs >= LOOK_EVERY_MS) {
      this.#lookedMs = nowMs;
      for (const file of this.#files) await this.#look(file);
    }
    const all = this.#files.flatMap((file) => resolversOf(this.#read.get(file)?.text ?? '', isOwn));
    return [...new Set(all)];
  }

  async #look(file: string): Promise<void> {
    try {
      const { mtimeMs, ino, size } = await stat(file);
      const mark = `${mtimeMs}/${ino}/${size}`;
      if (this.#read.get(file)?.mark === mark) return;
      this.#read.set(file, { mark, text: await readFile(file, 'utf8') });
    } catch {
      this.#read.delete(file);
    }
  }
}
