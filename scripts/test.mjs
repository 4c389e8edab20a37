/**
 * Runs every test: unit and simulation first, then, as root, end to end. Ends with the failures, every
 * skipped test with its reason, and one line `N passed, N failed[, N skipped]`. Further arguments go to
 * vitest (`npm test -- test/e2e/lab.test.ts`).
 *
 * End-to-end tests that wait for most of their time run beside the others, in namespaces of their own; what they print
 * comes at the end.
 *
 * The environment variable WARREN_TEST_SCALE, 1 to 100, multiplies what the end-to-end tests send in bulk:
 * 1, the default, is 2 GB; .ci/nightly sets 10.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NEEDS_ROOT } from './system-tools.mjs';
import { testScale } from './test-scale.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const IS_ROOT = process.getuid?.() === 0;

/** Most of what they take is waiting: for a path, a thread, a probe or a session to be given up, for containers' engines. */
const APART = [
  'path-mtu',
  'stuck-thread',
  'group-probes',
  'wireguard-rekey',
  'docker-driver',
  'cni-engine-kills',
  'trace',
  'policy',
].map((name) => `test/e2e/${name}.test.ts`);

// A mistake in it shows now, not after minutes.
testScale();

const folder = mkdtempSync(join(tmpdir(), 'warren-test-'));
try {
  const reports = [await runProjects(['unit', 'cluster', 'sim'])];
  if (IS_ROOT) reports.push(...(await endToEnd(process.argv.slice(2))));
  process.exitCode = summarise(reports) ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true });
}

/** With arguments of its own a run is one process: only some tests are meant, and their output at once. */
async function endToEnd(args) {
  if (args.length > 0) return [await runProjects(['e2e'])];
  const output = [];
  const apart = runProjects(['e2e'], {
    name: 'apart',
    args: APART,
    apart: true,
    print: (text) => output.push(text),
  });
  const others = await runProjects(['e2e'], { args: APART.flatMap((file) => ['--exclude', file]) });
  const reports = [others, await apart];
  process.stdout.write(Buffer.concat(output));
  return reports;
}

/**
 * Runs vitest on `projects`; resolves to what test-reporter.mjs wrote. `apart`: in namespaces of its own. `print` is given
 * what it prints, where that is not to be seen at once.
 */
async function runProjects(
  projects,
  { name = projects.join('-'), args = process.argv.slice(2), apart, print } = {},
) {
  const reportFile = join(folder, `${name}.json`);
  const command = [
    ...(apart ? [join(ROOT, 'scripts', 'apart.sh')] : []),
    process.execPath,
    'node_modules/vitest/vitest.mjs',
    'run',
    ...projects.flatMap((project) => ['--project', project]),
    '--allowOnly=false',
    '--passWithNoTests',
    '--reporter=default',
    `--reporter=${join(ROOT, 'scripts', 'test-reporter.mjs')}`,
    ...args,
  ];
  const env = { ...process.env, WARREN_TEST_REPORT: reportFile };
  if (apart) env.TMPDIR = mkdtempSync(join(folder, 'tmp-'));
  const output = print ? 'pipe' : 'inherit';
  const child = spawn(command[0], command.slice(1), { cwd: ROOT, stdio: ['ignore', output, output], env });
  child.stdout?.on('data', print);
  child.stderr?.on('data', print);
  const [code, signal] = await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (...result) => resolve(result));
  });
  const report = existsSync(reportFile)
    ? JSON.parse(readFileSync(reportFile, 'utf8'))
    : { passed: 0, failures: [], skipped: [] };
  // Whatever vitest calls a failure must not get lost because the reporter saw none.
  if (code !== 0 && report.failures.length === 0) {
    report.failures.push({
      test: name,
      message: `vitest ended with ${signal ?? `code ${code}`}`,
    });
  }
  return report;
}

/** Prints the outcome; answers whether all is well. */
function summarise(reports) {
  const passed = reports.reduce((sum, report) => sum + report.passed, 0);
  const failures = reports.flatMap((report) => report.failures);
  const skipped = reports.flatMap((report) => report.skipped);
  for (const { test, reason } of skipped) console.log(`skipped: ${test}${reason ? ` (${reason})` : ''}`);
  if (!IS_ROOT) console.log(`skipped: all of test/e2e (not root: ${NEEDS_ROOT.test}; run: sudo npm test)`);
  for (const { test, message } of failures) console.log(`FAILED: ${test}: ${message.split('\n')[0]}`);
  if (passed === 0 && failures.length === 0) console.log('FAILED: no test ran');
  console.log(
    `${passed} passed, ${failures.length} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}`,
  );
  return failures.length === 0 && passed > 0;
}
