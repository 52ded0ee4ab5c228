/**
 * `node compare.mjs [--report FILE] [--only PATTERN]`: runs tfjs-core's own specs on the backends `cpu` and `native`. What passes on `cpu` must pass on
 * `native`, but for exclusions.json (name of a spec: reason). Prints what does not, and fails if there is any, or an exclusion that is not needed.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bundleSpecs } from './bundle.mjs';

const { values: options } = parseArgs({
  options: { report: { type: 'string' }, only: { type: 'string', default: '' } },
});
const exclusions = JSON.parse(readFileSync(new URL('./exclusions.json', import.meta.url), 'utf8'));
// Within the package, so that what the bundles leave out is found.
const cache = fileURLToPath(new URL('../.cache', import.meta.url));
mkdirSync(cache, { recursive: true });
const folder = mkdtempSync(path.join(cache, 'tfjs-specs-'));
try {
  const cpu = await runOn('cpu');
  const native = await runOn('native');
  const outcomes = new Map(native.map((spec) => [spec.name, spec]));
  const expected = cpu.filter(({ status }) => status === 'passed');
  const passes = (name) => outcomes.get(name)?.status === 'passed';
  const failures = expected.filter(({ name }) => !passes(name) && !(name in exclusions));
  const known = new Set(expected.map(({ name }) => name));
  const needless = Object.keys(exclusions).filter((name) => (known.has(name) ? passes(name) : options.only === ''));
  for (const { name } of failures)
    console.log(`FAILED ${name}\n${(outcomes.get(name)?.messages ?? ['It did not run.']).join('\n')}`);
  for (const name of needless) console.log(`NOT NEEDED in exclusions.json: ${name}`);
  const passed = expected.filter(({ name }) => passes(name)).length;
  console.log(
    `${expected.length} specs pass on cpu; on native ${passed} of these pass, ${failures.length} fail, ${Object.keys(exclusions).length} are excluded.`,
  );
  if (options.report !== undefined)
    writeFileSync(
      options.report,
      JSON.stringify({ expected: expected.length, passed, failures: failures.map(({ name }) => name), needless }),
    );
  if (failures.length + needless.length > 0) process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** The outcome of every spec on a backend. */
async function runOn(backend) {
  const bundle = path.join(folder, `${backend}.cjs`);
  const report = path.join(folder, `${backend}.json`);
  await bundleSpecs(backend, bundle);
  const script = fileURLToPath(new URL('./run-backend.mjs', import.meta.url));
  const child = spawn(process.execPath, [script, bundle, report, options.only], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, TFJS_SPECS_BACKEND: backend },
  });
  const code = await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
  if (code !== 0) throw new Error(`The specs on ${backend} ended with exit code ${code}.`);
  return JSON.parse(readFileSync(report, 'utf8'));
}
