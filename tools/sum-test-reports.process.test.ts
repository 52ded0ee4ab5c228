/** What CI's closing line counts, shown by running the script on made-up reports. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

const names = ['core', 'data', 'models', 'strategies', 'cli', 'tools'];
let folder: string;

interface Report {
  readonly numTotalTests: number;
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly { status: string; assertionResults: readonly { status: string }[] }[];
}

/** A report of one file with these numbers of tests; a broken one failed before its first test. */
function report({ passed = 0, failed = 0, skipped = 0, broken = false }): Report {
  const assertionResults = Array.from({ length: failed }, () => ({ status: 'failed' }));
  return {
    numTotalTests: passed + failed + skipped,
    numPassedTests: passed,
    numFailedTests: failed,
    numPendingTests: skipped,
    numTodoTests: 0,
    testResults: [{ status: broken || failed > 0 ? 'failed' : 'passed', assertionResults }],
  };
}

/** Every package passes 10 tests, but for those named. */
function sum(others: Record<string, Report | null> = {}): { lastLine: string | undefined; exitCode: number | null } {
  for (const name of names) {
    const content = name in others ? others[name] : report({ passed: 10 });
    if (content !== null) writeFileSync(path.join(folder, `${name}.json`), JSON.stringify(content));
  }
  const script = path.join(import.meta.dirname, 'sum-test-reports.mjs');
  const result = spawnSync(process.execPath, [script, folder], { encoding: 'utf8' });
  return { lastLine: result.stdout.trimEnd().split('\n').at(-1), exitCode: result.status };
}

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tensorloom-reports-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('adds up all packages', () => {
  expect(sum()).toEqual({ lastLine: '60 passed, 0 failed', exitCode: 0 });
});

it('fails when a test failed, and does not count skipped tests as passed', () => {
  const core = report({ passed: 7, failed: 2, skipped: 3 });
  expect(sum({ core })).toEqual({ lastLine: '57 passed, 2 failed', exitCode: 1 });
});

it('counts a file that broke before its first test as a failure', () => {
  expect(sum({ cli: report({ passed: 4, broken: true }) })).toEqual({ lastLine: '54 passed, 1 failed', exitCode: 1 });
});

it('counts a package that left no report as a failure', () => {
  expect(sum({ data: null })).toEqual({ lastLine: '50 passed, 1 failed', exitCode: 1 });
});

it('counts a package in which no test ran as a failure', () => {
  const models = { ...report({}), testResults: [] };
  expect(sum({ models })).toEqual({ lastLine: '50 passed, 1 failed', exitCode: 1 });
});
