/**
 * Gets a checkout ready: Node's version, the npm packages, the build in dist/ and, with `--system PURPOSE`
 * (of system-tools.mjs), the programs that the machine must have. What is there already is left alone, so every
 * npm script can call this first. Node built-ins only: it runs before node_modules exists.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  installPackages,
  isDebian,
  missingTools,
  NEEDS_ROOT,
  packageNames,
  refreshPackageLists,
  SYSTEM_TOOLS,
} from './system-tools.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const IS_ROOT = process.getuid?.() === 0;

/** An error whose text is all that the reader needs. */
class SetupError extends Error {}

try {
  const purpose = parsePurpose(process.argv.slice(2));
  checkNodeVersion();
  // Without root the tests still do what they can.
  if (purpose !== undefined && purpose !== 'test' && !IS_ROOT) {
    throw new SetupError(`the ${purpose} needs root: ${NEEDS_ROOT[purpose]}.\nRun: sudo npm run ${purpose}`);
  }
  if (!installedPackagesMatch()) {
    await step(
      'Installing npm packages (npm ci)',
      npmCommand(['ci', '--no-audit', '--no-fund', '--loglevel=error']),
    );
  }
  await step('Building dist/ (rolldown)', [process.execPath, 'scripts/build.mjs']);
  if (purpose) await provideSystemTools(purpose);
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  for (const line of error.message.split('\n')) console.error(`setup: ${line}`);
  process.exitCode = 1;
}

function parsePurpose(args) {
  if (args.length === 0) return undefined;
  if (args.length === 2 && args[0] === '--system' && Object.hasOwn(SYSTEM_TOOLS, args[1])) return args[1];
  throw new SetupError(`usage: node scripts/setup.mjs [--system ${Object.keys(SYSTEM_TOOLS).join('|')}]`);
}

function checkNodeVersion() {
  const wanted = readJson('package.json').engines.node;
  const minimum = /^>=(\d+)\.(\d+)/.exec(wanted).slice(1).map(Number);
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > minimum[0] || (major === minimum[0] && minor >= minimum[1])) return;
  throw new SetupError(`Node.js ${wanted} is needed; this is ${process.versions.node} (${process.execPath})`);
}

/**
 * Whether node_modules holds just what package-lock.json says. npm leaves a copy of what it installed in
 * node_modules/.package-lock.json; packages for other platforms are absent from it, and from the disk.
 */
function installedPackagesMatch() {
  const hidden = join('node_modules', '.package-lock.json');
  if (!existsSync(join(ROOT, hidden))) return false;
  const installed = readJson(hidden).packages;
  const locked = readJson('package-lock.json').packages;
  const same = ([path, { version, integrity }]) =>
    locked[path]?.version === version &&
    locked[path].integrity === integrity &&
    existsSync(join(ROOT, path, 'package.json'));
  const present = ([path, { optional }]) => path === '' || optional || installed[path] !== undefined;
  return Object.entries(installed).every(same) && Object.entries(locked).every(present);
}

async function provideSystemTools(purpose) {
  const missing = await missingTools(purpose);
  if (missing.length === 0) return;
  console.log(`Missing programs: ${missing.map((tool) => tool.program).join(', ')}`);
  if (IS_ROOT && isDebian()) await install(missing);
  await reportMissing(await missingTools(purpose));
}

/** Installs what it can. A failure is shown but is not the end: that depends on what is still missing. */
async function install(tools) {
  try {
    await timed('Refreshing package lists (apt-get update)', refreshPackageLists);
    const names = await packageNames(tools);
    await timed(`Installing Debian packages (apt-get): ${names.join(' ')}`, () => installPackages(names));
  } catch (error) {
    console.error(error.message);
  }
}

/** Says what is missing and what to do; throws when root's run cannot do without it. */
async function reportMissing(tools) {
  if (tools.length === 0) return;
  const list = tools.map((tool) => `${tool.program} (Debian package ${tool.packages[0]})`).join(', ');
  const advice = isDebian()
    ? `As root: apt-get update && apt-get install --no-install-recommends ${(await packageNames(tools)).join(' ')}`
    : 'Install them with your package manager.';
  // Without root the tests that would use them do not run, so the lack is worth a line but no failure.
  if (IS_ROOT && tools.some((tool) => tool.needed)) {
    throw new SetupError(`programs are missing: ${list}\n${advice}`);
  }
  console.log(`Still missing: ${list}; what uses them is skipped.\n${advice}`);
}

/** Runs one command without its output, which is shown only if it fails. */
function step(title, [program, ...args]) {
  return timed(title, async () => {
    const child = spawn(program, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    const output = [];
    child.stdout.on('data', (chunk) => output.push(chunk));
    child.stderr.on('data', (chunk) => output.push(chunk));
    const code = await new Promise((resolve, reject) => {
      child.on('error', (error) => reject(new SetupError(`cannot run ${program}: ${error.message}`)));
      child.on('close', resolve);
    });
    if (code !== 0) {
      throw new SetupError(
        `${title}: ended with code ${code}:\n${Buffer.concat(output).toString().trimEnd()}`,
      );
    }
  });
}

/** One line of progress: what is being done, how it ended, how long it took. */
async function timed(title, work) {
  const startMs = Date.now();
  process.stdout.write(`${title} ... `);
  let outcome = 'failed';
  try {
    await work();
    outcome = 'done';
  } finally {
    console.log(`${outcome} (${((Date.now() - startMs) / 1000).toFixed(1)} s)`);
  }
}

function npmCommand(args) {
  // Set by npm itself when this runs as one of its scripts, so that the same npm does the work.
  const cli = process.env.npm_execpath;
  return cli?.endsWith('.js') ? [process.execPath, cli, ...args] : ['npm', ...args];
}

function readJson(path) {
  return JSON.parse(readFileSync(join(ROOT, path), 'utf8'));
}
