import { accelerators, type Accelerator } from '@tensorloom/core';
import { NativeAccelerator } from '@tensorloom/native';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { resolveConfig } from '../config/resolve.ts';
import type { PartialRunConfig } from '../config/schema.ts';
import { launchFabric } from './fabric.ts';

const notBuilt = 'its addon is not built. Cargo builds it.';

async function refusal(flags: PartialRunConfig): Promise<string> {
  const { config } = resolveConfig({ flags });
  const error: unknown = await launchFabric(config, []).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'UNSUPPORTED' });
  return (error as Error).message;
}

describe('--compile where the addon of native is not built', () => {
  beforeEach(() => {
    vi.spyOn(NativeAccelerator.prototype, 'unavailable').mockResolvedValue(notBuilt);
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  test('under --accelerator=auto names the flag, who has a compiler, and how to get it', async () => {
    expect((await refusal({ compile: true })).split('\n')).toEqual([
      '--compile: the accelerator that auto takes here has no compiler.',
      `Accelerator 'native' has one, but cannot be used: ${notBuilt}`,
      'Or leave out --compile (where a preset brings it: --no-compile).',
    ]);
  });

  test('under an accelerator without a compiler says the same of it', async () => {
    expect((await refusal({ compile: true, accelerator: 'cpu' })).split('\n')).toEqual([
      "--compile: accelerator 'cpu' has no compiler.",
      `Accelerator 'native' has one, but cannot be used: ${notBuilt}`,
      'Or leave out --compile (where a preset brings it: --no-compile).',
    ]);
  });

  test('tells what else is not there besides', async () => {
    const told = await refusal({ compile: true, precision: '16-mixed' });
    expect(told).toMatch(
      /^Precision '16-mixed': No accelerator can be used:[^]*\n--compile: the accelerator[^]*Or leave out --compile/,
    );
  });

  test('under --accelerator=native says what native lacks', async () => {
    expect(await refusal({ compile: true, accelerator: 'native' })).toBe(
      `Accelerator 'native' cannot be used: ${notBuilt}`,
    );
  });

  test('without the flag, auto takes another accelerator', async () => {
    const { config } = resolveConfig({ flags: {} });
    const fabric = await launchFabric(config, []);
    expect(fabric.accelerator.name).not.toBe('native');
    await fabric.close();
  });
});

test('--compile under an accelerator without a compiler names the one that has it and can be used', async () => {
  const cpu = accelerators.get('cpu').create();
  const able = { ...cpu, name: 'able', unavailable: async () => null, compileBlock: () => expect.fail() };
  accelerators.register('able', { priority: 0, create: () => able as unknown as Accelerator });
  expect(await refusal({ compile: true, accelerator: 'cpu' })).toMatch(
    /^--compile: accelerator 'cpu' has no compiler\.\n[^]*--accelerator=able has one\.\nOr leave out --compile/,
  );
});
