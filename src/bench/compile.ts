/** The C programs under bench/, built into a folder of this run's own where there is a compiler. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errorMessage } from '../errors.ts';
import { runCommand } from '../host/command.ts';
import { packageFile } from '../package.ts';
import { findProgram } from './programs.ts';

const SOURCES = packageFile('bench');
const COMPILERS = ['cc', 'gcc', 'clang'];
const TIMEOUT_MS = 60_000;

/** Path of a built program, or why there is none. */
export type CompiledProgram = { readonly path: string } | { readonly missing: string };

export interface CompiledPrograms {
  readonly roofline: CompiledProgram;
  readonly sealedRoofline: CompiledProgram;
  readonly roundTrip: CompiledProgram;
  readonly handshakeFlood: CompiledProgram;
}

/** Builds all of them. The caller calls `remove` when nothing runs them any more. */
export async function compilePrograms(): Promise<CompiledPrograms & { remove(): void }> {
  const folder = mkdtempSync(join(tmpdir(), 'warren-bench-'));
  return {
    roofline: await compile('roofline', folder),
    sealedRoofline: await compile('sealed-roofline', folder, OPENSSL),
    roundTrip: await compile('round-trip', folder),
    handshakeFlood: await compile('handshake-flood', folder),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** A library, and what has to be installed to build with it. */
interface Library {
  readonly flag: string;
  readonly header: string;
  readonly debianPackage: string;
}

const OPENSSL: Library = { flag: '-lcrypto', header: '<openssl/evp.h>', debianPackage: 'libssl-dev' };

async function compile(name: string, folder: string, library?: Library): Promise<CompiledProgram> {
  const source = join(SOURCES, `${name}.c`);
  if (!existsSync(source)) return { missing: `bench/${name}.c is not part of this installation` };
  const compiler = COMPILERS.find((program) => findProgram(program) !== undefined);
  if (compiler === undefined) return { missing: 'no C compiler (Debian: apt-get install gcc libc6-dev)' };
  const path = join(folder, name);
  try {
    if (library && !(await hasHeader(compiler, library.header, folder))) {
      const { header, debianPackage } = library;
      return { missing: `no ${header} (Debian: apt-get install ${debianPackage})` };
    }
    const flags = library ? [library.flag] : [];
    await runCommand([compiler, '-O2', '-pthread', '-o', path, source, ...flags], { timeoutMs: TIMEOUT_MS });
    return { path };
  } catch (error) {
    return { missing: `bench/${name}.c does not compile: ${errorMessage(error)}` };
  }
}

async function hasHeader(compiler: string, header: string, folder: string): Promise<boolean> {
  const source = join(folder, 'header.c');
  writeFileSync(source, `#include ${header}\n`);
  try {
    await runCommand([compiler, '-E', '-o', '/dev/null', source], { timeoutMs: TIMEOUT_MS });
    return true;
  } catch {
    return false;
  }
}
