/** A network namespace for one test file, with a name of its own, removed at the end whatever happens. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';

/** Why tests that need a network namespace cannot run here; undefined if they can. */
export const NO_NETNS: string | undefined =
  process.getuid?.() !== 0
    ? 'needs root, to make network namespaces'
    : ['ip', 'nsenter', 'ping'].map(missing).find(Boolean);

export interface ThrowawayNetns {
  readonly name: string;
  /** Under /run/netns. */
  readonly path: string;
  /** Runs a command in it and gives its standard output; throws if it fails. */
  run(...argv: string[]): string;
  remove(): void;
}

export function throwawayNetns(): ThrowawayNetns {
  const name = `warren-test-${process.pid}-${randomBytes(3).toString('hex')}`;
  const path = `/run/netns/${name}`;
  execFileSync('ip', ['netns', 'add', name]);
  return {
    name,
    path,
    run: (...argv) =>
      execFileSync('nsenter', [`--net=${path}`, '--', ...argv], { encoding: 'utf8', stdio: 'pipe' }),
    remove: () => execFileSync('ip', ['netns', 'delete', name]),
  };
}

function missing(program: string): string | undefined {
  try {
    execFileSync(program, ['-V'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return `needs the program ${program}`;
  }
}
