/** Programs of other projects: whether they are here, and in which version. */

import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { SBIN } from '../host/command.ts';
import { runCommand } from '../lab/command.ts';

/** The path of `program` on the PATH or in an sbin folder, or undefined. */
export function findProgram(program: string): string | undefined {
  return `${process.env.PATH ?? ''}:${SBIN}`
    .split(':')
    .map((folder) => join(folder, program))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** A reason to skip what needs `programs`, or undefined if they are all here. */
export function notInstalled(programs: readonly string[], debianPackage: string): string | undefined {
  const missing = programs.filter((program) => findProgram(program) === undefined);
  if (missing.length === 0) return undefined;
  return `${missing.join(', ')} not installed (Debian: apt-get install ${debianPackage})`;
}

/**
 * The first line in which `argv` names a version, with that of its Debian package where there is one: Go
 * programs are often built from other sources than they say.
 */
export async function programVersion(argv: readonly string[], debianPackage: string): Promise<string> {
  const { stdout, stderr } = await runCommand([findProgram(argv[0]!) ?? argv[0]!, ...argv.slice(1)]);
  const line = `${stdout}\n${stderr}`.split('\n').find((text) => /\d+\.\d+/.test(text)) ?? 'version unknown';
  const packaged = await packageVersion(debianPackage);
  const said = line.trim().replace(/^version:?\s*/i, '');
  return packaged === undefined ? said : `${said} (Debian ${packaged})`;
}

/** Of a Debian package; undefined if it is not installed. */
export async function packageVersion(name: string): Promise<string | undefined> {
  if (findProgram('dpkg-query') === undefined) return undefined;
  const { code, stdout } = await runCommand(['dpkg-query', '-W', '-f', '$' + '{Version}', name]);
  return code === 0 && stdout !== '' ? stdout : undefined;
}
