/**
 * Who answers names in a named network namespace: /etc/netns/NAME/resolv.conf, which `ip netns exec` puts in place of
 * /etc/resolv.conf (ip-netns(8)), and `warren exec` does. What does not begin with our mark is somebody else's and stays.
 */
import { chmod, mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { NETNS_FOLDER } from './netns.ts';

const FOLDER = '/etc/netns';
const FILE = 'resolv.conf';
const MARK = '# Made by warren for a pod, and gone with it: node ';

/** Where the file of a network namespace is, given the namespace's path; undefined: it has no name. */
export function netnsResolvFile(netns: string, folder = FOLDER): string | undefined {
  const name = basename(netns);
  return netns === `${NETNS_FOLDER}/${name}` && !name.startsWith('.') ? join(folder, name, FILE) : undefined;
}

export class NetnsResolvFiles {
  readonly #mark: string;
  readonly #folder: string;

  constructor(nodeId: string, folder = FOLDER) {
    this.#mark = `${MARK}${nodeId}\n`;
    this.#folder = folder;
  }

  /** Paths of the namespaces that have a file of this node. */
  async list(): Promise<string[]> {
    const names = await readdir(this.#folder).catch(ifMissing<string[]>([]));
    const found: string[] = [];
    for (const name of names) {
      const text = await textOf(join(this.#folder, name, FILE));
      if (text?.startsWith(this.#mark)) found.push(name);
    }
    return found.map((name) => `${NETNS_FOLDER}/${name}`);
  }

  /** Nothing happens where somebody else has made one. One of an earlier node, whose namespace is gone, is replaced. */
  async write(netns: string, text: string): Promise<void> {
    const file = netnsResolvFile(netns, this.#folder);
    if (file === undefined || (await textOf(file))?.startsWith(MARK) === false) return;
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
    if (file !== undefined) await removeMarked(file, this.#mark);
  }
}

/** Removes what any node's agent made for a namespace that is gone. */
export async function removeNetnsResolv(name: string): Promise<void> {
  await removeMarked(join(FOLDER, name, FILE), MARK);
}

async function removeMarked(file: string, mark: string): Promise<void> {
  if (!(await textOf(file))?.startsWith(mark)) return;
  await rm(file, { force: true });
  // Others may have files for the same namespace.
  await rmdir(join(file, '..')).catch(() => {});
}

/** Undefined: there is none. */
function textOf(file: string): Promise<string | undefined> {
  return readFile(file, 'utf8').catch(ifMissing(undefined));
}

function ifMissing<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return value;
    throw error;
  };
}
