/** Accuracy over one part of a data set, with exact counts. Nothing is recorded for gradients. */
import { TensorloomError, tf, type OnDevice, type Tensor } from '@tensorloom/core';
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
  /** Told the texts done after each batch. */
  readonly onBatch?: (done: number) => void;
  /** Asked after each batch: true ends the evaluation without a result. */
  readonly stop?: () => boolean;
}

/** Evaluates in evaluation mode and puts the model back into the mode that it was in. Undefined where `stop` ended it. */
export async function evaluate(
  model: BloomForSequenceClassification,
  batches: AsyncIterable<DeviceBatch>,
  options: EvaluateOptions & { readonly stop: () => boolean },
): Promise<EvaluationResult | undefined>;
export async function evaluate(
  model: BloomForSequenceClassification,
  batches: AsyncIterable<DeviceBatch>,
  options?: Omit<EvaluateOptions, 'stop'>,
): Promise<EvaluationResult>;
export async function evaluate(
  model: BloomForSequenceClassification,
  batches: AsyncIterable<DeviceBatch>,
  options: EvaluateOptions = {},
): Promise<EvaluationResult | undefined> {
  const wasTraining = model.training;
  model.eval();
  let correct = 0;
  let total = 0;
  let finite = true;
  try {
    for await (const batch of batches) {
      const { logits } = model.forward({ inputIds: batch.inputIds, attentionMask: batch.attentionMask });
      finite &&= (await logits.data()).every(Number.isFinite);
      correct += await countCorrect(logits, batch.labels);
      logits.dispose();
      total += batch.items;
      options.onBatch?.(total);
      await eventLoopTurn();
      if (options.stop?.() === true) return undefined;
    }
  } finally {
    model.train(wasTraining);
  }
  return { correct, total, accuracy: correct / total, finite };
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
