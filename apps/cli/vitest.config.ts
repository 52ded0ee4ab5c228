import { defineConfig, mergeConfig } from 'vitest/config';
import { sharedVitestConfig } from '../../tools/vitest.shared';

export default mergeConfig(sharedVitestConfig, defineConfig({ test: { name: 'cli' } }));
