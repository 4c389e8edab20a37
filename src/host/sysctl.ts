/**
 * Kernel settings under /proc/sys. This process's own are read first and written only where they differ, so
 * that a container whose settings were made by its runtime needs no write at all.
 *
 * `/proc/sys/net` shows the network namespace of the process that opens it. For another namespace the
 * program that writes is `tee`, which every image has (`sysctl` is in procps, which slim images lack), run
 * by `nsenter`. A container's /proc/sys is mounted read-only; with CAP_SYS_ADMIN, which pods need anyway,
 * `unshare --mount-proc` gives that one `tee` a proc of its own, writable and of the same namespaces.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { errorMessage, WarrenError } from '../errors.ts';
import { HostCommandError, type InNetns, runCommand } from './command.ts';

/** `net/ipv6/conf/eth0/accept_ra`: with slashes, as an interface's name may hold dots. */
export type SysctlName = `net/${string}`;

/** The setting's value; undefined if this kernel has no such setting. */
export async function readSysctl(name: SysctlName, where: InNetns = {}): Promise<string | undefined> {
  const path = `/proc/sys/${name}`;
  try {
    const text =
      where.netns === undefined ? readFileSync(path, 'utf8') : await runCommand(['cat', path], where);
    return text.trim();
  } catch (error) {
    if (isUnknown(error)) return undefined;
    throw new WarrenError('SYSCTL_UNREADABLE', `cannot read ${dotted(name)}: ${errorMessage(error)}`, {
      cause: error,
    });
  }
}

/**
 * Sets each of `names` to `value`; gives those that were changed (in another namespace: all of them, as
 * they are written without a look). Throws SYSCTL_UNKNOWN if the kernel does not have one, SYSCTL_READ_ONLY
 * if it cannot be written.
 */
export async function setSysctls(
  names: readonly SysctlName[],
  value: string,
  where: InNetns = {},
): Promise<SysctlName[]> {
  const changed: SysctlName[] = [];
  for (const name of names) {
    const current = where.netns === undefined ? await readSysctl(name) : undefined;
    if (current !== value) changed.push(name);
  }
  if (changed.length === 0) return [];
  const files = changed.map((name) => `/proc/sys/${name}`);
  try {
    if (where.netns === undefined) for (const file of files) writeFileSync(file, value, { flag: 'r+' });
    else await runCommand(['tee', ...files], { ...where, stdin: value });
  } catch (error) {
    if (isUnknown(error)) throw unknownSetting(changed, error);
    if (!isReadOnly(error)) throw unwritable(changed[0]!, value, error);
    try {
      await runCommand(['unshare', '--mount-proc', '--', 'tee', ...files], { ...where, stdin: value });
    } catch {
      // What counts is why the setting itself could not be written; this was a way round it.
      throw unwritable(changed[0]!, value, error);
    }
  }
  return changed;
}

function isUnknown(error: unknown): boolean {
  if (error instanceof HostCommandError) return /proc\/sys\/.*No such file/.test(error.stderr);
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

function isReadOnly(error: unknown): boolean {
  if (error instanceof HostCommandError) {
    return /proc\/sys\/.*(Read-only file system|Permission denied)/.test(error.stderr);
  }
  return ['EROFS', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '');
}

function unknownSetting(names: readonly SysctlName[], cause: unknown): WarrenError {
  return new WarrenError('SYSCTL_UNKNOWN', `this kernel has no setting ${names.map(dotted).join(' or ')}`, {
    hint: names.some((name) => name.startsWith('net/ipv6/'))
      ? 'IPv6 is off in this kernel: boot without ipv6.disable=1, or leave IPv6 out of cluster.podCidrs.'
      : 'warren needs a Linux kernel with IPv4 routing.',
    cause,
  });
}

function unwritable(name: SysctlName, value: string, cause: unknown): WarrenError {
  const own = interfaceOf(name);
  // Interfaces that do not exist yet when a container starts take the `default`.
  const outside = dotted(own === undefined ? name : (name.replace(`/${own}/`, '/default/') as SysctlName));
  return new WarrenError('SYSCTL_READ_ONLY', `cannot set ${dotted(name)} to ${value}: ${reason(cause)}`, {
    hint:
      `Run as root. In a container set it from outside: sysctls: ["${outside}=${value}"] in compose, ` +
      `or docker run --sysctl ${outside}=${value}; or give it the capability SYS_ADMIN.`,
    cause,
  });
}

function reason(error: unknown): string {
  const isMount = /EROFS|Read-only file system/.test(errorMessage(error));
  return isMount ? '/proc/sys is mounted read-only here' : errorMessage(error);
}

function interfaceOf(name: SysctlName): string | undefined {
  const found = /^net\/ipv[46]\/conf\/([^/]+)\//.exec(name)?.[1];
  return found === 'all' || found === 'default' ? undefined : found;
}

/** The form that sysctl and Docker take: `/` becomes `.`, and a dot in an interface's name becomes `/`. */
export function dotted(name: SysctlName): string {
  return name.replace(/[./]/g, (character) => (character === '/' ? '.' : '/'));
}
