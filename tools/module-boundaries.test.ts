/** Lints deliberately wrong snippets, to show that the rules on imports in eslint.config.mjs really bite. */
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { ESLint } from 'eslint';
import { beforeAll, describe, expect, it } from 'vitest';

const workspaceRoot = path.resolve(import.meta.dirname, '..');
const BOUNDARIES = '@nx/enforce-module-boundaries';
let eslint: ESLint;

/** The ids of the rules that a file of this content, at this place, would break. */
async function brokenRules(file: string, code: string): Promise<string[]> {
  const [result] = await eslint.lintText(code, { filePath: path.join(workspaceRoot, file) });
  expect(result?.messages.filter((message) => message.fatal)).toEqual([]);
  return result?.messages.map((message) => message.ruleId ?? 'none') ?? [];
}

beforeAll(() => {
  // The boundary rule reads Nx's project graph from its cache, which any nx command brings up to date.
  execFileSync('npx', ['nx', 'show', 'projects'], { cwd: workspaceRoot, stdio: 'ignore' });
  eslint = new ESLint({ cwd: workspaceRoot });
}, 120_000);

describe('module boundaries', () => {
  const forbidden: [string, string][] = [
    ['packages/core', 'data'],
    ['packages/core', 'models'],
    ['packages/core', 'strategies'],
    ['packages/data', 'models'],
    ['packages/data', 'strategies'],
    ['packages/models', 'data'],
    ['packages/models', 'strategies'],
    ['packages/strategies', 'data'],
    ['packages/strategies', 'models'],
  ];
  it.each(forbidden)('%s may not import @tensorloom/%s', async (folder, imported) => {
    const rules = await brokenRules(`${folder}/src/index.ts`, `export * from '@tensorloom/${imported}';\n`);
    expect(rules).toContain(BOUNDARIES);
  });

  it.each(['core', 'data', 'models', 'strategies'])('packages/%s may not import the command', async (name) => {
    const file = `packages/${name}/src/index.ts`;
    expect(await brokenRules(file, `export * from '@tensorloom/cli';\n`)).toContain('no-restricted-imports');
    expect(await brokenRules(file, `export * from '../../../apps/cli/src/main.ts';\n`)).toContain(BOUNDARIES);
  });

  const allowed: [string, string][] = [
    ['packages/data', 'core'],
    ['packages/models', 'core'],
    ['packages/strategies', 'core'],
    ['apps/cli', 'core'],
    ['apps/cli', 'data'],
    ['apps/cli', 'models'],
    ['apps/cli', 'strategies'],
  ];
  it.each(allowed)('%s may import @tensorloom/%s', async (folder, imported) => {
    const file = folder === 'apps/cli' ? `${folder}/src/main.ts` : `${folder}/src/index.ts`;
    expect(await brokenRules(file, `export * from '@tensorloom/${imported}';\n`)).not.toContain(BOUNDARIES);
  });

  it('a sibling is not reached by a relative path either', async () => {
    const rules = await brokenRules('packages/data/src/index.ts', `export * from '../../models/src/index.ts';\n`);
    expect(rules).toContain(BOUNDARIES);
  });
});

describe('who may import TensorFlow.js', () => {
  it.each(['packages/core/src/index.ts', 'packages/models/src/index.ts', 'apps/cli/src/main.ts'])(
    'not %s, statically or dynamically',
    async (file) => {
      expect(await brokenRules(file, `export * from '@tensorflow/tfjs';\n`)).toContain('no-restricted-imports');
      const dynamic = `export const loading = import('@tensorflow/tfjs-node');\n`;
      expect(await brokenRules(file, dynamic)).toContain('no-restricted-syntax');
    },
  );

  it.each(['packages/core/src/tensors.ts', 'packages/core/src/accelerators/accelerator.ts'])('%s may', async (file) => {
    expect(await brokenRules(file, `export * from '@tensorflow/tfjs';\n`)).not.toContain('no-restricted-imports');
  });
});

describe('style', () => {
  it('refuses `any` and default exports', async () => {
    const file = 'packages/core/src/index.ts';
    expect(await brokenRules(file, `export const x: any = 1;\n`)).toContain('@typescript-eslint/no-explicit-any');
    expect(await brokenRules(file, `export default 1;\n`)).toContain('no-restricted-syntax');
  });
});
