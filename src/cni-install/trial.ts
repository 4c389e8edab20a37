/** Runs the copied plugin once as the host will run it, with the host's C library, and says what keeps it from running. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { WarrenError } from '../errors.ts';

const TIMEOUT_MS = 60_000;

export interface Trial {
  /** Undefined: it ran. */
  readonly problem: string | undefined;
}

/** `folder` is the plugin's as the host sees it, below `root`. */
export function tryPlugin(root: string, folder: string): Trial {
  const argv = [`${folder}/node`, `${folder}/warren-cni.cjs`];
  const [program, ...args] = root === '/' ? argv : ['chroot', root, ...argv];
  const { status, signal, stderr, stdout, error } = spawnSync(program!, args, {
    env: { PATH: process.env.PATH ?? '', CNI_COMMAND: 'VERSION', LD_LIBRARY_PATH: `${folder}/lib` },
    input: '{"cniVersion":"1.1.0"}',
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
  });
  if (status === 0 && stdout.includes('supportedVersions')) return { problem: undefined };
  const said = `${stderr ?? ''}`.trim().split('\n')[0] ?? '';
  return {
    problem: said || error?.message || (signal ? `it was ended by ${signal}` : `exit code ${status}`),
  };
}

/** Whether libraries of ours instead of the host's own may help: they are older there. */
export function needsNewerLibraries(problem: string): boolean {
  return /(?:GLIBCXX|CXXABI|GCC|LIBATOMIC)_[\d.]+' not found|cannot open shared object file/.test(problem);
}

/** What is wrong with the host, in a person's words. */
export function explain(problem: string, root: string): WarrenError {
  const glibc = /GLIBC_([\d.]+)' not found/.exec(problem)?.[1];
  const ways = 'Install the plugin with a Node.js that was built for this host.';
  if (glibc !== undefined) {
    return new WarrenError(
      'CNI_HOST_TOO_OLD',
      `the C library of the host ${root} is too old for this Node.js ${process.version}: it has no GLIBC ${glibc}`,
      { hint: `${ways} An older Node.js, such as 20, needs glibc 2.28.` },
    );
  }
  if (hasMusl(root) && /not found|No such file|Error (?:relocating|loading)/.test(problem)) {
    return new WarrenError(
      'CNI_HOST_MUSL',
      `the host ${root} has musl as its C library, and this Node.js needs glibc`,
      { hint: `${ways} On Alpine that is the package nodejs, with which warren has to run too.` },
    );
  }
  return new WarrenError('CNI_PLUGIN_FAILED', `the plugin does not run on the host ${root}: ${problem}`, {
    hint: 'Nothing was installed.',
  });
}

function hasMusl(root: string): boolean {
  try {
    return readdirSync(join(root, 'lib')).some((name) => name.startsWith('ld-musl-'));
  } catch {
    return false;
  }
}
