import { defineConfig, mergeConfig } from 'vitest/config';
import { sharedVitestConfig } from './vitest.shared.ts';

export default mergeConfig(
  {
    ...sharedVitestConfig,
    test: { ...sharedVitestConfig.test, include: ['*.test.ts', 'bench/*.test.ts', 'network/*.test.ts'] },
  },
  defineConfig({ test: { name: 'tools' } }),
);
