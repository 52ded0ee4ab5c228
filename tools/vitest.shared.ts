/** Vitest settings that every package shares: packages are read from their TypeScript sources, each test file in a process of its own. */
import path from 'node:path';
import { defineConfig } from 'vitest/config';

/** Where CI collects one JSON report per package (named after the package's folder); unset otherwise. */
const reportFolder = process.env['TENSORLOOM_TEST_REPORTS'];

export const sharedVitestConfig = defineConfig({
  resolve: { conditions: ['@tensorloom/source'] },
  ssr: { resolve: { conditions: ['@tensorloom/source'], externalConditions: ['@tensorloom/source'] } },
  test: {
    include: ['src/**/*.test.ts'],
    environment: 'node',
    pool: 'forks',
    maxWorkers: 2,
    // Generous: these catch what hangs, also on a machine that does much else, and are no measure of speed.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    ...(reportFolder === undefined
      ? {}
      : {
          reporters: ['default', 'json'],
          outputFile: { json: path.join(reportFolder, `${path.basename(process.cwd())}.json`) },
        }),
  },
});
