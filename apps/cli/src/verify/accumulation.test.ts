import { join } from 'node:path';
import { Fabric, SGD, tf, toDevice, type Tensor } from '@tensorloom/core';
import { afterEach, expect, it } from 'vitest';
import { readBatches, type CaseBatch } from './case-batches.ts';
import { buildModel } from './case-model.ts';
import { copyCases, editJson, editTensors, FURTHER_CASES, removeFolders } from './fixtures.testing.ts';
import type { ModelCase } from './model-case.ts';
import { closeCases, readReferenceFolder } from './reference-folder.ts';
import { verify } from './verify.ts';

const LR = 0.1;
const TIMEOUT_MS = 120_000;

afterEach(removeFolders);

/** Parameters after one step of SGD on one micro-batch, without any window. */
async function afterOneStep(read: ModelCase, batch: CaseBatch): Promise<Map<string, Float32Array>> {
  const fabric = new Fabric({ accelerator: 'wasm' });
  await fabric.launch();
  const [model, optimizer] = await fabric.setup(
    buildModel(read.config, read.head, read.weights),
    (parameters) => new SGD(parameters, { lr: LR }),
  );
  const inputs = toDevice({ ...batch });
  await fabric.backward(model, () => {
    const { loss, items } = model.forward(inputs);
    if (loss === undefined || items === undefined) throw new Error('no loss');
    return { loss, items };
  });
  await fabric.step(optimizer);
  return new Map([...model.namedParameters()].map(([name, { value }]) => [name, Float32Array.from(value.dataSync())]));
}

it(
  'an accumulated step is the mean of the micro-batches, each loss divided by their number, whatever they count',
  { timeout: TIMEOUT_MS },
  async () => {
    const folder = copyCases(FURTHER_CASES, ['causal-lm-left']);
    const file = (extension: string): string => join(folder, `causal-lm-left.${extension}`);
    editJson(file('json'), (json) => ({
      config: json['config'],
      optimizers: { window: { optimizer: 'sgd', lr: LR, micro_batches_per_step: 2, steps: 1 } },
    }));
    await tf.setBackend('cpu');
    await editTensors(file('safetensors'), (tensors) => {
      for (const name of tensors.keys()) {
        if (/^(adam|grads)\//.test(name)) tensors.delete(name);
      }
      // Micro-batch 1 keeps only two labels of its first row: far fewer than micro-batch 0.
      const labels = tensors.get('inputs/labels') as Tensor;
      const data = labels.dataSync<'int32'>().slice();
      data.fill(-100, data.length / 2);
      data.set([7, 9], data.length / 2 + 12);
      tensors.set('inputs/labels', tf.tensor(data, labels.shape, 'int32'));
    });
    const cases = readReferenceFolder(folder);
    const read = cases[0] as ModelCase;
    const batches = readBatches(read);
    const [first, second] = [
      await afterOneStep(read, batches[0] as CaseBatch),
      await afterOneStep(read, batches[1] as CaseBatch),
    ];
    closeCases(cases);
    await tf.setBackend('cpu');
    await editTensors(file('safetensors'), (tensors) => {
      for (const [name, values] of first) {
        const other = second.get(name) as Float32Array;
        const mean = values.map((value, index) => (value + (other[index] as number)) / 2);
        tensors.set(`window/${name}`, tf.tensor(mean, [...(read.weights.get(name)?.shape ?? [])]));
      }
    });
    const report = await verify({ reference: folder, accelerator: 'wasm' });
    expect(report.checks.map((check) => [check.what, check.over])).toContainEqual(['window parameters', []]);
    expect(report.passed).toBe(true);
  },
);
