/**
 * The closing lines of a test run: `N passed, N failed, N skipped`, and, loudly, every suite that did not run because Redis, Python or a gateway is missing.
 * A skipped test is a failure where the run promised to have everything (CI, or TOLLGATE_REQUIRE_REDIS / _PYTHON / _GATEWAYS = 1).
 */
import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';

export default class NoSkipReporter {
  constructor(globalConfig) {
    this.rootDir = globalConfig.rootDir;
    this.strict = ['CI', 'TOLLGATE_REQUIRE_REDIS', 'TOLLGATE_REQUIRE_PYTHON', 'TOLLGATE_REQUIRE_GATEWAYS'].some((name) =>
      ['1', 'true'].includes(process.env[name] ?? ''),
    );
    // `jest -t name` leaves every other test pending on purpose (npm run mutate does that).
    this.filtered = Boolean(globalConfig.testNamePattern);
    this.failure = undefined;
  }

  onRunComplete(_contexts, results) {
    const skipped = results.numPendingTests + results.numTodoTests;
    const brokenSuites = results.numRuntimeErrorTestSuites;
    if (skipped > 0 && !this.filtered) this.reportSkipped(results);
    const line = `${results.numPassedTests} passed, ${results.numFailedTests + brokenSuites} failed, ${skipped} skipped`;
    process.stderr.write(`${line}\n`);
    if (process.env['TEST_COUNTS_FILE']) writeFileSync(process.env['TEST_COUNTS_FILE'], `${line}\n`);
  }

  getLastError() {
    return this.failure;
  }

  reportSkipped(results) {
    const suites = results.testResults
      .filter((suite) => suite.numPendingTests + suite.numTodoTests > 0)
      .map((suite) => relative(this.rootDir, suite.testFilePath))
      .sort();
    process.stderr.write(
      `\nNOT RUN: ${suites.join(', ')}: they need a redis-server or valkey-server on the PATH (or REDIS_URL), Python 3 for the LiteLLM proxy,\nor nginx and what scripts/gateways.sh installs.\n`,
    );
    if (this.strict) this.failure = new Error(`skipped tests in ${suites.join(', ')}: this run requires every suite; install what they need`);
  }
}
