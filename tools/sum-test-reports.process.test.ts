/** What CI's closing lines count and name, shown by running the script on made-up reports. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

const root = path.dirname(import.meta.dirname);
/** Whatever has tests. */
const names = ['packages', 'apps']
  .flatMap((parent) => readdirSync(path.join(root, parent)).map((name) => path.join(parent, name)))
  .concat('tools')
  .filter((each) => existsSync(path.join(root, each, 'vitest.config.ts')))
  .map((each) => path.basename(each));
/** Tests of all but one. */
const others = 10 * (names.length - 1);
let folder: string;

interface Report {
  readonly numTotalTests: number;
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly ancestorTitles: readonly string[];
      readonly title: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

/** A report of one file with these numbers of tests; a broken one failed before its first test. */
function report({ passed = 0, failed = 0, skipped = 0, broken = false }): Report {
  const assertionResults = Array.from({ length: failed }, (_, index) => ({
    status: 'failed',
    ancestorTitles: ['sums', 'of numbers'],
    title: `are right: ${index}`,
    failureMessages: [`\u001b[31mAssertionError: expected ${index} to be -1\u001b[39m\n    at somewhere`],
  }));
  return {
    numTotalTests: passed + failed + skipped,
    numPassedTests: passed,
    numFailedTests: failed,
    numPendingTests: skipped,
    numTodoTests: 0,
    testResults: [
      {
        name: path.join(root, 'packages/some/src/sums.test.ts'),
        status: broken || failed > 0 ? 'failed' : 'passed',
        message: broken ? '\nError: no such module\nand more' : '',
        assertionResults,
      },
    ],
  };
}

/** Every package passes 10 tests, but for those named. */
function run(given: Record<string, Report | null> = {}): { lines: string[]; exitCode: number | null } {
  for (const name of new Set([...names, ...Object.keys(given)])) {
    const content = name in given ? given[name] : report({ passed: 10 });
    if (content !== null) writeFileSync(path.join(folder, `${name}.json`), JSON.stringify(content));
  }
  const script = path.join(import.meta.dirname, 'sum-test-reports.mjs');
  const result = spawnSync(process.execPath, [script, folder], { encoding: 'utf8' });
  return { lines: result.stdout.trimEnd().split('\n'), exitCode: result.status };
}

function sum(given: Record<string, Report | null> = {}): { lastLine: string | undefined; exitCode: number | null } {
  const { lines, exitCode } = run(given);
  return { lastLine: lines.at(-1), exitCode };
}

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tensorloom-reports-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('adds up all packages', () => {
  expect(sum()).toEqual({ lastLine: `${others + 10} passed, 0 failed`, exitCode: 0 });
});

it('fails when a test failed, and does not count skipped tests as passed', () => {
  const core = report({ passed: 7, failed: 2, skipped: 3 });
  expect(sum({ core })).toEqual({ lastLine: `${others + 7} passed, 2 failed`, exitCode: 1 });
});

it('counts a file that broke before its first test as a failure', () => {
  expect(sum({ cli: report({ passed: 4, broken: true }) })).toEqual({
    lastLine: `${others + 4} passed, 1 failed`,
    exitCode: 1,
  });
});

it("adds reports of tests that are no package's own, and names what failed there", () => {
  const { lines, exitCode } = run({ 'some-engine': report({ passed: 5, failed: 1 }) });
  expect(lines.at(-1)).toBe(`${others + 15} passed, 1 failed`);
  expect(lines.some((line) => line.startsWith('FAILED ') && line.includes('are right: 0'))).toBe(true);
  expect(exitCode).toBe(1);
});

it('counts a package that left no report as a failure', () => {
  expect(sum({ data: null })).toEqual({ lastLine: `${others} passed, 1 failed`, exitCode: 1 });
});

it('counts a package in which no test ran as a failure', () => {
  const models = { ...report({}), testResults: [] };
  expect(sum({ models })).toEqual({ lastLine: `${others} passed, 1 failed`, exitCode: 1 });
});

it('names each failed test, with the first line of its message, just before the last line', () => {
  const { lines } = run({ core: report({ passed: 7, failed: 2 }), cli: report({ passed: 4, broken: true }) });
  expect(lines.slice(-7)).toEqual([
    'FAILED packages/some/src/sums.test.ts > sums > of numbers > are right: 0',
    '  AssertionError: expected 0 to be -1',
    'FAILED packages/some/src/sums.test.ts > sums > of numbers > are right: 1',
    '  AssertionError: expected 1 to be -1',
    'FAILED packages/some/src/sums.test.ts',
    '  Error: no such module',
    `${others + 1} passed, 3 failed`,
  ]);
});

it('names nothing when all passed', () => {
  expect(run().lines.filter((line) => line.includes('FAILED'))).toEqual([]);
});
