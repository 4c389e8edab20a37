/** The program that a lab's nodes run: the one built from this source tree, or this very one. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { WarrenError } from '../errors.ts';
import { builtFile } from '../package.ts';

export const WARREN_PROGRAM = builtFile('bin/warren');

/** Debian's package of each program that a lab or the demo calls. */
const PACKAGES: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  nsenter: 'util-linux',
  tee: 'coreutils',
  nft: 'nftables',
  bash: 'bash',
  xargs: 'findutils',
  ping: 'iputils-ping',
  iperf3: 'iperf3',
};

/** Throws if this process cannot run `what` ("a lab"): not root, a program missing, or warren not built. */
export function requireForLab(what: string, programs: readonly string[]): void {
  if (process.getuid?.() !== 0) {
    throw new WarrenError('NOT_ROOT', `${what} needs root: it creates network namespaces and TUN devices`, {
      hint: 'Run it with sudo.',
    });
  }
  const missing = programs.filter((program) => !isOnPath(program));
  if (missing.length > 0) {
    const packages = missing.map((program) => PACKAGES[program] ?? program).join(' ');
    throw new WarrenError('TOOL_MISSING', `${what} needs ${missing.join(', ')}, not found on the PATH`, {
      hint: `On Debian: apt-get install ${packages}`,
    });
  }
  if (!isReadable(WARREN_PROGRAM)) {
    throw new WarrenError('NOT_BUILT', `${WARREN_PROGRAM} does not exist`, { hint: 'Run: npm run build' });
  }
}

function isOnPath(program: string): boolean {
  const folders = `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`.split(delimiter);
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
