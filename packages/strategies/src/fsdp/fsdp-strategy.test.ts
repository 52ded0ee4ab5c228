import { Fabric, strategies } from '@tensorloom/core';
import { describe, expect, it } from 'vitest';
import { SMALL, Stack, stackBatch } from './fsdp-model.testing.ts';
import { FsdpStrategy } from './fsdp-strategy.ts';

describe('the strategy fsdp', () => {
  it('is for several devices, and refuses options that it does not know or that are out of range', () => {
    expect(strategies.get('fsdp').reach).toBe('multi');
    expect(() => new FsdpStrategy({ acumulate: 2 } as object)).toThrow(/no option 'acumulate'.*reduceEachMicroBatch/);
    expect(() => new FsdpStrategy({ parameterStorage: 'int8' } as object)).toThrow(
      /must be float32, float16 or bfloat16/,
    );
    expect(() => new FsdpStrategy({ prefetch: 1 } as object)).toThrow(/must be true or false/);
  });

  it('needs a launched Fabric and a module that was set up', async () => {
    const strategy = new FsdpStrategy();
    await expect(strategy.joinEvaluation()).rejects.toThrow(/not set up/);
    const fabric = new Fabric({ accelerator: 'cpu', strategy, devices: 1 });
    await fabric.launch();
    const module = new Stack(SMALL);
    expect(() => strategy.backward(module, () => module.forward(stackBatch(SMALL, 0)), { endOfEpoch: false })).toThrow(
      /Stack was not set up/,
    );
    module.dispose();
  });

  it('takes units of the user', async () => {
    const names: string[] = [];
    const strategy = new FsdpStrategy({}, (_module, name) => {
      names.push(name);
      return name === 'h.0.up';
    });
    const fabric = new Fabric({ accelerator: 'cpu', strategy, devices: 1 });
    await fabric.launch();
    const module = await fabric.setupModule(new Stack(SMALL));
    const { logits, loss } = module.forward(stackBatch(SMALL, 0));
    expect(names).toContain('h.0.up');
    expect(logits.shape).toEqual([1, 3]);
    logits.dispose();
    loss.dispose();
    module.dispose();
  });
});
