import { afterEach, describe, expect, it } from 'vitest';
import { tf } from '../tensors.ts';
import { accelerators, type Accelerator } from './accelerator.ts';
import { acceleratorsByPriority, selectAccelerator } from './select.ts';

const requireTensorflow = process.env['TENSORLOOM_REQUIRE_TENSORFLOW'] === '1';

afterEach(async () => {
  await tf.setBackend('cpu');
});

function fake(name: string, unavailable: string | null, storages: Accelerator['storages'] = ['float32']): Accelerator {
  return {
    name,
    storages,
    unavailable: () => Promise.resolve(unavailable),
    deviceCount: () => 1,
    activate: () => Promise.resolve(),
    describe: () => name,
    memory: () => ({ currentBytes: 0, tensorCount: 0 }),
  };
}

describe.each(['cpu', 'wasm', 'tensorflow'])('accelerator %s', (name) => {
  it('computes, and says what it runs on', async ({ skip }) => {
    const accelerator = accelerators.get(name).create();
    const reason = await accelerator.unavailable();
    if (reason !== null && name === 'tensorflow' && !requireTensorflow) {
      console.log(`accelerator tensorflow is not tested here: ${reason}`);
      skip();
    }
    expect(reason).toBeNull();
    await accelerator.activate({ deviceIndex: 0, threads: 2 });
    expect(tf.getBackend()).toBe(name);
    const product = tf.tidy(() => tf.matMul(tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([5, 6, 7, 8], [2, 2])));
    expect([...(await product.data())]).toEqual([19, 22, 43, 50]);
    expect(accelerator.memory().tensorCount).toBeGreaterThan(0);
    product.dispose();
    expect(accelerator.deviceCount()).toBe(1);
    expect(accelerator.describe()).toMatch(/\d+\.\d+\.\d+.*(core|GPU)/);
    expect(accelerator.storages).toEqual(['float32']);
  });
});

describe('selectAccelerator', () => {
  it('takes a name or an instance', async () => {
    expect((await selectAccelerator('wasm')).accelerator.name).toBe('wasm');
    const own = fake('own', null);
    expect((await selectAccelerator(own)).accelerator).toBe(own);
  });

  it('lists what exists for an unknown name and suggests the nearest', async () => {
    await expect(selectAccelerator('tensorflw')).rejects.toThrow(
      /Unknown accelerator 'tensorflw'. Did you mean 'tensorflow'\? Known: .*cpu.*wasm.*tensorflow/,
    );
  });

  it('refuses what was asked for and cannot be used, with the reason', async () => {
    await expect(selectAccelerator(fake('own', 'no such card.'))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('no such card'),
    });
  });

  it('auto takes the highest priority that is there and says what it passed over', async () => {
    accelerators.register('first-choice', { priority: 1000, create: () => fake('first-choice', 'not plugged in.') });
    accelerators.register('second-choice', { priority: 999, create: () => fake('second-choice', null) });
    expect(acceleratorsByPriority().slice(0, 2)).toEqual(['first-choice', 'second-choice']);
    const { accelerator, automatic, skipped } = await selectAccelerator('auto');
    expect(accelerator.name).toBe('second-choice');
    expect(automatic).toBe(true);
    expect(skipped).toEqual([{ name: 'first-choice', reason: 'not plugged in.' }]);
  });

  it('auto passes over accelerators without the storage that the precision needs', async () => {
    await expect(selectAccelerator('auto', ['float64'])).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('cpu: it does not store float64'),
    });
  });
});
