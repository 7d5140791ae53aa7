/**
 * Proves that the tests bite: every committed mutation (mutations/*.json) must make the test it names fail.
 * Each is applied to a copy of the tree, never to the tree itself. A mutation counts as caught only when its named test passed before
 * and fails after; a text that is no longer found, a test that is gone and a copy that does not even load are failures of this run.
 * `npm run mutate -- burn` runs the mutations whose name contains "burn".
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';

const ROOT = process.cwd();
const LEFT_OUT = /^(node_modules|data|coverage|\.git|\.venv.*|\.gateways|bench\/results)$/;
// A named test takes a second, a service test some ten (it starts a database); a mutation that makes a test hang is caught as well.
const TEST_TIMEOUT_MS = 120_000;

function readMutations(filter) {
  const mutations = readdirSync('mutations')
    .filter((name) => name.endsWith('.json'))
    .sort()
    .flatMap((name) => JSON.parse(readFileSync(join('mutations', name), 'utf8')));
  const names = new Set(mutations.map((mutation) => mutation.name));
  if (names.size !== mutations.length) throw new Error('two mutations have the same name');
  return mutations.filter((mutation) => mutation.name.includes(filter));
}

function copyTree() {
  // realpath, because jest compares real paths and the system's temporary directory may be a link. dist comes along: a build is then incremental.
  const copy = realpathSync(mkdtempSync(join(tmpdir(), 'tollgate-mutate-')));
  cpSync(ROOT, copy, { recursive: true, preserveTimestamps: true, filter: (source) => !LEFT_OUT.test(relative(ROOT, source)) });
  symlinkSync(resolve(ROOT, 'node_modules'), join(copy, 'node_modules'));
  return copy;
}

/** Runs the tests of `files` whose name matches; returns the state of each by full name, or the output when jest could not run them. */
function runTests(copy, files, names) {
  const report = join(copy, 'jest-report.json');
  rmSync(report, { force: true });
  const pattern = names.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|');
  const args = ['node_modules/jest/bin/jest.js', '--json', `--outputFile=${report}`, '--silent', '--forceExit', '-t', pattern, '--runTestsByPath', ...files];
  const run = spawnSync(process.execPath, ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', ...args], {
    cwd: copy,
    encoding: 'utf8',
    timeout: TEST_TIMEOUT_MS * files.length,
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  if (run.signal) return { states: [], output: run.stderr, hung: true };
  try {
    const { testResults } = JSON.parse(readFileSync(report, 'utf8'));
    const states = testResults.flatMap((suite) =>
      suite.assertionResults.map((test) => ({ file: relative(copy, suite.name), name: test.fullName, status: test.status })),
    );
    return { states, output: testResults.map((suite) => suite.message).join('\n') + run.stderr, hung: false };
  } catch {
    return { states: [], output: run.stderr, hung: false };
  }
}

const matching = (states, test) => states.filter((state) => state.file === test.file && state.name.includes(test.name) && state.status !== 'pending');

/** Before anything is mutated every named test must exist and pass: a test that fails anyway would "catch" everything. */
function checkBaseline(copy, mutations) {
  const files = [...new Set(mutations.map((mutation) => mutation.test.file))];
  const { states, output } = runTests(
    copy,
    files,
    mutations.map((mutation) => mutation.test.name),
  );
  const problems = new Map();
  for (const mutation of mutations) {
    const tests = matching(states, mutation.test);
    if (tests.length === 0) problems.set(mutation.name, 'NO SUCH TEST');
    else if (tests.some((test) => test.status !== 'passed')) problems.set(mutation.name, 'TEST FAILS WITHOUT MUTATION');
  }
  if (problems.size > 0) process.stderr.write(`${output}\n`);
  return problems;
}

function tryMutation(copy, mutation) {
  const path = join(copy, mutation.file);
  const original = readFileSync(path, 'utf8');
  const places = original.split(mutation.find).length - 1;
  if (places !== 1) return places === 0 ? 'TEXT NOT FOUND' : `TEXT FOUND ${places} TIMES`;
  writeFileSync(
    path,
    original.replace(mutation.find, () => mutation.replace),
  );
  try {
    const { states, output, hung } = runTests(copy, [mutation.test.file], [mutation.test.name]);
    if (hung) return 'caught (hung)';
    const tests = matching(states, mutation.test);
    if (tests.length === 0) process.stderr.write(`${output}\n`);
    if (tests.length === 0) return 'DOES NOT LOAD';
    return tests.some((test) => test.status === 'failed') ? 'caught' : 'SURVIVED';
  } finally {
    writeFileSync(path, original);
  }
}

function main() {
  const mutations = readMutations(process.argv[2] ?? '');
  const copy = copyTree();
  const rows = [];
  try {
    const problems = checkBaseline(copy, mutations);
    for (const mutation of mutations) {
      const startedAt = process.hrtime.bigint();
      const result = problems.get(mutation.name) ?? tryMutation(copy, mutation);
      const seconds = Number((process.hrtime.bigint() - startedAt) / 100_000_000n) / 10;
      rows.push({ mutation: mutation.name, file: mutation.file, test: mutation.test.name, seconds, result });
      process.stderr.write(`${result.padEnd(14)} ${mutation.name} (${seconds} s)\n`);
    }
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
  console.table(rows);
  const caught = rows.filter((row) => row.result.startsWith('caught')).length;
  console.log(`mutations: ${caught} caught, ${rows.length - caught} not`);
  process.exitCode = caught === rows.length && rows.length > 0 ? 0 : 1;
}

main();
