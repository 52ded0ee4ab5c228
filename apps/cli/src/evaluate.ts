/** Accuracy over one part of a data set, with exact counts over all ranks. Nothing is recorded for gradients. */
import { TensorloomError, tf, type Fabric, type OnDevice, type Tensor } from '@tensorloom/core';
import type { TextBatch } from '@tensorloom/data';
import type { BloomForSequenceClassification } from '@tensorloom/models';

export type DeviceBatch = OnDevice<TextBatch>;

export interface EvaluationResult {
  readonly correct: number;
  readonly total: number;
  /** correct / total; NaN for an empty part */
  readonly accuracy: number;
  /** Whether all logits were. */
  readonly finite: boolean;
}

export interface EvaluateOptions {
  /** Told the texts that this rank has done after each batch. */
  readonly onBatch?: (done: number) => void;
  /** Asked after each batch, by its number from 1: true ends the evaluation without a result, and must do so on all ranks. */
  readonly stop?: (batches: number) => Promise<boolean>;
}

/** Adds up numbers over all ranks. */
export type Summing = Pick<Fabric, 'allReduce'>;

/** Evaluates in evaluation mode and puts the model back into the mode that it was in. Undefined where `stop` ended it. */
export async function evaluate(
  fabric: Summing,
  model: BloomForSequenceClassification,
  batches: AsyncIterable<DeviceBatch>,
  options: EvaluateOptions & { readonly stop: (batches: number) => Promise<boolean> },
): Promise<EvaluationResult | undefined>;
export async function evaluate(
  fabric: Summing,
  model: BloomForSequenceClassification,
  batches: AsyncIterable<DeviceBatch>,
  options?: Omit<EvaluateOptions, 'stop'>,
): Promise<EvaluationResult>;
export async function evaluate(
  fabric: Summing,
  model: BloomForSequenceClassification,
  batches: AsyncIterable<DeviceBatch>,
  options: EvaluateOptions = {},
): Promise<EvaluationResult | undefined> {
  const wasTraining = model.training;
  model.eval();
  let correct = 0;
  let total = 0;
  let finite = true;
  let count = 0;
  try {
    for await (const batch of batches) {
      const { logits } = model.forward({ inputIds: batch.inputIds, attentionMask: batch.attentionMask });
      finite &&= (await logits.data()).every(Number.isFinite);
      correct += await countCorrect(logits, batch.labels);
      logits.dispose();
      total += batch.items;
      options.onBatch?.(total);
      await eventLoopTurn();
      if ((await options.stop?.(++count)) === true) return undefined;
    }
  } finally {
    model.train(wasTraining);
  }
  const all = await fabric.allReduce({ correct, total, notFinite: finite ? 0 : 1 }, 'sum');
  return { correct: all.correct, total: all.total, accuracy: all.correct / all.total, finite: all.notFinite === 0 };
}

/** @throws TensorloomError `NON_FINITE` if a logit was not finite: such a model predicts nothing, whatever its accuracy */
export function refuseNonFiniteLogits({ finite }: EvaluationResult): void {
  if (!finite)
    throw new TensorloomError(
      'NON_FINITE',
      'The model gives logits that are NaN or infinite: its weights are spoiled. If a training run made them so, lower --lr, set --clip-norm or raise --warmup-steps.',
    );
}

/** How many rows of `logits` [batch, labels] have their largest value at the label [batch]. */
export async function countCorrect(logits: Tensor, labels: Tensor): Promise<number> {
  const predicted = tf.tidy(() => tf.argMax(logits, 1));
  const [rows, expected] = await Promise.all([predicted.data(), labels.data()]);
  predicted.dispose();
  let correct = 0;
  for (let row = 0; row < expected.length; row++) if (rows[row] === expected[row]) correct++;
  return correct;
}

/** Lets signals, timers and input have their turn: tensor work is synchronous and would keep them waiting. */
export function eventLoopTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
