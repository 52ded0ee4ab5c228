import { defineConfig, mergeConfig } from 'vitest/config';
import { sharedVitestConfig } from '../../tools/vitest.shared.ts';

export default mergeConfig(sharedVitestConfig, defineConfig({ test: { name: 'native' } }));
