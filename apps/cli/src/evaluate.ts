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

/** Evaluates in evaluation mode and puts the model back into the mode that it was in. `onBatch` is told the texts done. */
export async function evaluate(
  model: BloomForSequenceClassification,
  batches: AsyncIterable<DeviceBatch>,
  onBatch: (done: number) => void = () => {},
): Promise<EvaluationResult> {
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
      onBatch(total);
      await eventLoopTurn();
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
