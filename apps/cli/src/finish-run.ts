/** The end of a run: evaluation of the trained model, its folder, summary.json and the result on standard output. */
import type { Fabric, FabricDataLoader, FabricModule } from '@tensorloom/core';
import type { TextBatch } from '@tensorloom/data';
import type { BloomForSequenceClassification } from '@tensorloom/models';
import { namedOptions } from './config/resolve.ts';
import type { RunConfig } from './config/schema.ts';
import { evaluate, refuseNonFiniteLogits } from './evaluate.ts';
import { peakMemoryBytes, type RunObserver } from './run/observer.ts';
import type { Progress } from './run/progress.ts';
import type { RunFolder } from './run/run-folder.ts';
import { formatSummary, summarize, writeSummary } from './run/summary.ts';
import type { TrainingState } from './run/training-state.ts';
import type { Watermark } from './run/watermark.ts';
import { saveFinalModel } from './setup/model.ts';
import type { PreparedRun } from './setup/prepare-run.ts';

export interface TrainedRun {
  readonly fabric: Fabric;
  readonly model: FabricModule<BloomForSequenceClassification>;
  readonly prepared: PreparedRun;
  readonly validationBatches: FabricDataLoader<TextBatch>;
  readonly testBatches: FabricDataLoader<TextBatch>;
  readonly config: RunConfig;
  readonly folder: RunFolder;
  readonly state: TrainingState;
  readonly observer: RunObserver;
  readonly progress: Progress;
  readonly elapsedSeconds: () => number;
  readonly parameterCount: number;
  readonly watermark: Watermark;
}

/** All ranks take part; rank zero writes. @throws TensorloomError `NON_FINITE` for a model that predicts nothing */
export async function finishRun(run: TrainedRun): Promise<void> {
  const { fabric, model, prepared, config, folder, state, observer, progress } = run;
  const latest = state.validations.at(-1);
  const validation =
    latest?.step === state.step
      ? latest
      : await evaluate(fabric, model, run.validationBatches, { onBatch: observer.evaluating('validation') });
  const test = await evaluate(fabric, model, run.testBatches, { onBatch: observer.evaluating('test') });
  refuseNonFiniteLogits(test);
  progress.stop();
  await fabric.withWholeModule(model, (whole) => saveFinalModel(folder.model, prepared, whole));
  const byRank = await fabric.allGather(peakMemoryBytes());
  await fabric.flushLogs();
  if (!fabric.isGlobalZero) return;
  const summary = summarize({
    state,
    validation,
    test,
    elapsedSeconds: run.elapsedSeconds(),
    peakMemoryBytes: Math.max(state.peakMemoryBytes, ...byRank),
    peakMemoryBytesByRank: byRank,
    parameterCount: run.parameterCount,
    strategy: config.strategy,
    watermark: run.watermark,
    config: namedOptions(config),
  });
  await writeSummary(folder, summary);
  process.stdout.write(`${formatSummary(summary, folder.path)}\n`);
}
