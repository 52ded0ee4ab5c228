/** Runs a train-run case: the whole fine-tuning run, with the loaders, strategy and optimizer that training uses. */
import { tf, toDevice } from '@tensorloom/core';
import { DataLoader, textCollator, type TextBatch, type TokenizedText } from '@tensorloom/data';
import { RUN_BOUNDS, RUN_FIRST, RUN_LAST } from './bounds.ts';
import {
  buildModel,
  buildOptimizer,
  FLOAT32,
  launchFabric,
  runMicroBatch,
  type CaseModel,
  type VerifyDevice,
} from './case-model.ts';
import { Comparison, type Check } from './comparison.ts';
import type { Reviews, TrainRunCase } from './train-run-case.ts';

/** Micro-batches between two lines of progress. */
const PROGRESS_EVERY = 60;

export async function runTrainRunCase(
  read: TrainRunCase,
  device: VerifyDevice,
  progress: (line: string) => void,
): Promise<Check[]> {
  const { json } = read;
  const bounds = RUN_BOUNDS[(device.precision ?? FLOAT32) === FLOAT32 ? 'float32' : 'halves'];
  const comparisons: Comparison[] = [];
  const fabric = await launchFabric(device, json.accumulate);
  const [model, optimizer] = await fabric.setup(buildModel(read.config, 'classification', read.weights), (parameters) =>
    buildOptimizer(json.optimizer.name, json.optimizer, parameters),
  );
  const evaluate = async (key: 'eval_accuracy_before' | 'eval_accuracy_after'): Promise<void> => {
    const expected = json[key];
    if (read.evaluation === undefined || expected === undefined) return;
    const comparison = new Comparison(read.name, key.replaceAll('_', ' '));
    comparison.value(key, await accuracyOf(model, read.evaluation, read), expected, bounds.accuracy);
    comparisons.push(comparison);
  };
  await evaluate('eval_accuracy_before');
  const losses: number[] = [];
  for await (const batch of loader(read.training, json.micro_batch, read.padId)) {
    if (losses.length === json.losses.length) break;
    const loss = await runMicroBatch(fabric, model, batch);
    await fabric.step(optimizer, {
      ...(json.optimizer.max_norm === undefined ? {} : { clipNorm: json.optimizer.max_norm }),
      ...(json.optimizer.max_value === undefined ? {} : { clipValue: json.optimizer.max_value }),
    });
    losses.push(loss);
    if (losses.length % PROGRESS_EVERY === 0)
      progress(`${read.name}: ${losses.length} of ${json.losses.length} micro-batches, loss ${loss.toFixed(4)}`);
  }
  comparisons.push(...compareLosses(read, losses, bounds));
  await evaluate('eval_accuracy_after');
  optimizer.dispose();
  model.dispose();
  return comparisons.flatMap((comparison) => comparison.check() ?? []);
}

function compareLosses(
  read: TrainRunCase,
  losses: readonly number[],
  bounds: { readonly first: number; readonly last: number },
): Comparison[] {
  const { losses: expected } = read.json;
  const first = new Comparison(read.name, `losses, first ${Math.min(RUN_FIRST, expected.length)}`);
  for (const [index, reference] of expected.slice(0, RUN_FIRST).entries())
    first.value(`losses[${index}]`, losses[index] ?? NaN, reference, bounds.first);
  const count = Math.min(RUN_LAST, expected.length);
  const last = new Comparison(read.name, `mean loss, last ${count}`);
  last.value(`losses[-${count}..]`, mean(losses.slice(-count)), mean(expected.slice(-count)), bounds.last);
  return [first, last];
}

/** The share of reviews whose largest logit is that of their label. */
async function accuracyOf(model: CaseModel, reviews: Reviews, read: TrainRunCase): Promise<number> {
  model.eval();
  let correct = 0;
  for await (const batch of loader(reviews, read.json.eval_batch, read.padId)) {
    const { labels, inputIds, attentionMask } = toDevice({
      labels: batch.labels,
      inputIds: batch.inputIds,
      attentionMask: batch.attentionMask,
    });
    const predicted = tf.tidy(() => tf.argMax(model.forward({ inputIds, attentionMask }).logits, 1));
    const [actual, wanted] = [predicted.dataSync(), labels.dataSync()];
    for (let i = 0; i < wanted.length; i++) correct += Number(wanted[i] === actual[i]);
    tf.dispose([predicted, labels, inputIds, attentionMask]);
  }
  model.train();
  return correct / reviews.labels.length;
}

/** Reviews in the case's order, padded on the right to the longest of each micro-batch. */
function loader(reviews: Reviews, batchSize: number, padId: number): DataLoader<TokenizedText, TextBatch> {
  const dataSet = {
    length: reviews.ids.length,
    get: (index: number): TokenizedText => ({
      ids: reviews.ids[index] as Int32Array,
      label: reviews.labels[index] as number,
    }),
  };
  return new DataLoader<TokenizedText, TextBatch>(dataSet, { batchSize, collate: textCollator({ padId }) });
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
