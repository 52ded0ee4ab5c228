/**
 * The training loop: yours to read and to change. Fabric brings accelerator, precision and strategy; which batch comes next,
 * when to step, evaluate, save and stop is decided here.
 */
import type { Fabric, Optimizer, StepOptions } from '@tensorloom/core';
import type { BloomForSequenceClassification } from '@tensorloom/models';
import type { RunConfig } from './config/schema.ts';
import { countCorrect, eventLoopTurn, evaluate, type DeviceBatch } from './evaluate.ts';
import type { RunObserver } from './run/observer.ts';
import type { Signals, StopSignal } from './run/signals.ts';
import type { TrainingState } from './run/training-state.ts';

export interface TrainingSession {
  readonly fabric: Fabric;
  readonly model: BloomForSequenceClassification;
  readonly optimizer: Optimizer;
  /** Course of the learning rate; `step` is called after each optimizer step. */
  readonly schedule: { step(): void };
  /** This rank's. */
  readonly trainBatches: AsyncIterable<DeviceBatch>;
  readonly validationBatches: AsyncIterable<DeviceBatch>;
  /** Batches that every rank has of the validation part. */
  readonly commonValidationBatches: number;
  /** Micro-batches of all ranks in all epochs, up to the one delivered last. */
  readonly microBatchesDone: () => number;
  readonly config: Pick<RunConfig, 'epochs' | 'maxSteps' | 'clipNorm' | 'clipValue' | 'evalEvery'>;
  readonly state: TrainingState;
  /** Shows progress, writes metrics and checkpoints. */
  readonly observer: RunObserver;
  readonly signals: Pick<Signals, 'requestedOfAny'>;
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
      // A batch of no items keeps this rank in step with the others, and weighs nothing.
      const { items, tokens } = batch;
      const { loss, logits } = await fabric.backward(model, () => model.forward(batch), { items });
      const correct = items === 0 ? 0 : await countCorrect(logits, batch.labels);
      const { lr } = optimizer;
      // True when a window of micro-batches is complete (or the epoch ends) and the optimizer took its step.
      const stepped = await fabric.step(optimizer, clipping);
      if (stepped) {
        schedule.step();
        state.step++;
      }
      const seconds = (performance.now() - started) / 1000;
      state.count({ loss, items, tokens, correct, seconds, microBatches: session.microBatchesDone() });

      await observer.microBatchDone(lr, finished());
      if (stepped && config.evalEvery !== undefined && state.step % config.evalEvery === 0) await validate(session);
      await observer.saveIfDue(stepped);
      await eventLoopTurn();
      const signal = await signals.requestedOfAny(fabric.lastStep?.closed === true);
      if (signal !== undefined) return signal;
      if (finished()) return undefined;
      started = performance.now();
    }
    // The epoch stays open where a signal came: a run that is resumed validates first.
    const signal = await validate(session);
    if (signal !== undefined) return signal;
    await observer.epochDone();
    state.closeEpoch();
  }
  return undefined;
}

/** Returns the signal that ended it without a result, if one did. */
async function validate(session: TrainingSession): Promise<StopSignal | undefined> {
  const { fabric, model, validationBatches, state, observer, signals } = session;
  const onBatch = observer.evaluating('validation');
  let signal: StopSignal | undefined;
  const stop = async (batches: number): Promise<boolean> => {
    signal = await signals.requestedOfAny(batches <= session.commonValidationBatches && batches % 8 === 0);
    return signal !== undefined;
  };
  const result = await evaluate(fabric, model, validationBatches, { onBatch, stop });
  if (result === undefined) return signal;
  state.validations.push({ step: state.step, ...result });
  observer.validated(result.accuracy);
  return undefined;
}
