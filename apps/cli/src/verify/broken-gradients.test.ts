import { join } from 'node:path';
import { Fabric, tf, type RowSparse, type Tensor } from '@tensorloom/core';
import { afterEach, expect, it, vi } from 'vitest';
import { BLOOM_CASES, copyCases, editJson, editTensors, removeFolders } from './fixtures.testing.ts';
import { verify } from './verify.ts';

const BROKEN = 'transformer.h.0.mlp.dense_4h_to_h.weight';
const TIMEOUT_MS = 120_000;

afterEach(() => {
  vi.restoreAllMocks();
  removeFolders();
});

/** `tiny` with nothing but its run of Adam, of 3 steps. */
async function adamOnly(): Promise<string> {
  const folder = copyCases(BLOOM_CASES, ['tiny']);
  editJson(join(folder, 'tiny.json'), (json) => ({
    config: json['config'],
    optimizers: { adam: json['optimizers']?.['adam'] },
  }));
  await tf.setBackend('cpu');
  await editTensors(join(folder, 'tiny.safetensors'), (tensors) => {
    for (const name of tensors.keys()) if (/^(adamw|sgd|accumulate|clip)\//.test(name)) tensors.delete(name);
  });
  return folder;
}

it(
  'a gradient that is zero by mistake in a later step does not excuse the parameters it spoils',
  { timeout: TIMEOUT_MS },
  async () => {
    const reference = await adamOnly();
    expect((await verify({ reference, accelerator: 'wasm' })).passed).toBe(true);
    let calls = 0;
    const backward = Fabric.prototype.backward;
    vi.spyOn(Fabric.prototype, 'backward').mockImplementation(async function (
      this: Fabric,
      ...[model, closure, options]: Parameters<typeof backward>
    ) {
      const result = await backward.call(this, model, closure, options);
      // The first call is for the gradients of micro-batch 0; then come the three steps.
      if (++calls === 4)
        for (const [name, parameter] of model.namedParameters())
          if (name === BROKEN) {
            const grad: Tensor | RowSparse | null = parameter.grad;
            parameter.grad = tf.zerosLike(grad as Tensor);
            (grad as Tensor).dispose();
          }
      return result;
    } as typeof backward);
    const report = await verify({ reference, accelerator: 'wasm' });
    expect(calls).toBe(4);
    expect(report.checks.filter((check) => !check.ok)).toMatchObject([
      { what: 'adam parameters', over: [`adam/${BROKEN}`] },
    ]);
  },
);
