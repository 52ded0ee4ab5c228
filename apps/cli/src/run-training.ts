/** `tensorloom train`: puts a run together, hands it to the loop in train.ts, evaluates, saves and reports. */
import {
  CsvLogger,
  pruneCheckpoints,
  TensorloomError,
  type CheckpointState,
  type Fabric,
  type JsonObject,
} from '@tensorloom/core';
import { namedOptions, type ResolvedConfig } from './config/resolve.ts';
import { flagName, optionKeys } from './config/schema.ts';
import { evaluate, refuseNonFiniteLogits } from './evaluate.ts';
import { exitCodes } from './exit-codes.ts';
import { checkpointName, microBatchesOf, newestWholeCheckpoint } from './run/checkpoints.ts';
import { createRunFolder, discardAtExit, writeConfig } from './run/create-run-folder.ts';
import { refuseNonFiniteEnd } from './run/non-finite.ts';
import { peakMemoryBytes, RunObserver } from './run/observer.ts';
import { createProgress, type Progress } from './run/progress.ts';
import type { ResumedRun } from './run/resume.ts';
import { exitCodeOf, Signals } from './run/signals.ts';
import { formatSummary, summarize, writeSummary } from './run/summary.ts';
import { TrainingState } from './run/training-state.ts';
import { createWatermark, formatWatermark } from './run/watermark.ts';
import { launchFabric } from './setup/fabric.ts';
import { saveFinalModel } from './setup/model.ts';
import { createOptimizer, createSchedule } from './setup/optimizer.ts';
import { findInputs, prepareRun } from './setup/prepare-run.ts';
import { runLength } from './setup/run-length.ts';
import { train } from './train.ts';

/** A run to start, or, with a folder, one to go on with. */
export type TrainRequest = { readonly resolved: ResolvedConfig; readonly folder?: never } | ResumedRun;

/** Returns the exit code. @throws UsageError, TensorloomError */
export async function runTraining(request: TrainRequest): Promise<number> {
  const started = performance.now();
  const { resolved } = request;
  const progress = createProgress(resolved.config);
  const signals = new Signals(() => progress.stop()).listen();

  // Mistakes are told before anything else, and a run that ends before it trains leaves no folder.
  const folder = request.folder ?? (await createRunFolder(resolved, new Date()));
  const keepFolder = request.folder === undefined ? discardAtExit(folder) : () => {};
  const checkpoint = request.folder === undefined ? undefined : await newestWholeCheckpoint(folder, progress);
  const logger = new CsvLogger({
    folder: folder.path,
    stepColumn: 'micro_batch',
    resumeAtStep: checkpoint === undefined ? 0 : microBatchesOf(checkpoint),
  });
  const fabric = await launchFabric(resolved.config, [logger]);
  const config = { ...resolved.config, accelerator: fabric.accelerator.name };
  const inputs = await findInputs(config, progress);
  if (checkpoint === undefined) await writeConfig(folder, { ...resolved, config });
  const watermark = createWatermark(fabric.accelerator, config.precision);
  progress.line(formatWatermark(watermark));
  describeOptions({ ...resolved, config }, progress);

  fabric.seedEverything(config.seed);
  const prepared = await prepareRun(inputs, config, folder, progress);
  if (config.compile) fabric.accelerator.compile?.(prepared.model);
  const [model, optimizer] = await fabric.setup(prepared.model, (parameters) => createOptimizer(config, parameters));
  const { trainLoader } = prepared;
  const length = runLength(trainLoader.length as number, config);
  const schedule = createSchedule(config, optimizer, length.steps);
  const trainBatches = fabric.setupDataLoader(trainLoader);
  const validationBatches = fabric.setupDataLoader(prepared.validationLoader, { training: false });
  const testBatches = fabric.setupDataLoader(prepared.testLoader, { training: false });
  const parameterCount = model.parameterCount();
  progress.line(
    `model ${config.model}: ${parameterCount.toLocaleString('en-US')} parameters | ${length.steps} steps, ${length.microBatches} micro-batches | run folder ${folder.path}`,
  );

  const stateful = { model, optimizer, schedule, loader: trainBatches };
  const state =
    checkpoint === undefined
      ? new TrainingState()
      : await restore(fabric, checkpoint, stateful, prepared.dataDigest, progress);
  // Other options of a run that is resumed are recorded only once it is known that it can go on with them.
  if (checkpoint !== undefined) await writeConfig(folder, { ...resolved, config });
  const secondsBefore = state.secondsBefore;
  const elapsedSeconds = (): number => secondsBefore + (performance.now() - started) / 1000;

  const saveCheckpoint = async (): Promise<string> => {
    state.secondsBefore = elapsedSeconds();
    const path = `${folder.checkpoints}/${checkpointName(state.step, state.microBatches)}`;
    await fabric.save(path, { ...stateful, run: state.toJson(), dataDigest: prepared.dataDigest });
    await pruneCheckpoints(folder.checkpoints, config.keepCheckpoints);
    return path;
  };
  const observer = new RunObserver({
    config,
    state,
    progress,
    totalMicroBatches: length.microBatches,
    parts: { validation: prepared.data.validation.length, test: prepared.data.test.length },
    fabric,
    saveCheckpoint,
  });
  keepFolder();

  try {
    const stopped = await signals.whileSaving(async () => {
      const signal = await train({
        fabric,
        model,
        optimizer,
        schedule,
        trainBatches,
        validationBatches,
        config,
        state,
        observer,
        signals,
      });
      progress.stop();
      // Before the last checkpoint, which would take the place of an older one that is good.
      if (signal === undefined) await refuseNonFiniteEnd(fabric, folder);
      const path = await saveCheckpoint();
      if (signal !== undefined)
        process.stderr.write(`Saved ${path}. Go on with: tensorloom train --resume=${folder.path}\n`);
      return signal ?? signals.requested;
    });
    if (stopped !== undefined) return exitCodeOf(stopped);

    const latest = state.validations.at(-1);
    const validation =
      latest?.step === state.step
        ? latest
        : await evaluate(model, validationBatches, { onBatch: observer.evaluating('validation') });
    const test = await evaluate(model, testBatches, { onBatch: observer.evaluating('test') });
    refuseNonFiniteLogits(test);
    progress.stop();
    await saveFinalModel(folder.model, prepared);
    const summary = summarize({
      state,
      validation,
      test,
      elapsedSeconds: elapsedSeconds(),
      peakMemoryBytes: Math.max(state.peakMemoryBytes, peakMemoryBytes()),
      parameterCount,
      strategy: config.strategy,
      watermark,
      config: namedOptions(config),
    });
    await fabric.flushLogs();
    await writeSummary(folder, summary);
    process.stdout.write(`${formatSummary(summary, folder.path)}\n`);
    return exitCodes.ok;
  } finally {
    progress.stop();
    signals.close();
  }
}

/** Loads a checkpoint into the pieces of the run. @throws TensorloomError `BAD_CHECKPOINT` if it is not of this model and these data */
async function restore(
  fabric: Fabric,
  checkpoint: string,
  stateful: CheckpointState,
  dataDigest: string,
  progress: Progress,
): Promise<TrainingState> {
  const rest = await fabric.load(checkpoint, stateful);
  if (rest.dataDigest !== dataDigest)
    throw new TensorloomError(
      'BAD_CHECKPOINT',
      `The training data are not those that ${checkpoint} was trained on. Give the same data, or start a new run.`,
    );
  const state = TrainingState.fromJson(rest.run as JsonObject);
  progress.line(
    `resumed from ${checkpoint}: epoch ${state.epoch + 1}, step ${state.step}, micro-batch ${state.microBatches}`,
  );
  return state;
}

/** Says which options hold and who chose them. Defaults are in the run folder's config.yaml. */
function describeOptions({ config, origins, recipe }: ResolvedConfig, progress: Progress): void {
  progress.line(`recipe: ${recipe}`);
  const byOrigin = new Map<string, string[]>();
  for (const key of optionKeys) {
    const origin = origins[key];
    if (config[key] === undefined || origin === undefined || origin === 'default') continue;
    byOrigin.set(origin, [...(byOrigin.get(origin) ?? []), `${flagName(key)}=${String(config[key])}`]);
  }
  for (const [origin, options] of byOrigin) progress.line(`  ${origin}: ${options.join(' ')}`);
}
