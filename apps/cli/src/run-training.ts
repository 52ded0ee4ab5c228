/** `tensorloom train`: puts a run together, hands it to the loop in train.ts, and has it evaluated, saved and reported. Every rank runs this. */
import {
  CsvLogger,
  pruneCheckpoints,
  TensorloomError,
  type CheckpointState,
  type Fabric,
  type JsonObject,
} from '@tensorloom/core';
import type { ResolvedConfig } from './config/resolve.ts';
import { describeBlocks, describeOptions, describeRanks } from './distributed/describe.ts';
import { firstRanksFirst } from './distributed/first-ranks-first.ts';
import { exitCodes } from './exit-codes.ts';
import { finishRun } from './finish-run.ts';
import { checkpointName, microBatchesOf } from './run/checkpoints.ts';
import { writeConfig } from './run/create-run-folder.ts';
import { refuseNonFiniteEnd } from './run/non-finite.ts';
import { RunObserver } from './run/observer.ts';
import { launchedJob, openRunFolder, type OpenedRun } from './run/open-run.ts';
import { createProgress, type Progress } from './run/progress.ts';
import type { ResumedRun } from './run/resume.ts';
import { RunFolder } from './run/run-folder.ts';
import { requireSharedFolder } from './run/shared-folder.ts';
import { exitCodeOf, Signals } from './run/signals.ts';
import { TrainingState } from './run/training-state.ts';
import { createWatermark, formatWatermark, passedOver } from './run/watermark.ts';
import { launchFabric } from './setup/fabric.ts';
import { progressOver } from './setup/loaders.ts';
import { createOptimizer, createSchedule } from './setup/optimizer.ts';
import { findInputs, prepareRun } from './setup/prepare-run.ts';
import { runLength } from './setup/run-length.ts';
import { train } from './train.ts';

/** A run to start, or, with a folder, one to go on with. */
export type TrainRequest = { readonly resolved: ResolvedConfig; readonly folder?: never } | ResumedRun;

/**
 * Returns the exit code, the same on all ranks.
 * @param isRankZero whether this rank makes the run folder, and shows progress
 * @throws UsageError, TensorloomError
 */
export async function runTraining(request: TrainRequest, isRankZero = true): Promise<number> {
  const started = performance.now();
  const { config } = request.resolved;
  const progress = createProgress({ quiet: config.quiet || !isRankZero });
  const signals = new Signals(() => progress.stop()).listen();
  try {
    // Mistakes are told before anything else, and a run that ends before it trains leaves no folder.
    const opened = isRankZero ? await openRunFolder(request, launchedJob(process.env), progress) : undefined;
    const fabric = await launchFabric(config, opened === undefined ? [] : [metricsLogger(opened)]);
    signals.joinedBy(fabric);
    // If this rank fails, the others do, naming it.
    const exitCode = await fabric.launch(async () => {
      const { folder, checkpoint } = await fabric.broadcast({
        folder: opened?.folder.path ?? '',
        checkpoint: opened?.checkpoint ?? null,
      });
      await requireSharedFolder(fabric, folder);
      return trainAndReport({
        fabric,
        resolved: { ...request.resolved, config: { ...config, accelerator: fabric.accelerator.name } },
        folder: new RunFolder(folder),
        checkpoint: checkpoint ?? undefined,
        keepFolder: () => opened?.keep(),
        started,
        progress,
        signals,
      });
    });
    await fabric.close();
    return exitCode;
  } finally {
    progress.stop();
    signals.close();
  }
}

function metricsLogger({ folder, checkpoint }: OpenedRun): CsvLogger {
  return new CsvLogger({
    folder: folder.path,
    stepColumn: 'micro_batch',
    resumeAtStep: checkpoint === undefined ? 0 : microBatchesOf(checkpoint),
  });
}

interface StartedRun {
  readonly fabric: Fabric;
  readonly resolved: ResolvedConfig;
  readonly folder: RunFolder;
  readonly checkpoint: string | undefined;
  readonly keepFolder: () => void;
  /** `performance.now()` at the start. */
  readonly started: number;
  readonly progress: Progress;
  readonly signals: Signals;
}

async function trainAndReport(run: StartedRun): Promise<number> {
  const { fabric, resolved, folder, checkpoint, progress, signals } = run;
  const { config } = resolved;
  const { worldSize, isGlobalZero } = fabric;
  const recordOptions = async (): Promise<void> => (isGlobalZero ? writeConfig(folder, resolved) : undefined);
  const inputs = await firstRanksFirst(fabric, () => findInputs(config, progress));
  if (checkpoint === undefined) await recordOptions();
  const watermark = createWatermark(fabric.accelerator, config.precision);
  for (const line of passedOver(fabric.selection)) progress.line(line);
  progress.line(formatWatermark(watermark));
  describeOptions(resolved, progress);
  describeRanks(config, fabric, progress);

  fabric.seedEverything(config.seed);
  const prepared = await firstRanksFirst(fabric, () => prepareRun(inputs, config, folder, fabric, progress));
  const parameterCount = prepared.model.parameterCount();
  const [model, optimizer] = await fabric.setup(prepared.model, (parameters) => createOptimizer(config, parameters));
  describeBlocks(config, fabric.blockReport(model), progress);
  const length = runLength(prepared.trainLoader.length as number, config);
  const schedule = createSchedule(config, optimizer, length.steps);
  const trainBatches = fabric.setupDataLoader(prepared.trainLoader);
  const validationBatches = fabric.setupDataLoader(prepared.validationLoader, { training: false });
  progress.line(
    `model ${config.model}: ${parameterCount.toLocaleString('en-US')} parameters | ${length.steps} steps, ${length.microBatches} micro-batches | run folder ${folder.path}`,
  );

  const stateful = { model, optimizer, schedule, loader: trainBatches };
  const state =
    checkpoint === undefined
      ? new TrainingState(worldSize)
      : await restore(fabric, checkpoint, stateful, prepared.dataDigest, progress);
  // Other options of a run that is resumed are recorded only once it is known that it can go on with them.
  if (checkpoint !== undefined) await recordOptions();
  const secondsBefore = state.secondsBefore;
  const elapsedSeconds = (): number => secondsBefore + (performance.now() - run.started) / 1000;

  const saveCheckpoint = async (): Promise<string> => {
    await state.gather(fabric);
    state.secondsBefore = elapsedSeconds();
    const path = `${folder.checkpoints}/${checkpointName(state.step, state.microBatches)}`;
    await fabric.save(path, { ...stateful, run: state.toJson(), dataDigest: prepared.dataDigest });
    if (isGlobalZero) await pruneCheckpoints(folder.checkpoints, config.keepCheckpoints);
    return path;
  };
  const { validation, test } = prepared.data;
  const observer = new RunObserver({
    config,
    state,
    progress,
    totalMicroBatches: length.microBatches,
    parts: { validation: validation.length, test: test.length },
    fabric,
    saveCheckpoint,
  });
  run.keepFolder();

  const stopped = await signals.whileSaving(async () => {
    const signal = await train({
      fabric,
      model,
      optimizer,
      schedule,
      trainBatches,
      microBatchesDone: progressOver(trainBatches, prepared.trainLoader),
      validationBatches,
      commonValidationBatches: Math.floor(validation.length / (config.evalBatchSize * worldSize)),
      config,
      state,
      observer,
      signals,
    });
    progress.stop();
    // Before the last checkpoint, which would take the place of an older one that is good.
    if (signal === undefined) await refuseNonFiniteEnd(fabric, folder);
    const path = await saveCheckpoint();
    if (signal !== undefined && isGlobalZero)
      process.stderr.write(`Saved ${path}. Go on with: tensorloom train --resume=${folder.path}\n`);
    return signal ?? (await signals.requestedOfAny(true));
  });
  if (stopped !== undefined) return exitCodeOf(stopped);

  await finishRun({
    fabric,
    model,
    prepared,
    validationBatches,
    testBatches: fabric.setupDataLoader(prepared.testLoader, { training: false }),
    config,
    folder,
    state,
    observer,
    progress,
    elapsedSeconds,
    parameterCount,
    watermark,
  });
  return exitCodes.ok;
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
  const state = TrainingState.fromJson(rest.run as JsonObject, fabric.worldSize);
  progress.line(
    `resumed from ${checkpoint}: epoch ${state.epoch + 1}, step ${state.step}, micro-batch ${state.microBatches}`,
  );
  return state;
}
