/**
 * The libraries that a copy of this Node needs on a host: those that this process has loaded, but for the C library, which
 * is part of the host and must be its own. Official builds of Node need libstdc++ and libgcc_s, from 26 on libatomic too.
 */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** What belongs to the C library: of another version than the host's they do not work together. */
const C_LIBRARY =
  /^(?:ld-|linux-vdso|linux-gate|lib(?:c|m|dl|rt|pthread|resolv|util|anl|mvec|nsl|nss_\w+|BrokenLocale)(?:-[\d.]+)?\.so)/;

const FOLDERS = ['/lib', '/lib64', '/usr/lib', '/usr/lib64', '/usr/local/lib'];

/** Paths here of those of `loaded` that are no part of the C library. */
export function ownLibraries(loaded: readonly string[]): string[] {
  return loaded.filter(
    (path) => path.startsWith('/') && path.includes('.so') && !C_LIBRARY.test(basename(path)),
  );
}

/** Paths of the libraries that this process has loaded. */
export function loadedLibraries(): string[] {
  const { report } = process;
  // Looking up the names of addresses may take seconds.
  (report as { excludeNetwork?: boolean }).excludeNetwork = true;
  const { sharedObjects } = report.getReport() as unknown as { readonly sharedObjects?: readonly string[] };
  return [...(sharedObjects ?? [])];
}

/** Those of `libraries` that the host below `root` does not have where its loader looks. */
export function lackingLibraries(libraries: readonly string[], root: string): string[] {
  return libraries.filter((path) => {
    const triplet = basename(dirname(path));
    const folders = [dirname(path), ...FOLDERS, ...FOLDERS.map((folder) => `${folder}/${triplet}`)];
    return !folders.some((folder) => existsSync(join(root, folder, basename(path))));
  });
}
