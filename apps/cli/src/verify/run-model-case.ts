/** Runs a model case: forward and gradients of micro-batch 0, then each optimizer run, through Fabric as a user would. */
import { tf, toDevice, type StoredTensor } from '@tensorloom/core';
import { activationBound, gradientBound, lossBound } from './bounds.ts';
import { readBatches, type CaseBatch } from './case-batches.ts';
import { buildModel, launchFabric, runMicroBatch, type VerifyDevice } from './case-model.ts';
import { Comparison, largest, type Check } from './comparison.ts';
import { readGradient } from './gradients.ts';
import type { ModelCase } from './model-case.ts';
import { runOptimizerSection } from './run-optimizer.ts';

/** All checks of the case, in the order of the format. */
export async function runModelCase(read: ModelCase, device: VerifyDevice): Promise<Check[]> {
  const batches = readBatches(read);
  const first = batches[0] as CaseBatch;
  const comparisons = await runForward(read, first, device);
  const gradients =
    first.labels !== undefined ? await gradientsOf(read, first, device, comparisons) : new Map<string, Float32Array>();
  for (const section of read.optimizers)
    comparisons.push(...(await runOptimizerSection(read, section, batches, gradients, device)));
  return comparisons.flatMap((comparison) => comparison.check() ?? []);
}

/** Logits and last hidden state, without recording. */
async function runForward(read: ModelCase, batch: CaseBatch, device: VerifyDevice): Promise<Comparison[]> {
  const names = [...read.tensors.group('forward').keys()].sort();
  if (names.length === 0) return [];
  const fabric = await launchFabric(device, 1);
  const raw = buildModel(read.config, read.head, read.weights);
  const model = await fabric.setupModule(raw);
  const { inputIds, attentionMask } = toDevice({ inputIds: batch.inputIds, attentionMask: batch.attentionMask });
  const compare = (name: string): Comparison => {
    const result = tf.tidy(() =>
      name === 'logits'
        ? model.forward({ inputIds, attentionMask }).logits
        : fabric.autocast(() => raw.transformer.forward(inputIds, attentionMask)),
    );
    const expected = read.tensors.read(`forward/${name}`).data;
    const comparison = new Comparison(read.name, name.replaceAll('_', ' '));
    comparison.tensor(`forward/${name}`, result.dataSync(), expected, activationBound(largest(expected)));
    result.dispose();
    return comparison;
  };
  const comparisons = names.map(compare);
  tf.dispose([inputIds, attentionMask]);
  raw.dispose();
  return comparisons;
}

/** The gradient of each parameter for micro-batch 0; compared where the case has references. */
async function gradientsOf(
  read: ModelCase,
  batch: CaseBatch,
  device: VerifyDevice,
  comparisons: Comparison[],
): Promise<Map<string, Float32Array>> {
  // A window of two stays open after one micro-batch, so that its gradients can be looked at.
  const fabric = await launchFabric(device, 2);
  const model = await fabric.setupModule(buildModel(read.config, read.head, read.weights));
  const loss = await runMicroBatch(fabric, model, batch);
  const gradients = new Map(
    [...model.namedParameters()].map(([name, parameter]) => [name, readGradient(parameter, 1)]),
  );
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

function compareGradients(
  caseName: string,
  gradients: ReadonlyMap<string, Float32Array>,
  references: ReadonlyMap<string, StoredTensor>,
): Comparison {
  const comparison = new Comparison(caseName, 'gradients');
  const expected = [...references].map(([name, tensor]) => [name, tensor.read().data] as const);
  const largestOfModel = Math.max(...expected.map(([, data]) => largest(data)));
  for (const [name, data] of expected)
    comparison.tensor(`grads/${name}`, gradients.get(name) ?? [], data, gradientBound(largest(data), largestOfModel));
  return comparison;
}
