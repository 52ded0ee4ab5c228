/** `tensorloom predict`: label and probability of texts. */
import { tf, toDevice } from '@tensorloom/core';
import { textCollator } from '@tensorloom/data';
import type { PartialRunConfig } from './config/schema.ts';
import { UsageError } from './errors.ts';
import { linesAsTheyCome } from './lines-as-they-come.ts';
import { createProgress } from './run/progress.ts';
import { Signals } from './run/signals.ts';
import { openTrainedModel, type TrainedModel } from './setup/trained-model.ts';

export interface PredictRequest {
  readonly model: string;
  /** Empty: the lines of standard input. */
  readonly texts: readonly string[];
  readonly json: boolean;
  readonly flags: PartialRunConfig;
}

export interface Prediction {
  readonly label: string;
  /** Of that label, 0..1. */
  readonly probability: number;
  /** By label name. */
  readonly probabilities: Readonly<Record<string, number>>;
}

export async function predict(request: PredictRequest): Promise<void> {
  const signals = new Signals().listen();
  if (request.texts.length === 0 && process.stdin.isTTY === true)
    throw new UsageError('No text to predict: give texts as arguments, or lines on standard input.');
  const { trained } = await openTrainedModel(request.model, request.flags, createProgress({ quiet: true }));
  const batchSize = request.flags.evalBatchSize ?? 32;
  const batches =
    request.texts.length > 0 ? inBatches(request.texts, batchSize) : linesAsTheyCome(process.stdin, batchSize);
  for await (const texts of batches) {
    const predictions = await predictTexts(trained, texts);
    for (const [row, prediction] of predictions.entries())
      process.stdout.write(`${formatPrediction(texts[row] as string, prediction, request.json)}\n`);
  }
  signals.close();
}

/** One prediction per text. */
async function predictTexts(trained: TrainedModel, texts: readonly string[]): Promise<Prediction[]> {
  const encoded = await trained.tokenizer.encodeBatch(texts, { maxLength: trained.maxLength });
  const collate = textCollator({ ...trained.padding, maxLength: trained.maxLength });
  const { inputIds, attentionMask } = collate(encoded.map((ids) => ({ ids, label: 0 })));
  const probabilities = tf.tidy(() => tf.softmax(trained.model.forward(toDevice({ inputIds, attentionMask })).logits));
  const values = await probabilities.data();
  probabilities.dispose();
  const width = trained.labelNames.length;
  return texts.map((_, row) =>
    toPrediction(trained.labelNames, Array.from(values.slice(row * width, (row + 1) * width))),
  );
}

function toPrediction(labelNames: readonly string[], probabilities: readonly number[]): Prediction {
  const best = probabilities.indexOf(Math.max(...probabilities));
  return {
    label: labelNames[best] ?? String(best),
    probability: probabilities[best] ?? Number.NaN,
    probabilities: Object.fromEntries(labelNames.map((name, index) => [name, probabilities[index] ?? Number.NaN])),
  };
}

function formatPrediction(text: string, prediction: Prediction, json: boolean): string {
  if (json) return JSON.stringify({ text, ...prediction });
  return `${prediction.label}\t${prediction.probability.toFixed(4)}\t${text.replaceAll(/[\t\n\r]/g, ' ')}`;
}

function* inBatches(texts: readonly string[], size: number): Generator<readonly string[]> {
  for (let start = 0; start < texts.length; start += size) yield texts.slice(start, start + size);
}
