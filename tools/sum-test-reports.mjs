/**
 * `node tools/sum-test-reports.mjs FOLDER`: adds up vitest's JSON reports of all packages and names each failed test; the last line is
 * "N passed, N failed".
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';

/** The folders that have tests, by the base name that their report carries (see tools/vitest.shared.ts). */
function foldersWithTests(root) {
  const candidates = ['packages', 'apps'].flatMap((parent) =>
    readdirSync(path.join(root, parent)).map((name) => path.join(parent, name)),
  );
  return [...candidates, 'tools'].filter((folder) => existsSync(path.join(root, folder, 'vitest.config.ts')));
}

/** Two lines for each test that failed, and for each file that failed outside of its tests: which one, and the first line of why. */
function failuresOf(report, root) {
  return report.testResults.flatMap(({ name, status, message, assertionResults }) => {
    const file = path.relative(root, name);
    const failedTests = assertionResults.filter((test) => test.status === 'failed');
    if (failedTests.length > 0)
      return failedTests.flatMap(({ ancestorTitles, title, failureMessages }) => [
        `FAILED ${[file, ...ancestorTitles, title].join(' > ')}`,
        `  ${firstLine(failureMessages.join('\n'))}`,
      ]);
    return status === 'failed' ? [`FAILED ${file}`, `  ${firstLine(message)}`] : [];
  });
}

function firstLine(text) {
  const lines = stripVTControlCharacters(text).split('\n');
  return lines.find((line) => line.trim() !== '')?.trim() ?? '(no message)';
}

const root = fileURLToPath(new URL('../', import.meta.url));
const [reports] = process.argv.slice(2);
if (!reports) {
  console.error('usage: node tools/sum-test-reports.mjs FOLDER');
  process.exit(2);
}
let passed = 0;
let failed = 0;
const failures = [];
const folders = foldersWithTests(root);
const ofFolders = new Set(folders.map((folder) => `${path.basename(folder)}.json`));
/** Of tests that are no vitest's, such as the Rust engine's. */
const others = readdirSync(reports).filter((name) => name.endsWith('.json') && !ofFolders.has(name));
for (const folder of [...folders, ...others.map((name) => path.basename(name, '.json'))]) {
  const file = path.join(reports, `${path.basename(folder)}.json`);
  if (!existsSync(file)) {
    console.log(`${folder}: no report, counted as one failure`);
    failed += 1;
    continue;
  }
  const report = JSON.parse(readFileSync(file, 'utf8'));
  if (report.numTotalTests === 0 && report.testResults.length === 0) {
    console.log(`${folder}: no test ran, counted as one failure`);
    failed += 1;
    continue;
  }
  // A file that fails before its first test has no test to count.
  const brokenFiles = report.testResults.filter(
    (result) => result.status === 'failed' && !result.assertionResults.some((test) => test.status === 'failed'),
  ).length;
  console.log(
    `${folder}: ${report.numPassedTests} passed, ${report.numFailedTests + brokenFiles} failed, ` +
      `${report.numPendingTests + report.numTodoTests} skipped`,
  );
  failures.push(...failuresOf(report, root));
  passed += report.numPassedTests;
  failed += report.numFailedTests + brokenFiles;
}
// Last, since of a long log the end is kept.
for (const line of failures) console.log(line);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
