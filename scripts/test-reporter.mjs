/**
 * A vitest reporter that leaves what a run came to in a JSON file, skipped tests with their reasons, for
 * `test.mjs` to add up. The file's path is in WARREN_TEST_REPORT. (vitest's own JSON reporter has no reasons.)
 */
import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';

export default class TestReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const report = { passed: 0, failures: [], skipped: [] };
    for (const module of modules) {
      const file = relative(process.cwd(), module.moduleId);
      // A file that could not be loaded, or a suite whose hooks threw, fails even when no test of it did.
      for (const { message } of module.errors()) report.failures.push({ test: file, message });
      for (const suite of module.children.allSuites()) {
        for (const { message } of suite.errors()) {
          report.failures.push({ test: `${file} > ${suite.fullName}`, message });
        }
      }
      for (const test of module.children.allTests()) addTest(report, file, test);
    }
    for (const { message } of unhandledErrors) report.failures.push({ test: 'unhandled error', message });
    writeFileSync(process.env.WARREN_TEST_REPORT, JSON.stringify(report));
  }
}

function addTest(report, file, test) {
  const name = `${file} > ${test.fullName}`;
  const result = test.result();
  if (result.state === 'passed') report.passed++;
  else if (result.state === 'skipped') report.skipped.push({ test: name, reason: result.note });
  else report.failures.push({ test: name, message: result.errors?.[0]?.message ?? 'did not finish' });
}
