/** Kernel, C library, modules, programs, and files that others have put on the host. `root`: where its files are. */
import { accessSync, constants, existsSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { errorMessage } from '../errors.ts';
import { SBIN } from '../host/command.ts';
import {
  type HostFacts,
  type MachineFacts,
  type ManagerState,
  MODULES,
  type ModuleName,
  type ModuleState,
  PROGRAMS,
} from './facts.ts';
import { filesIn, readText } from './files.ts';

/** A function of each module, which /proc/kallsyms names where the module is built in and says so nowhere else. */
const SYMBOLS: Readonly<Record<ModuleName, string>> = {
  tun: 'tun_chr_open',
  veth: 'veth_newlink',
  nf_tables: 'nf_tables_newtable',
  vxlan: 'vxlan_newlink',
  br_netfilter: 'br_nf_pre_routing',
};

export async function gatherMachine(root: string): Promise<MachineFacts> {
  const kernel = release();
  const problem = await koffiProblem();
  return {
    kernel,
    cLibrary: cLibrary(),
    koffiProblem: problem,
    isClockSynchronised:
      problem === undefined ? (await import('../sys/clock-state.ts')).isClockSynchronised() : undefined,
    isRoot: process.getuid?.() === 0,
    programs: byName(PROGRAMS, hasProgram),
    modules: gatherModules(root, kernel),
    hasTunFile: existsSync(join(root, 'dev/net/tun')),
  };
}

export function gatherModules(root: string, kernel: string): Record<ModuleName, ModuleState> {
  const folder = join(root, 'lib/modules', kernel);
  const files = ['modules.builtin', 'modules.dep'].map((name) => readText(join(folder, name)));
  const [builtIn = '', loadable = ''] = files;
  const canList = files.some((text) => text !== '');
  let symbols: string | undefined;
  return byName(MODULES, (name): ModuleState => {
    const isIn = (list: string) => new RegExp(`(^|/)${name.replace('_', '[-_]')}\\.ko`, 'm').test(list);
    if (existsSync(join(root, 'sys/module', name)) || isIn(builtIn)) return 'there';
    if (isIn(loadable)) return 'loadable';
    symbols ??= readText(join(root, 'proc/kallsyms'));
    if (new RegExp(` ${SYMBOLS[name]}$`, 'm').test(symbols)) return 'there';
    return canList ? 'missing' : 'unknown';
  });
}

/** Configurations of CNI networks, in the order of their names: runtimes take the first. */
export function gatherCniConfigurations(root: string): string[] {
  return filesIn(join(root, 'etc/cni/net.d'))
    .filter((name) => /\.(conf|conflist|json)$/.test(name))
    .sort();
}

/** What tells that they run, and where they are told of interfaces that are not theirs. */
export function gatherManagers(root: string, tunName: string): HostFacts['managers'] {
  const state = (runs: string, folders: readonly string[], suffix: string): ManagerState => {
    if (!existsSync(join(root, runs))) return 'absent';
    const texts = folders.flatMap((folder) =>
      filesIn(join(root, folder))
        .filter((name) => name.endsWith(suffix))
        .map((name) => readText(join(root, folder, name))),
    );
    const isTold = texts.some(
      (text) => /unmanaged/i.test(text) && text.includes(tunName) && /\bwp\*/.test(text),
    );
    return isTold ? 'told' : 'untold';
  };
  return {
    networkManager: state(
      'run/NetworkManager/devices',
      ['etc/NetworkManager/conf.d', 'usr/lib/NetworkManager/conf.d'],
      '.conf',
    ),
    networkd: state(
      'run/systemd/netif/state',
      ['etc/systemd/network', 'usr/lib/systemd/network'],
      '.network',
    ),
  };
}

function cLibrary(): string {
  // Node's report says so without starting anything; its list of interfaces looks names up, and is not needed.
  // In Node since 20.13; its types do not have it yet.
  (process.report as { excludeNetwork?: boolean }).excludeNetwork = true;
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return header?.glibcVersionRuntime === undefined ? 'musl' : `glibc ${header.glibcVersionRuntime}`;
}

async function koffiProblem(): Promise<string | undefined> {
  try {
    await import('../sys/libc.ts');
    return undefined;
  } catch (error) {
    return errorMessage(error);
  }
}

function hasProgram(name: string): boolean {
  return `${process.env.PATH ?? ''}:${SBIN}`.split(':').some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return folder !== '';
    } catch {
      return false;
    }
  });
}

function byName<K extends string, V>(keys: readonly K[], value: (key: K) => V): Record<K, V> {
  return Object.fromEntries(keys.map((key) => [key, value(key)])) as Record<K, V>;
}
