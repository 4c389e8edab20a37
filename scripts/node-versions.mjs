/**
 * Runs tests with other versions of Node than the one at hand: `node scripts/node-versions.mjs 24 26 arm64`.
 *
 * - A number is a major version: unit tests, and as root the demo, which throw on anything that is deprecated.
 * - `arm64` runs the tests of struct layouts, wire formats and cryptography in Node for arm64, under qemu-user.
 *   vitest itself stays native; only the processes that it runs tests in are foreign.
 *
 * The binaries are npm packages. They go into a cache folder outside of the checkout, WARREN_NODE_CACHE or
 * ~/.cache/warren/node, and are fetched once. Needs a checkout that is set up (`npm run check`).
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  ARM64_LIBRARIES,
  ARM64_TOOLS,
  findProgram,
  installPackages,
  isDebian,
  missingOf,
  packageNames,
  refreshPackageLists,
} from './system-tools.mjs';

/** What the registry has last of each major version; not every version is there for both architectures. */
const VERSIONS = {
  22: { x64: '22.23.3', arm64: '22.23.3' },
  24: { x64: '24.21.0', arm64: '24.21.0' },
  26: { x64: '26.12.1', arm64: '26.12.0' },
};
/** The major version that is run for arm64: its workers talk to a native parent, best one of the same version. */
const ARM64_MAJOR = 24;
const ARM64_TESTS = ['sys', 'wire', 'netlink', 'link', 'golden'].map((folder) => `test/unit/${folder}/`);
/** Emulated, a test takes ten to thirty times as long. */
const ARM64_TIMEOUT_MS = 300_000;

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const CACHE = process.env.WARREN_NODE_CACHE || join(homedir(), '.cache', 'warren', 'node');
const IS_ROOT = process.getuid?.() === 0;
const VITEST = ['node_modules/vitest/vitest.mjs', 'run', '--project', 'unit', '--reporter=dot'];

const names = process.argv.slice(2);
const unknown = names.filter((name) => name !== 'arm64' && !Object.hasOwn(VERSIONS, name));
if (names.length === 0 || unknown.length > 0) {
  console.error(`usage: node scripts/node-versions.mjs ${[...Object.keys(VERSIONS), 'arm64'].join('|')} ...`);
  process.exit(2);
}

let allPassed = true;
for (const name of names) {
  const passed = await (name === 'arm64' ? runArm64() : runMajor(name));
  allPassed &&= passed;
}
process.exitCode = allPassed ? 0 : 1;

/** Unit tests and the demo with one major version; answers whether both passed. */
async function runMajor(major) {
  const node = await fetchNode(major, process.arch);
  const env = { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH}` };
  const strict = { ...env, NODE_OPTIONS: '--throw-deprecation' };
  const tested = await run(`Node ${major}: unit tests`, node, VITEST, strict);
  if (!IS_ROOT) {
    console.log(`skipped: Node ${major}: demo (not root)`);
    return tested;
  }
  const shown = await run(`Node ${major}: demo`, node, ['dist/bin/warren.js', 'demo'], strict);
  return tested && shown;
}

/** Whether the tests for arm64 passed, or cannot run here. */
async function runArm64() {
  if (process.arch === 'arm64') {
    console.log('skipped: arm64 under qemu-user (this machine is one: all tests run on it)');
    return true;
  }
  const lack = await provideArm64Tools();
  if (lack !== undefined) {
    console.log(`skipped: arm64 under qemu-user (${lack})`);
    return true;
  }
  const koffi = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).dependencies.koffi;
  const library = await fetchPackage('@koromix/koffi-linux-arm64', koffi);
  const foreign = await fetchNode(ARM64_MAJOR, 'arm64');
  const native = await fetchNode(ARM64_MAJOR, process.arch);
  const emulated = emulatorScript(foreign, library);
  // A process for tests is a fork, and a fork is of the program at `execPath`.
  const forkEmulated = ['--import', module(`process.execPath = ${JSON.stringify(emulated)}`)];
  const options = ['--pool=forks', `--testTimeout=${ARM64_TIMEOUT_MS}`, ...ARM64_TESTS];
  return run('arm64 under qemu-user: layouts, wire formats, cryptography', native, [
    ...forkEmulated,
    ...VITEST,
    ...options,
  ]);
}

/**
 * A program that is Node for arm64. koffi looks for its library beside itself, where the one for this machine
 * is, and then in `process.resourcesPath`.
 */
function emulatorScript(node, koffi) {
  const resources = mkdtempSync(join(CACHE, 'arm64-'));
  process.on('exit', () => rmSync(resources, { recursive: true, force: true }));
  const triplet = join(resources, 'koffi', 'linux_arm64');
  mkdirSync(triplet, { recursive: true });
  writeFileSync(join(triplet, 'koffi.node'), readFileSync(join(koffi, 'linux_arm64', 'koffi.node')));
  const preload = module(`process.resourcesPath = ${JSON.stringify(resources)}`);
  const command = [findProgram('qemu-aarch64'), '-L', ARM64_LIBRARIES, node, '--import', preload];
  const script = join(resources, 'node');
  writeFileSync(script, `#!/bin/sh\nexec ${command.map((word) => `'${word}'`).join(' ')} "$@"\n`, {
    mode: 0o755,
  });
  return script;
}

function module(code) {
  return `data:text/javascript,${encodeURIComponent(code)}`;
}

/** Why the tests for arm64 cannot run, or undefined; installs what is missing where that is possible. */
async function provideArm64Tools() {
  const missing = await missingOf(ARM64_TOOLS);
  if (missing.length === 0) return undefined;
  if (IS_ROOT && isDebian()) {
    try {
      await refreshPackageLists();
      await installPackages(await packageNames(missing));
    } catch (error) {
      console.error(error.message);
    }
  }
  const still = await missingOf(ARM64_TOOLS);
  if (still.length === 0) return undefined;
  return `missing: ${still.map((tool) => `${tool.program} (Debian package ${tool.packages[0]})`).join(', ')}`;
}

/** The path of the program. */
async function fetchNode(major, arch) {
  return join(await fetchPackage(`node-linux-${arch}`, VERSIONS[major][arch]), 'bin', 'node');
}

/** The package's folder in the cache. What is fetched appears whole or not at all. */
async function fetchPackage(name, version) {
  const folder = join(CACHE, `${name.replace('/', '+')}-${version}`);
  const wanted = join(folder, 'node_modules', name);
  if (existsSync(folder)) return wanted;
  mkdirSync(CACHE, { recursive: true });
  const unfinished = mkdtempSync(join(CACHE, 'fetch-'));
  try {
    const options = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
    // Forced, as it may be for another kind of machine.
    const install = ['install', '--force', '--prefix', unfinished, ...options, `${name}@${version}`];
    if (!(await run(`fetching ${name} ${version}`, 'npm', install))) throw new Error(`cannot fetch ${name}`);
    if (!existsSync(folder)) renameSync(unfinished, folder);
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
  return wanted;
}

/** Runs a program without its output, which is shown only if it fails; answers whether it ended with 0. */
async function run(title, program, args, env = process.env) {
  const startMs = Date.now();
  process.stdout.write(`${title} ... `);
  const child = spawn(program, args, {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...env, NO_COLOR: '1' },
  });
  const output = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => output.push(chunk));
  const [code, signal] = await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (...ending) => resolve(ending));
  });
  const seconds = ((Date.now() - startMs) / 1000).toFixed(1);
  const text = Buffer.concat(output).toString();
  const count = /^\s*Tests .*$/m.exec(text)?.[0].trim().replace(/\s+/g, ' ');
  if (code === 0) {
    console.log(`passed (${count === undefined ? '' : `${count}, `}${seconds} s)`);
    return true;
  }
  console.log(`FAILED with ${signal ?? `code ${code}`} (${seconds} s)\n${text.trimEnd()}`);
  return false;
}
