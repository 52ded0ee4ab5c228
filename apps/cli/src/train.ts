/**
 * The training loop: yours to read and to change. Fabric brings accelerator, precision and strategy; which batch comes next,
 * when to step, evaluate, save and stop is decided here.
 */
import type { Fabric, Optimizer, StepOptions } from '@tensorloom/core';
import type { BloomForSequenceClassification } from '@tensorloom/models';
import type { RunConfig } from './config/schema.ts';
import { countCorrect, eventLoopTurn, evaluate, type DeviceBatch } from './evaluate.ts';
import type { RunObserver } from './run/observer.ts';
import type { StopSignal } from './run/signals.ts';
import type { TrainingState } from './run/training-state.ts';

export interface TrainingSession {
  readonly fabric: Fabric;
  readonly model: BloomForSequenceClassification;
  readonly optimizer: Optimizer;
  /** Course of the learning rate; `step` is called after each optimizer step. */
  readonly schedule: { step(): void };
  readonly trainBatches: AsyncIterable<DeviceBatch>;
  readonly validationBatches: AsyncIterable<DeviceBatch>;
  readonly config: Pick<RunConfig, 'epochs' | 'maxSteps' | 'clipNorm' | 'clipValue' | 'evalEvery'>;
  readonly state: TrainingState;
  /** Shows progress, writes metrics and checkpoints. */
  readonly observer: RunObserver;
  readonly signals: { readonly requested: StopSignal | undefined };
}

/** Trains from where `state` is to the end, or until a signal. Returns the signal that stopped it. */
export async function train(session: TrainingSession): Promise<StopSignal | undefined> {
  const { fabric, model, optimizer, schedule, config, state, observer, signals } = session;
  const clipping: StepOptions = {
    ...(config.clipNorm === undefined ? {} : { clipNorm: config.clipNorm }),
    ...(config.clipValue === undefined ? {} : { clipValue: config.clipValue }),
  };
  const finished = (): boolean => config.maxSteps !== undefined && state.step >= config.maxSteps;

  while (state.epoch < config.epochs && !finished()) {
    model.train();
    let started = performance.now();
    for await (const batch of session.trainBatches) {
      const { loss, items, logits } = await fabric.backward(model, () => model.forward(batch));
      const correct = await countCorrect(logits, batch.labels);
      const { lr } = optimizer;
      // True when a window of micro-batches is complete (or the epoch ends) and the optimizer took its step.
      const stepped = await fabric.step(optimizer, clipping);
      if (stepped) {
        schedule.step();
        state.step++;
      }
      state.count({ loss, items, tokens: batch.tokens, correct, seconds: (performance.now() - started) / 1000 });

      observer.microBatchDone(lr, finished());
      if (stepped && config.evalEvery !== undefined && state.step % config.evalEvery === 0) await validate(session);
      await observer.saveIfDue(stepped);
      await eventLoopTurn();
      if (signals.requested !== undefined) return signals.requested;
      if (finished()) return undefined;
      started = performance.now();
    }
    // The epoch stays open where a signal came: a run that is resumed validates first.
    if (!(await validate(session))) return signals.requested;
    observer.epochDone();
    state.closeEpoch();
  }
  return undefined;
}

/** False where a signal ended it without a result. */
async function validate({ model, validationBatches, state, observer, signals }: TrainingSession): Promise<boolean> {
  const onBatch = observer.evaluating('validation');
  const result = await evaluate(model, validationBatches, { onBatch, stop: () => signals.requested !== undefined });
  if (result === undefined) return false;
  state.validations.push({ step: state.step, ...result });
  observer.validated(result.accuracy);
  return true;
}
