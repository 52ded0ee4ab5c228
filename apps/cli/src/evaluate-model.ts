/** `tensorloom evaluate`: accuracy of a trained model on one part of a data set, which ranks share where there are several. */
import { TensorloomError } from '@tensorloom/core';
import { resolveConfig } from './config/resolve.ts';
import type { PartialRunConfig } from './config/schema.ts';
import { evaluate, refuseNonFiniteLogits } from './evaluate.ts';
import { formatAccuracy, formatCount } from './run/format.ts';
import { createProgress } from './run/progress.ts';
import { Signals } from './run/signals.ts';
import { openSource, tokenizeSource } from './setup/data.ts';
import { createEvaluationLoader, evaluated } from './setup/loaders.ts';
import { openTrainedModel, recordedOptions } from './setup/trained-model.ts';

export interface EvaluateRequest {
  readonly model: string;
  readonly part: 'train' | 'validation' | 'test';
  readonly json: boolean;
  readonly flags: PartialRunConfig;
}

/** Options of the data set come from the run folder, where the model is in one; flags win. */
export async function evaluateModel(request: EvaluateRequest): Promise<void> {
  const signals = new Signals().listen();
  const recorded = recordedOptions(request.model);
  const sameData = request.flags.data === undefined || request.flags.data === recorded.data;
  const fromRun: PartialRunConfig = sameData ? pickDataOptions(recorded) : {};
  const { config } = resolveConfig({ flags: { ...fromRun, ...request.flags } });
  const progress = createProgress({ quiet: config.quiet || request.json });

  const source = await openSource(config, progress);
  const { fabric, trained } = await openTrainedModel(request.model, request.flags, progress);
  const data = await tokenizeSource(source, trained.tokenizer, trained.maxLength, progress);
  requireSameLabels(trained.labelNames, data.labelNames, data.name);
  const part = evaluated(data[request.part], config);
  const loader = createEvaluationLoader(
    part,
    { evalBatchSize: config.evalBatchSize, maxLength: trained.maxLength },
    trained.padding,
  );
  const batches = fabric.setupDataLoader(loader, { training: false });
  const started = performance.now();
  const onBatch = (done: number): void =>
    progress.counting(`evaluating ${request.part}`, Math.min(part.length, done * fabric.worldSize), part.length);
  const result = await evaluate(fabric, trained.model, batches, { onBatch });
  refuseNonFiniteLogits(result);
  const seconds = (performance.now() - started) / 1000;
  progress.stop();
  if (fabric.isGlobalZero)
    process.stdout.write(
      request.json
        ? `${JSON.stringify({ data: data.name, part: request.part, ...result, seconds, accelerator: fabric.accelerator.name })}\n`
        : `${request.part} accuracy of ${data.name}: ${formatAccuracy(result.accuracy)} (${formatCount(result.correct)} of ${formatCount(result.total)}) in ${seconds.toFixed(1)} s\n`,
    );
  await fabric.close();
  signals.close();
}

function pickDataOptions(recorded: PartialRunConfig): PartialRunConfig {
  const { data, dataPath, split, textField, labelField, evalBatchSize } = recorded;
  const options = { data, dataPath, split, textField, labelField, evalBatchSize };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** Label 1 of the model must be label 1 of the data. Models without names (LABEL_0, …) are taken to agree. */
function requireSameLabels(model: readonly string[], data: readonly string[], name: string): void {
  const unnamed = model.every((label, index) => label === `LABEL_${index}`);
  if (model.length === data.length && (unnamed || model.every((label, index) => label === data[index]))) return;
  throw new TensorloomError(
    'BAD_DATA',
    `The model tells apart [${model.join(', ')}], but ${name} has the labels [${data.join(', ')}].`,
  );
}
