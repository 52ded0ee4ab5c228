import { accelerators, Adam, Fabric, SGD, type Module, type Optimizer, type Parameter } from '@tensorloom/core';
import { describe, expect, it } from 'vitest';
import {
  classifierBatch,
  join,
  languageBatch,
  SmallClassifier,
  SmallLanguageModel,
  type SmallBatch,
  type SmallOutput,
} from './small-models.testing.ts';
import './index.ts';

interface SmallModel extends Module {
  forward(batch: SmallBatch): SmallOutput;
}

/** How a run is made: everything but the batches. */
interface Setup {
  readonly accelerator: string;
  readonly model: () => SmallModel;
  readonly accumulate: number;
  readonly clip?: { clipNorm?: number; clipValue?: number };
  readonly optimizer?: (parameters: readonly Parameter[]) => Optimizer;
  /** What the loss is said to be the mean over; default what the model says. */
  readonly items?: number;
}

interface Run {
  /** All parameters after the run, end to end. */
  readonly parameters: Float32Array;
  /** The gradient norm of each step. */
  readonly norms: readonly number[];
}

/** With a learning rate of 1 a step's change is the gradient itself, with nothing to hide behind. */
const plainSgd = (parameters: readonly Parameter[]): Optimizer => new SGD(parameters, { lr: 1 });

/** One pass over `batches`, as an epoch of a loader, with a step after each micro-batch. */
async function run(setup: Setup, batches: readonly SmallBatch[]): Promise<Run> {
  const { accelerator, accumulate } = setup;
  const fabric = new Fabric({ accelerator, strategy: 'accumulate', strategyOptions: { accumulate } });
  await fabric.launch();
  const module = setup.model();
  const [model, optimizer] = await fabric.setup(module, setup.optimizer ?? plainSgd);
  const norms: number[] = [];
  for await (const batch of fabric.setupDataLoader([...batches])) {
    const { items } = setup;
    await fabric.backward(model, () => model.forward(batch), items === undefined ? {} : { items });
    await fabric.step(optimizer, setup.clip ?? {});
    const norm = fabric.lastStep?.gradientNorm;
    if (norm !== undefined) norms.push(norm);
  }
  const parameters = values(module);
  optimizer.dispose();
  module.dispose();
  return { parameters, norms };
}

function values(module: Module): Float32Array {
  return Float32Array.from(module.parameters().flatMap((parameter) => [...parameter.value.dataSync()]));
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  return a.reduce((largest, value, index) => Math.max(largest, Math.abs(value - (b[index] as number))), 0);
}

/** Parameters are near 1, so that float32 resolves 1e-7; sums over a batch add a few of those. */
const ROUNDING = 1e-6;

const usable = (
  await Promise.all(
    accelerators.names().map(async (name) => {
      const reason = await accelerators.get(name).create().unavailable();
      if (reason !== null && name === 'tensorflow' && process.env['TENSORLOOM_REQUIRE_TENSORFLOW'] === '1')
        throw new Error(reason);
      if (reason !== null) console.log(`not tested on ${name}: ${reason}`);
      return reason === null ? [name] : [];
    }),
  )
).flat();

describe.each(usable)('on %s, an accumulated step equals the step of one large batch', (accelerator) => {
  const classify = { accelerator, model: () => new SmallClassifier() };
  const speak = { accelerator, model: () => new SmallLanguageModel() };

  it('for full windows, in each of several steps', async () => {
    const batches = [1, 2, 3, 4, 5, 6].map((seed) => classifierBatch(2, seed));
    const accumulated = await run({ ...classify, accumulate: 3 }, batches);
    const large = await run({ ...classify, accumulate: 1 }, [join(batches.slice(0, 3)), join(batches.slice(3))]);
    expect(accumulated.norms).toHaveLength(2);
    expect(largestDifference(accumulated.parameters, large.parameters)).toBeLessThan(ROUNDING);
  });

  it('for the last, incomplete window of an epoch', async () => {
    const batches = [1, 2, 3, 4, 5].map((seed) => classifierBatch(2, seed));
    const accumulated = await run({ ...classify, accumulate: 3 }, batches);
    const large = await run({ ...classify, accumulate: 1 }, [join(batches.slice(0, 3)), join(batches.slice(3))]);
    expect(accumulated.norms).toHaveLength(2);
    expect(largestDifference(accumulated.parameters, large.parameters)).toBeLessThan(ROUNDING);
  });

  it('for a window larger than the epoch', async () => {
    const batches = [1, 2].map((seed) => classifierBatch(2, seed));
    const accumulated = await run({ ...classify, accumulate: 16 }, batches);
    const large = await run({ ...classify, accumulate: 1 }, [join(batches)]);
    expect(accumulated.norms).toHaveLength(1);
    expect(largestDifference(accumulated.parameters, large.parameters)).toBeLessThan(ROUNDING);
  });

  it('for micro-batches of unequal size, where the mean of means is another step', async () => {
    const batches = [7, 1, 2].map((size) => classifierBatch(size, size));
    const accumulated = await run({ ...classify, accumulate: 3 }, batches);
    const large = await run({ ...classify, accumulate: 1 }, [join(batches)]);
    const meanOfMeans = await run({ ...classify, accumulate: 3, items: 1 }, batches);
    expect(largestDifference(accumulated.parameters, large.parameters)).toBeLessThan(ROUNDING);
    expect(largestDifference(meanOfMeans.parameters, large.parameters)).toBeGreaterThan(1e4 * ROUNDING);
  });

  it('for language modelling with unequal numbers of unmasked tokens, where the mean of means is another step', async () => {
    const batches = [
      [9, 8],
      [1, 2],
      [0, 3],
    ].map((counted, seed) => languageBatch(counted, seed));
    const accumulated = await run({ ...speak, accumulate: 3 }, batches);
    const large = await run({ ...speak, accumulate: 1 }, [join(batches)]);
    const meanOfMeans = await run({ ...speak, accumulate: 3, items: 1 }, batches);
    expect(largestDifference(accumulated.parameters, large.parameters)).toBeLessThan(ROUNDING);
    expect(largestDifference(meanOfMeans.parameters, large.parameters)).toBeGreaterThan(1e4 * ROUNDING);
  });

  it('for a micro-batch without any unmasked token', async () => {
    const batches = [
      [9, 8],
      [0, 0],
      [4, 3],
    ].map((counted, seed) => languageBatch(counted, seed));
    const accumulated = await run({ ...speak, accumulate: 3 }, batches);
    const large = await run({ ...speak, accumulate: 1 }, [join([batches[0] as SmallBatch, batches[2] as SmallBatch])]);
    expect(largestDifference(accumulated.parameters, large.parameters)).toBeLessThan(ROUNDING);
  });

  it('for Adam, whose moments see one gradient per window', async () => {
    const optimizer = (parameters: readonly Parameter[]): Optimizer =>
      new Adam(parameters, { lr: 1e-2, epsilon: 1e-3 });
    const batches = [5, 1, 2, 3].map((size) => classifierBatch(size, size));
    const accumulated = await run({ ...classify, accumulate: 2, optimizer }, batches);
    const large = await run({ ...classify, accumulate: 1, optimizer }, [
      join(batches.slice(0, 2)),
      join(batches.slice(2)),
    ]);
    expect(largestDifference(accumulated.parameters, large.parameters)).toBeLessThan(ROUNDING);
  });

  it('clipped by norm: what is clipped is the mean gradient of the window', async () => {
    const batches = [5, 1, 2].map((size) => classifierBatch(size, size));
    const clip = { clipNorm: 0.05 };
    const accumulated = await run({ ...classify, accumulate: 3, clip }, batches);
    const large = await run({ ...classify, accumulate: 1, clip }, [join(batches)]);
    const unclipped = await run({ ...classify, accumulate: 3 }, batches);
    expect(largestDifference(accumulated.parameters, large.parameters)).toBeLessThan(ROUNDING);
    expect(accumulated.norms[0]).toBeCloseTo(large.norms[0] as number, 5);
    expect(accumulated.norms[0]).toBeGreaterThan(2 * clip.clipNorm);
    expect(largestDifference(accumulated.parameters, unclipped.parameters)).toBeGreaterThan(100 * ROUNDING);
  });

  it('clipped by value: no element of the mean gradient moves a parameter further than the limit', async () => {
    const batches = [5, 1, 2].map((size) => classifierBatch(size, size));
    const clip = { clipValue: 0.01 };
    const accumulated = await run({ ...classify, accumulate: 3, clip }, batches);
    const large = await run({ ...classify, accumulate: 1, clip }, [join(batches)]);
    const untouched = new SmallClassifier();
    expect(largestDifference(accumulated.parameters, large.parameters)).toBeLessThan(ROUNDING);
    expect(largestDifference(accumulated.parameters, values(untouched))).toBeCloseTo(0.01, 6);
    untouched.dispose();
  });
});
