/** Accuracy over one part of a data set, with exact counts. Nothing is recorded for gradients. */
import { tf, type OnDevice, type Tensor } from '@tensorloom/core';
import type { TextBatch } from '@tensorloom/data';
import type { BloomForSequenceClassification } from '@tensorloom/models';

export type DeviceBatch = OnDevice<TextBatch>;

export interface EvaluationResult {
  readonly correct: number;
  readonly total: number;
  /** correct / total; NaN for an empty part */
  readonly accuracy: number;
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
  try {
    for await (const batch of batches) {
      const { logits } = model.forward({ inputIds: batch.inputIds, attentionMask: batch.attentionMask });
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
  return { correct, total, accuracy: correct / total };
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
