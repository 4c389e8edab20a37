/** The files of the web page, as scripts/build.mjs puts them into dist/ui: each as it is, and compressed beside it. */
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { WarrenError } from '../errors.ts';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

export interface PageFile {
  readonly type: string;
  /** Its name has a hash of what it holds. */
  readonly isImmutable: boolean;
  readonly bytes: Buffer;
  readonly isCompressed: boolean;
}

export class PageFiles {
  readonly #folder: string;
  /** Only what stands here is ever read. */
  readonly #names: ReadonlySet<string>;

  /** Throws NOT_BUILT. */
  constructor(folder: string) {
    this.#folder = folder;
    try {
      this.#names = new Set(readdirSync(folder, { recursive: true, encoding: 'utf8' }));
    } catch (cause) {
      throw new WarrenError('NOT_BUILT', 'the web page was not built', { hint: 'Run npm run build.', cause });
    }
  }

  /** `name` such as `assets/main.js`, as a client wrote it; undefined: there is none. */
  async read(name: string, takesGzip: boolean): Promise<PageFile | undefined> {
    const type = TYPES[extname(name)];
    if (type === undefined || !this.#names.has(name)) return undefined;
    const isCompressed = takesGzip && this.#names.has(`${name}.gz`);
    const bytes = await readFile(join(this.#folder, isCompressed ? `${name}.gz` : name));
    return { type, bytes, isCompressed, isImmutable: name.startsWith('assets/') };
  }
}
