/**
 * Runs every test: unit and simulation first, then, as root, end to end. Ends with the failures, every
 * skipped test with its reason, and one line `N passed, N failed[, N skipped]`. Further arguments go to
 * vitest (`npm test -- test/e2e/lab.test.ts`).
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

// A mistake in it shows now, not after minutes.
testScale();

const folder = mkdtempSync(join(tmpdir(), 'warren-test-'));
try {
  const reports = [await runProjects(['unit', 'cluster', 'sim'])];
  if (IS_ROOT) reports.push(await runProjects(['e2e']));
  process.exitCode = summarise(reports) ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true });
}

/** Runs vitest on `projects`; resolves to what test-reporter.mjs wrote. */
async function runProjects(projects) {
  const reportFile = join(folder, `${projects.join('-')}.json`);
  const args = [
    'node_modules/vitest/vitest.mjs',
    'run',
    ...projects.flatMap((name) => ['--project', name]),
    '--allowOnly=false',
    '--passWithNoTests',
    '--reporter=default',
    `--reporter=${join(ROOT, 'scripts', 'test-reporter.mjs')}`,
    ...process.argv.slice(2),
  ];
  const env = { ...process.env, WARREN_TEST_REPORT: reportFile };
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'], env });
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
      test: projects.join(', '),
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
