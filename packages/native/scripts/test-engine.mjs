/** Tests, formatting and lints of the Rust crates, where cargo is; TENSORLOOM_REQUIRE_NATIVE=1 makes its absence a failure. In CI leaves a report beside vitest's. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const cwd = fileURLToPath(new URL('../', import.meta.url));
const cargo = (args, options = {}) => spawnSync('cargo', args, { cwd, encoding: 'utf8', ...options });

if (cargo(['--version']).status !== 0) {
  const required = process.env.TENSORLOOM_REQUIRE_NATIVE === '1';
  console.log(`cargo is not here: the engine's tests are ${required ? 'required, so this is a failure' : 'left out'}.`);
  process.exit(required ? 1 : 0);
}

const shown = { stdio: ['ignore', 'inherit', 'inherit'] };
const checks = [
  ['fmt', '--check'],
  ['clippy', '--release', '--locked', '-p', 'tensorloom-engine', '--all-targets', '--', '-D', 'warnings'],
  // Without its test target, in which nothing would call what Node.js calls.
  ['clippy', '--release', '--locked', '-p', 'tensorloom-node', '--lib', '--examples', '--', '-D', 'warnings'],
].map((args) => ({ name: `cargo ${args.join(' ')}`, passed: cargo(args, shown).status === 0 }));

const tests = cargo(['test', '--release', '--locked', '-p', 'tensorloom-engine'], {
  stdio: ['ignore', 'pipe', 'inherit'],
  maxBuffer: 1 << 28,
});
process.stdout.write(tests.stdout);
const results = [...tests.stdout.matchAll(/^test (.+?) \.\.\. (ok|FAILED)$/gm)].map(([, name, result]) => ({
  name,
  passed: result === 'ok',
}));
if (tests.status !== 0 && results.every(({ passed }) => passed)) results.push({ name: 'cargo test', passed: false });

const all = [...checks, ...results];
const failed = all.filter(({ passed }) => !passed);
console.log(`engine: ${all.length - failed.length} passed, ${failed.length} failed`);
const reports = process.env.TENSORLOOM_TEST_REPORTS;
if (reports)
  // The parts of a vitest report that tools/sum-test-reports.mjs reads.
  writeFileSync(
    path.join(reports, 'native-engine.json'),
    JSON.stringify({
      numTotalTests: all.length,
      numPassedTests: all.length - failed.length,
      numFailedTests: failed.length,
      numPendingTests: 0,
      numTodoTests: 0,
      testResults: [
        {
          name: 'packages/native/crates',
          status: failed.length > 0 ? 'failed' : 'passed',
          assertionResults: all.map(({ name, passed }) => ({
            ancestorTitles: [],
            title: name,
            status: passed ? 'passed' : 'failed',
            failureMessages: passed ? [] : ['see the output of packages/native/scripts/test-engine.mjs'],
          })),
        },
      ],
    }),
  );
process.exit(failed.length === 0 ? 0 : 1);
