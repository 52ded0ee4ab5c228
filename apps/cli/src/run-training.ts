/** `tensorloom train`: puts a run together, hands it to the loop in train.ts, evaluates, saves and reports. */
import { isCompleteCheckpoint, TensorloomError, type JsonObject } from '@tensorloom/core';
import { namedOptions, type ResolvedConfig } from './config/resolve.ts';
import { flagName, optionKeys } from './config/schema.ts';
import { evaluate } from './evaluate.ts';
import { exitCodes } from './exit-codes.ts';
import { checkpointName, removeOldCheckpoints } from './run/checkpoints.ts';
import { MetricsFile } from './run/metrics-file.ts';
import { peakMemoryBytes, RunObserver } from './run/observer.ts';
import { createProgress, type Progress } from './run/progress.ts';
import type { ResumedRun } from './run/resume.ts';
import { createRunFolder } from './run/run-folder.ts';
import { exitCodeOf, Signals } from './run/signals.ts';
import { formatSummary, summarize } from './run/summary.ts';
import { TrainingState } from './run/training-state.ts';
import { createWatermark, formatWatermark } from './run/watermark.ts';
import { createFabric, requireCompiler } from './setup/fabric.ts';
import { saveFinalModel } from './setup/model.ts';
import { createOptimizer, createSchedule } from './setup/optimizer.ts';
import { prepareRun } from './setup/prepare-run.ts';
import { runLength } from './setup/run-length.ts';
import { train } from './train.ts';

/** A run to start, or, with folder and checkpoint, one to go on with. */
export type TrainRequest = { readonly resolved: ResolvedConfig; readonly folder?: never } | ResumedRun;

/** Returns the exit code. @throws UsageError, TensorloomError */
export async function runTraining(request: TrainRequest): Promise<number> {
  const started = performance.now();
  const signals = new Signals().listen();
  const { resolved } = request;
  const resumed = request.folder === undefined ? undefined : request;
  const progress = createProgress(resolved.config);

  // Options are checked before anything is written, the folder before any work is done.
  const fabric = createFabric(resolved.config);
  await fabric.launch();
  if (resolved.config.compile) requireCompiler(fabric);
  const folder = resumed?.folder ?? createRunFolder(resolved, new Date());
  const config = { ...resolved.config, accelerator: fabric.accelerator.name };
  folder.writeConfig({ ...resolved, config });
  const watermark = createWatermark(fabric.accelerator, config.precision);
  progress.line(formatWatermark(watermark));
  describeOptions({ ...resolved, config }, progress);

  fabric.seedEverything(config.seed);
  const prepared = await prepareRun(config, folder, progress).catch((error: unknown) => {
    // Nothing was trained: the folder would only be in the way of the next try.
    if (resumed === undefined) folder.remove();
    throw error;
  });
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
  let state = new TrainingState();
  if (resumed !== undefined) {
    const checkpoint = await newestComplete(resumed.checkpoints, progress);
    const rest = await fabric.load(checkpoint, stateful);
    if (rest.dataDigest !== prepared.dataDigest)
      throw new TensorloomError(
        'BAD_CHECKPOINT',
        `The training data are not those that ${checkpoint} was trained on. Give the same data, or start a new run.`,
      );
    state = TrainingState.fromJson(rest.run as JsonObject);
    progress.line(
      `resumed from ${checkpoint}: epoch ${state.epoch + 1}, step ${state.step}, micro-batch ${state.microBatches}`,
    );
  }
  const secondsBefore = state.secondsBefore;
  const elapsedSeconds = (): number => secondsBefore + (performance.now() - started) / 1000;

  const saveCheckpoint = async (): Promise<string> => {
    state.secondsBefore = elapsedSeconds();
    const path = `${folder.checkpoints}/${checkpointName(state.step, state.microBatches)}`;
    await fabric.save(path, { ...stateful, run: state.toJson(), dataDigest: prepared.dataDigest });
    removeOldCheckpoints(folder.checkpoints, config.keepCheckpoints);
    return path;
  };
  const observer = new RunObserver({
    config,
    state,
    progress,
    totalMicroBatches: length.microBatches,
    parts: { validation: prepared.data.validation.length, test: prepared.data.test.length },
    metrics: new MetricsFile(folder.metrics, { keepUpToMicroBatches: state.microBatches }),
    saveCheckpoint,
  });

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
    folder.writeSummary(summary);
    process.stdout.write(`${formatSummary(summary, folder.path)}\n`);
    return exitCodes.ok;
  } finally {
    progress.stop();
    signals.close();
  }
}

/** The newest checkpoint whose files are whole; says which ones are not. */
async function newestComplete(checkpoints: readonly string[], progress: Progress): Promise<string> {
  for (const path of checkpoints) {
    if (await isCompleteCheckpoint(path, true)) return path;
    progress.line(`${path} is damaged; an older one is taken`);
  }
  throw new TensorloomError(
    'BAD_CHECKPOINT',
    `None of the checkpoints is whole: ${checkpoints.join(', ')}. Start the run again.`,
  );
}

/** Says which options hold and who chose them. */
function describeOptions({ config, origins, recipe }: ResolvedConfig, progress: Progress): void {
  progress.line(`recipe: ${recipe}`);
  const byOrigin = new Map<string, string[]>();
  for (const key of optionKeys)
    if (config[key] !== undefined && origins[key] !== undefined)
      byOrigin.set(origins[key], [...(byOrigin.get(origins[key]) ?? []), `${flagName(key)}=${String(config[key])}`]);
  for (const [origin, options] of byOrigin) progress.line(`  ${origin}: ${options.join(' ')}`);
}
