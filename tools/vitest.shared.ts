/** Vitest settings that every package shares: packages are read from their TypeScript sources, each test file in a process of its own. */
import { defineConfig } from 'vitest/config';

export const sharedVitestConfig = defineConfig({
  resolve: { conditions: ['@tensorloom/source'] },
  ssr: { resolve: { conditions: ['@tensorloom/source'], externalConditions: ['@tensorloom/source'] } },
  test: {
    include: ['src/**/*.test.ts'],
    environment: 'node',
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
