/** The namespace thread in a mount namespace of its own, in which the machine lacks something. */
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { NamespaceThreadOptions } from '../../src/host/attachment/namespace-thread.ts';
import { builtFile } from '../../src/package.ts';

const KOFFI = pathToFileURL(createRequire(import.meta.url).resolve('koffi')).href;
const WORKER = pathToFileURL(builtFile('host/attachment/worker')).href;

/** `mounts`: source, target and flags (sys/mount.h) of mount(2), in order. What it starts is hampered too. */
export function hamperedWorker(
  mounts: readonly (readonly [source: string, target: string, flags: number])[],
): NonNullable<NamespaceThreadOptions['startWorker']> {
  const code = `
    import koffi from '${KOFFI}';
    const libc = koffi.load(null);
    const unshare = libc.func('int unshare(int flags)');
    const mount = libc.func('int mount(const char *, const char *, const char *, unsigned long, const char *)');
    const check = (result) => { if (result !== 0) throw new Error('errno ' + koffi.errno()); };
    check(unshare(${CLONE_NEWNS}));
    check(mount('none', '/', null, ${MS_REC | MS_PRIVATE}, null));
    for (const [source, target, flags] of ${JSON.stringify(mounts)}) check(mount(source, target, null, flags, null));
    await import('${WORKER}');
  `;
  return (workerData) =>
    new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), { workerData });
}

/** The namespace thread with something in place of its own namespace, so that it cannot come home from another. */
export const strandedWorker: NonNullable<NamespaceThreadOptions['startWorker']> = (workerData) => {
  const code = `
    import fs from 'node:fs';
    import { syncBuiltinESMExports } from 'node:module';
    const { openSync } = fs;
    fs.openSync = (path, ...rest) => openSync(path === '/proc/thread-self/ns/net' ? '/dev/null' : path, ...rest);
    syncBuiltinESMExports();
    await import('${WORKER}');
  `;
  return new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), {
    workerData,
    stderr: true,
  });
};

const CLONE_NEWNS = 0x20000;
const MS_RDONLY = 1;
const MS_REMOUNT = 32;
export const MS_BIND = 4096;
const MS_REC = 16384;
const MS_PRIVATE = 1 << 18;

/** /proc/sys as a container has it. */
export const READ_ONLY_SETTINGS = [
  ['/proc/sys', '/proc/sys', MS_BIND],
  ['none', '/proc/sys', MS_BIND | MS_REMOUNT | MS_RDONLY],
] as const;
