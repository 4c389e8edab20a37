/**
 * The network configurations that runtimes find: `warren cni install` asks for one, and the agent writes it when the
 * overlay is up, so that no runtime starts a container before. It stays over restarts of the agent. Which ones there are
 * to be is remembered; one whose plugin is gone is no longer asked for.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { InstalledPlugin } from '../cni/messages.ts';
import { VERSIONS } from '../cni/versions.ts';
import { errorMessage, WarrenError } from '../errors.ts';
import { replaceFile } from '../state/replace-file.ts';
import { readStateFile, writeStateFile } from '../state/state-file.ts';
import { z } from '../zod.ts';

/** One for each root that a runtime of this host has. */
const MAX_INSTALLED = 8;

const schema = z.object({
  installed: z.array(z.object({ conflist: z.string(), plugin: z.string(), portmap: z.boolean() })),
});

export interface ConflistsOptions {
  readonly stateDir: string;
  readonly nodeId: string;
  readonly socket: string;
  readonly queue: string;
}

export class Conflists {
  readonly #options: ConflistsOptions;
  readonly #path: string;
  #installed: readonly InstalledPlugin[];

  /** Throws STATE_CORRUPT and the like. */
  constructor(options: ConflistsOptions) {
    this.#options = options;
    this.#path = join(options.stateDir, 'cni.json');
    this.#installed = readInstalled(options.stateDir, options.nodeId);
  }

  /** From now on it is to be there. Throws CNI_INSTALL_LIMIT, STATE_UNWRITABLE. */
  install(plugin: InstalledPlugin): void {
    const others = this.#installed.filter(({ conflist }) => conflist !== plugin.conflist);
    if (others.length >= MAX_INSTALLED) {
      throw new WarrenError(
        'CNI_INSTALL_LIMIT',
        `the plugin is installed in ${MAX_INSTALLED} places already`,
        {
          hint: 'Remove one of them: warren cni uninstall --root DIR',
        },
      );
    }
    this.#save([...others, plugin]);
  }

  /** It goes, and is asked for no more. Throws CNI_CONFLIST_UNWRITABLE, STATE_UNWRITABLE. */
  uninstall(conflist: string): void {
    remove(conflist);
    if (this.#installed.some((one) => one.conflist === conflist))
      this.#save(this.#installed.filter((one) => one.conflist !== conflist));
  }

  /** Writes those that are not as they should be. Throws CNI_CONFLIST_UNWRITABLE, STATE_UNWRITABLE. */
  write(): void {
    for (const one of this.#installed) {
      if (!existsSync(one.plugin)) this.uninstall(one.conflist);
      else this.#write(one);
    }
  }

  #write({ conflist, portmap }: InstalledPlugin): void {
    const { socket, queue } = this.#options;
    const text = conflistText({ socket, queue, portmap });
    try {
      if (existsSync(conflist) && readFileSync(conflist, 'utf8') === text) return;
      // Beside it for a moment as .tmp: runtimes look at .conf, .conflist and .json.
      replaceFile(conflist, text, { file: 0o644, folder: 0o755 });
    } catch (error) {
      throw unwritable(conflist, error);
    }
  }

  #save(installed: readonly InstalledPlugin[]): void {
    writeStateFile(this.#path, { installed }, this.#options.nodeId);
    this.#installed = installed;
  }
}

/** What is remembered in a state folder. Throws STATE_CORRUPT and the like. */
export function readInstalled(stateDir: string, nodeId: string): readonly InstalledPlugin[] {
  const path = join(stateDir, 'cni.json');
  const what = 'where the CNI plugin is installed';
  return readStateFile<z.output<typeof schema>>(path, schema, what, nodeId)?.installed ?? [];
}

/** Runtimes of Debian 12 refuse 1.1.0; newer ones take the newest of `cniVersions` that they know. */
export function conflistText(options: {
  readonly socket: string;
  readonly queue: string;
  readonly portmap: boolean;
}): string {
  const { socket, queue, portmap } = options;
  const capabilities = { ips: true, mac: true, 'io.kubernetes.cri.pod-annotations': true };
  const plugins = [
    { type: 'warren-cni', socket, queue, capabilities },
    ...(portmap ? [{ type: 'portmap', capabilities: { portMappings: true } }] : []),
  ];
  const list = { cniVersion: '1.0.0', cniVersions: VERSIONS, name: 'warren', plugins };
  return `${JSON.stringify(list, null, 2)}\n`;
}

function remove(path: string): void {
  try {
    rmSync(path, { force: true });
    rmSync(`${path}.tmp`, { force: true });
  } catch (error) {
    throw unwritable(path, error);
  }
}

function unwritable(path: string, error: unknown): WarrenError {
  return new WarrenError(
    'CNI_CONFLIST_UNWRITABLE',
    `cannot change the network configuration ${path}: ${errorMessage(error)}`,
    { hint: 'The agent must see the folder, and be allowed to write there.', cause: error },
  );
}
