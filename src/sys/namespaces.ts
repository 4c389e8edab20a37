/**
 * Network namespaces of the calling thread, and the mounts that give one a name. setns(2) and unshare(2) work on the
 * calling thread alone; what a thread starts while it is in another namespace stays there.
 */
import { checked } from './calls.ts';
import { CLONE_NEWNET, LOCK_EX, MNT_DETACH, MS_BIND, MS_REC, MS_SHARED } from './constants.ts';
import * as libc from './libc.ts';

/** Moves this thread into the network namespace that is open as `fd`. Throws a SysError: EINVAL if it is another kind. */
export function enterNetworkNamespace(fd: number): void {
  checked(libc.setns(fd, CLONE_NEWNET), { call: 'setns', doing: 'entering a network namespace' });
}

/** Moves this thread into a network namespace of its own. Throws a SysError. */
export function newNetworkNamespace(): void {
  checked(libc.unshare(CLONE_NEWNET), { call: 'unshare', doing: 'making a network namespace' });
}

/** Mounts `source` onto `target` too, with what is mounted below it. Throws a SysError. */
export function bindMount(source: string, target: string): void {
  checked(libc.mount(source, target, 'none', MS_BIND | MS_REC, 0), {
    call: 'mount(MS_BIND)',
    doing: `mounting ${source} on ${target}`,
  });
}

/** Lets mounts below the mount point `target` be seen in other mount namespaces. Throws a SysError: EINVAL if it is none. */
export function shareMounts(target: string): void {
  checked(libc.mount('', target, 'none', MS_SHARED | MS_REC, 0), {
    call: 'mount(MS_SHARED)',
    doing: `sharing the mounts of ${target}`,
  });
}

/** Takes away what is mounted on `target`. Throws a SysError. */
export function detachMount(target: string): void {
  checked(libc.umount2(target, MNT_DETACH), { call: 'umount2', doing: `unmounting ${target}` });
}

/** Waits for the lock of the file or folder that is open as `fd`; closing it gives the lock back. */
export function lockFile(fd: number): void {
  checked(libc.flock(fd, LOCK_EX), { call: 'flock', doing: 'waiting for a file lock' });
}
