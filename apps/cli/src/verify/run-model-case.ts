/** Runs a model case: forward and gradients of micro-batch 0, then each optimizer run, through Fabric as a user would. */
import { RowSparse, tf, toDevice, type Fabric, type Parameter, type StoredTensor } from '@tensorloom/core';
import { activationBound, gradientBound, lossBound } from './bounds.ts';
import { readBatches, type CaseBatch } from './case-batches.ts';
import { buildModel, launchFabric, type VerifyDevice } from './case-model.ts';
import { Comparison, largest, type Check } from './comparison.ts';
import type { ModelCase } from './model-case.ts';
import { runOptimizerSection } from './run-optimizer.ts';

/** All checks of the case, in the order of the format. */
export async function runModelCase(read: ModelCase, device: VerifyDevice): Promise<Check[]> {
  const batches = readBatches(read);
  const first = batches[0] as CaseBatch;
  const comparisons = runForward(read, first, await launchFabric(device, 1));
  const wantsGradients = first.labels !== undefined;
  const gradients = wantsGradients ? await gradientsOf(read, first, device, comparisons) : new Map<string, Float32Array>();
  for (const section of read.optimizers) comparisons.push(...(await runOptimizerSection(read, section, batches, gradients, device)));
  return comparisons.flatMap((comparison) => comparison.check() ?? []);
}

/** Logits and last hidden state, without recording. */
function runForward(read: ModelCase, batch: CaseBatch, fabric: Fabric): Comparison[] {
  const names = [...read.tensors.group('forward').keys()];
  if (names.length === 0) return [];
  const model = buildModel(read.config, read.head, read.weights);
  const comparisons = tf.tidy(() => {
    const { inputIds, attentionMask } = toDevice({ inputIds: batch.inputIds, attentionMask: batch.attentionMask });
    return fabric.autocast(() =>
      names.sort().map((name) => {
        const result = name === 'logits' ? model.forward({ inputIds, attentionMask }).logits : model.transformer.forward(inputIds, attentionMask);
        const expected = read.tensors.read(`forward/${name}`).data;
        const comparison = new Comparison(read.name, name.replaceAll('_', ' '));
        comparison.tensor(`forward/${name}`, result.dataSync(), expected, activationBound(largest(expected)));
        return comparison;
      }),
    );
  });
  model.dispose();
  return comparisons;
}

/** The gradient of each parameter for micro-batch 0 (mean over its items); compared where the case has references. */
async function gradientsOf(read: ModelCase, batch: CaseBatch, device: VerifyDevice, comparisons: Comparison[]): Promise<Map<string, Float32Array>> {
  // A window of two stays open after one micro-batch, so that its gradients can be looked at.
  const fabric = await launchFabric(device, 2);
  const model = fabric.setupModule(buildModel(read.config, read.head, read.weights));
  const inputs = toDevice(batch);
  let items = 0;
  const { loss } = await fabric.backward(model, () => {
    const output = model.forward(inputs as never);
    items = output.items ?? 1;
    return output as { loss: typeof output.loss & object; items: number };
  });
  const gradients = new Map([...model.namedParameters()].map(([name, parameter]) => [name, readGradient(parameter, items)]));
  tf.dispose(inputs as never);
  model.dispose();
  const expectedLoss = read.json.scalars['loss'];
  if (typeof expectedLoss === 'number') {
    const comparison = new Comparison(read.name, 'loss');
    comparison.value('scalars.loss', loss, expectedLoss, lossBound(expectedLoss));
    comparisons.push(comparison);
  }
  const references = read.tensors.parameterGroup('grads');
  if (references.size > 0) comparisons.push(compareGradients(read.name, gradients, references));
  return gradients;
}

function compareGradients(caseName: string, gradients: ReadonlyMap<string, Float32Array>, references: ReadonlyMap<string, StoredTensor>): Comparison {
  const comparison = new Comparison(caseName, 'gradients');
  const expected = [...references].map(([name, tensor]) => [name, tensor.read().data] as const);
  const largestOfModel = Math.max(...expected.map(([, data]) => largest(data)));
  for (const [name, data] of expected) comparison.tensor(`grads/${name}`, gradients.get(name) ?? [], data, gradientBound(largest(data), largestOfModel));
  return comparison;
}

/** A parameter's gradient as a dense array; zeros where it took no part. Gradients are sums over items until the step. */
function readGradient(parameter: Parameter, items: number): Float32Array {
  const { grad } = parameter;
  const dense = new Float32Array(parameter.size);
  if (grad === null) return dense;
  if (!(grad instanceof RowSparse)) return Float32Array.from(grad.dataSync(), (value) => value / items);
  const width = grad.shape[1];
  const rows = grad.rows.dataSync();
  grad.indices.forEach((row, i) => {
    for (let column = 0; column < width; column++) dense[row * width + column] = (rows[i * width + column] as number) / items;
  });
  return dense;
}
