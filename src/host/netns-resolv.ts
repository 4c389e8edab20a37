/**
 * Who answers names in a named network namespace: /etc/netns/NAME/resolv.conf, which `ip netns exec` puts in place of
 * /etc/resolv.conf (ip-netns(8)), and `warren exec` does. Only files with this node's mark are changed or removed.
 */
import { chmod, mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { NETNS_FOLDER } from './netns.ts';

const FOLDER = '/etc/netns';
const FILE = 'resolv.conf';

/** Where the file of a network namespace is, given the namespace's path; undefined: it has no name. */
export function netnsResolvFile(netns: string, folder = FOLDER): string | undefined {
  const name = basename(netns);
  return netns === `${NETNS_FOLDER}/${name}` && !name.startsWith('.') ? join(folder, name, FILE) : undefined;
}

export class NetnsResolvFiles {
  readonly #mark: string;
  readonly #folder: string;

  constructor(nodeId: string, folder = FOLDER) {
    this.#mark = `# Made by warren (node ${nodeId}) for a pod; it goes with it.\n`;
    this.#folder = folder;
  }

  /** Paths of the namespaces that have a file of this node. */
  async list(): Promise<string[]> {
    const names = await readdir(this.#folder).catch(ifMissing<string[]>([]));
    const found: string[] = [];
    for (const name of names) if (await this.#isOurs(join(this.#folder, name, FILE))) found.push(name);
    return found.map((name) => `${NETNS_FOLDER}/${name}`);
  }

  /** Nothing happens where somebody else has made one. */
  async write(netns: string, text: string): Promise<void> {
    const file = netnsResolvFile(netns, this.#folder);
    if (file === undefined || (await this.#isOurs(file)) === false) return;
    const folder = join(file, '..');
    await mkdir(folder, { recursive: true });
    // The agent's umask may close them, and programs in a pod are not all root's.
    for (const one of [this.#folder, folder]) await chmod(one, 0o755);
    await writeFile(`${file}.tmp`, this.#mark + text);
    await chmod(`${file}.tmp`, 0o644);
    await rename(`${file}.tmp`, file);
  }

  async remove(netns: string): Promise<void> {
    const file = netnsResolvFile(netns, this.#folder);
    if (file === undefined || !(await this.#isOurs(file))) return;
    await rm(file, { force: true });
    // Others may have files for the same namespace.
    await rmdir(join(file, '..')).catch(() => {});
  }

  /** Undefined: there is none. */
  async #isOurs(file: string): Promise<boolean | undefined> {
    const text = await readFile(file, 'utf8').catch(ifMissing(undefined));
    return text?.startsWith(this.#mark);
  }
}

function ifMissing<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return value;
    throw error;
  };
}
