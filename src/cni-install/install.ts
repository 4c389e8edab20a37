/**
 * Puts the CNI plugin where runtimes look for it, with a Node of its own, so that the host needs none:
 *
 *     ROOT/opt/cni/bin/warren-cni                  a script that starts the Node beside it
 *     ROOT/opt/cni/bin/warren-cni.d/VERSION-…/     node, warren-cni.cjs, lib/ with libraries that the host lacks
 *     ROOT/etc/cni/net.d/10-warren.conflist        written by the agent, once the overlay is up
 *
 * Everything new is made beside the old and tried there; the script takes the old one's place by a rename. A crash in
 * between leaves a folder that the next install, or uninstall, removes.
 */
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { errorMessage, WarrenError } from '../errors.ts';
import { packageFile, VERSION } from '../package.ts';
import { lackingLibraries, loadedLibraries, ownLibraries } from './libraries.ts';
import { explain, needsNewerLibraries, tryPlugin } from './trial.ts';

const BIN = '/opt/cni/bin';
const PLUGIN = 'warren-cni';
const FOLDER = 'warren-cni.d';
const CONFLIST = '/etc/cni/net.d/10-warren.conflist';
const PORTMAP = ['/opt/cni/bin/portmap', '/usr/lib/cni/portmap', '/usr/libexec/cni/portmap'];

export interface PluginPlaces {
  readonly plugin: string;
  readonly conflist: string;
  /** The host has the reference plugin for port mappings. */
  readonly portmap: boolean;
}

/** Paths as they are here; `root` is an absolute one. */
export function placesBelow(root: string): PluginPlaces {
  return {
    plugin: join(root, BIN, PLUGIN),
    conflist: join(root, CONFLIST),
    portmap: PORTMAP.some((path) => existsSync(join(root, path))),
  };
}

/** File systems of the kernel (linux/magic.h) in which nothing can be made: Node tries to for ever. */
const NO_FOLDERS: Readonly<Record<number, string>> = { 40864: 'proc', 1650812274: 'sysfs' };

/** Throws CNI_ROOT_UNWRITABLE where `root` can be no host's, before anything is changed. */
export function checkRoot(root: string): void {
  if (statSync(root, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw unwritable(root, new Error(`there is no folder ${root}`));
  let nearest = join(root, BIN);
  while (!existsSync(nearest)) nearest = dirname(nearest);
  const kernel = NO_FOLDERS[statfsSync(nearest).type];
  if (kernel !== undefined) throw unwritable(root, new Error(`${nearest} is of the kernel (${kernel})`));
}

/**
 * Puts the plugin below `root`. What was there before works until the new one does. Throws CNI_HOST_TOO_OLD,
 * CNI_HOST_MUSL, CNI_PLUGIN_FAILED, CNI_ROOT_UNWRITABLE, NOT_BUILT; nothing of the new one is left then.
 */
export function placePlugin(root: string): void {
  const { plugin } = placesBelow(root);
  const all = join(root, BIN, FOLDER);
  const name = `${VERSION}-node-${process.versions.node}-${randomBytes(4).toString('hex')}`;
  const folder = join(all, name);
  checkRoot(root);
  const program = packageFile('dist/bin/warren-cni.cjs');
  if (!existsSync(program)) {
    throw new WarrenError('NOT_BUILT', `${program} is not there`, { hint: 'Build it: npm run build' });
  }
  try {
    mkdirSync(join(folder, 'lib'), { recursive: true, mode: 0o755 });
    copyFileSync(realpathSync(process.execPath), join(folder, 'node'));
    chmodSync(join(folder, 'node'), 0o755);
    copyFileSync(program, join(folder, 'warren-cni.cjs'));
    tryWithLibraries(root, folder, `${BIN}/${FOLDER}/${name}`);
    const script = join(folder, 'start');
    writeFileSync(script, scriptFor(name), { mode: 0o755 });
    chmodSync(script, 0o755);
    renameSync(script, plugin);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    if (existsSync(all) && readdirSync(all).length === 0) rmSync(all, { recursive: true });
    throw error instanceof WarrenError ? error : unwritable(root, error);
  }
}

/** Removes what earlier installations left, but for the one that the script starts. */
export function removeOlder(root: string): void {
  const all = join(root, BIN, FOLDER);
  const newest = currentOf(root);
  for (const name of readdirSync(all))
    if (name !== newest) rmSync(join(all, name), { recursive: true, force: true });
}

/** Takes all away but the network configuration. Throws CNI_ROOT_UNWRITABLE. */
export function removePlugin(root: string): void {
  try {
    rmSync(placesBelow(root).plugin, { force: true });
    rmSync(join(root, BIN, FOLDER), { recursive: true, force: true });
  } catch (error) {
    throw unwritable(root, error);
  }
}

/** First with what the host lacks alone, then with all: its own may be too old. Throws what keeps it from running. */
function tryWithLibraries(root: string, folder: string, folderThere: string): void {
  const own = ownLibraries(loadedLibraries());
  const copy = (libraries: readonly string[]) => {
    for (const path of libraries) copyFileSync(realpathSync(path), join(folder, 'lib', basename(path)));
  };
  copy(lackingLibraries(own, root));
  let { problem } = tryPlugin(root, folderThere);
  if (problem !== undefined && needsNewerLibraries(problem)) {
    copy(own);
    problem = tryPlugin(root, folderThere).problem;
  }
  if (problem !== undefined) throw explain(problem, root);
}

/**
 * A runtime's environment may be anything: NODE_EXTRA_CA_CERTS alone doubles the time that Node takes to start, and
 * NODE_OPTIONS may keep it from starting at all.
 */
function scriptFor(name: string): string {
  return `#!/bin/sh
# warren's CNI plugin. \`warren cni install\` has put it here, \`warren cni uninstall\` takes it away.
unset NODE_EXTRA_CA_CERTS NODE_OPTIONS NODE_PATH NODE_V8_COVERAGE
here=\${0%/*}/${FOLDER}/${name}
LD_LIBRARY_PATH=$here/lib exec "$here/node" "$here/warren-cni.cjs"
`;
}

/** The folder that the script starts. */
function currentOf(root: string): string | undefined {
  const all = join(root, BIN, FOLDER);
  const script = join(root, BIN, PLUGIN);
  if (!existsSync(script)) return undefined;
  const text = readFileSync(script, 'utf8');
  return readdirSync(all).find((name) => text.includes(`/${FOLDER}/${name}\n`));
}

function unwritable(root: string, error: unknown): WarrenError {
  return new WarrenError('CNI_ROOT_UNWRITABLE', `cannot change ${join(root, BIN)}: ${errorMessage(error)}`, {
    hint: 'Run it as root, with --root DIR where the host is mounted elsewhere.',
    cause: error,
  });
}
