/** `node run-backend.mjs BUNDLE REPORT [PATTERN]`: runs a bundle's specs (those that match) with jasmine; writes each one's outcome as JSON. */
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import Jasmine from 'jasmine';

const [bundle, report, pattern = ''] = process.argv.slice(2);
const runner = new Jasmine({ projectBaseDir: path.dirname(bundle) });
runner.exitOnCompletion = false;
runner.loadConfig({ random: false, stopSpecOnExpectationFailure: false });
globalThis.jasmine.DEFAULT_TIMEOUT_INTERVAL = 60_000;
const wanted = new RegExp(pattern);
runner.env.configure({ specFilter: (spec) => wanted.test(spec.getFullName()) });

const specs = [];
// Some specs share a name; they run in the order of their definition.
const occurrences = new Map();
runner.clearReporters();
runner.addReporter({
  specDone({ fullName, status, failedExpectations }) {
    const occurrence = (occurrences.get(fullName) ?? 0) + 1;
    occurrences.set(fullName, occurrence);
    specs.push({
      name: occurrence === 1 ? fullName : `${fullName} #${occurrence}`,
      status,
      messages: failedExpectations.map(({ message, stack }) => `${message}\n${stack}`.slice(0, 2000)),
    });
  },
});
// tfjs warns a lot in its specs.
console.warn = () => {};
console.log = () => {};
createRequire(import.meta.url)(bundle);
await runner.execute();
writeFileSync(report, JSON.stringify(specs));
process.exit(0);
