/** `node tools/sum-test-reports.mjs FOLDER`: adds up vitest's JSON reports of all packages; the last line is "N passed, N failed". */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folders that have tests, by the base name that their report carries (see tools/vitest.shared.ts). */
function foldersWithTests(root) {
  const candidates = ['packages', 'apps'].flatMap((parent) =>
    readdirSync(path.join(root, parent)).map((name) => path.join(parent, name)),
  );
  return [...candidates, 'tools'].filter((folder) => existsSync(path.join(root, folder, 'vitest.config.ts')));
}

const [reports] = process.argv.slice(2);
if (!reports) {
  console.error('usage: node tools/sum-test-reports.mjs FOLDER');
  process.exit(2);
}
let passed = 0;
let failed = 0;
for (const folder of foldersWithTests(fileURLToPath(new URL('../', import.meta.url)))) {
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
  passed += report.numPassedTests;
  failed += report.numFailedTests + brokenFiles;
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
