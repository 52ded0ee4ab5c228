/** Against PyTorch: parameters after runs of the optimizers, of accumulation and of clipping, on the cases in fixtures/bloom. */
import { Adam, AdamW, backward, clipGradients, SGD, type Optimizer, type Parameter } from '@tensorloom/core';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  activate,
  below,
  largestError,
  microBatch,
  openGolden,
  testAccelerators,
  type GoldenCase,
} from '../testing.test-helper.ts';
import { BloomForSequenceClassification } from './sequence-classification.ts';

interface Run {
  readonly make: (parameters: readonly Parameter[]) => Optimizer;
  readonly lr: number;
  readonly steps: number;
  /** Micro-batches per step; their losses are averaged. */
  readonly accumulate: number;
  readonly maxNorm?: number;
}

/** What the generator of the cases does (tools/goldens/make_bloom.py). */
const runs: Readonly<Record<string, Run>> = {
  adam: { make: (parameters) => new Adam(parameters, { lr: 1e-3 }), lr: 1e-3, steps: 3, accumulate: 1 },
  adamw: {
    make: (parameters) => new AdamW(parameters, { lr: 1e-3, weightDecay: 0.1 }),
    lr: 1e-3,
    steps: 3,
    accumulate: 1,
  },
  sgd: {
    make: (parameters) => new SGD(parameters, { lr: 1e-2, momentum: 0.9, weightDecay: 0.01 }),
    lr: 1e-2,
    steps: 3,
    accumulate: 1,
  },
  accumulate: { make: (parameters) => new Adam(parameters, { lr: 1e-3 }), lr: 1e-3, steps: 2, accumulate: 4 },
  clip: { make: (parameters) => new Adam(parameters, { lr: 1e-3 }), lr: 1e-3, steps: 2, accumulate: 4, maxNorm: 0.05 },
};

/** Runs the optimizer; the losses of the micro-batches and the gradient norms before clipping. */
function train(model: BloomForSequenceClassification, golden: GoldenCase, run: Run) {
  const parameters = model.parameters();
  const optimizer = run.make(parameters);
  const losses: number[] = [];
  const norms: number[] = [];
  for (let step = 0; step < run.steps; step++) {
    for (let i = 0; i < run.accumulate; i++) {
      const batch = microBatch(golden, losses.length);
      const { loss } = backward(() => model.forward(batch), { parameters, seed: 1 / run.accumulate });
      losses.push(loss.dataSync()[0] as number);
    }
    if (run.maxNorm !== undefined) norms.push(clipGradients(parameters, { maxNorm: run.maxNorm }));
    optimizer.step();
    optimizer.zeroGrad();
  }
  optimizer.dispose();
  return { losses, norms };
}

describe.each(await testAccelerators())('on %s', (accelerator) => {
  beforeAll(() => activate(accelerator));

  it.each(
    ['tiny', 'six-heads', 'left-padding', 'post-layernorm', 'regression'].flatMap((name) =>
      Object.keys(runs).map((run) => [name, run] as const),
    ),
  )('%s: parameters and losses of the run %s', (name, runName) => {
    const golden = openGolden(name);
    const run = runs[runName] as Run;
    const model = new BloomForSequenceClassification(golden.config, { emptyInit: true });
    model.loadStateDict({ tensors: below(golden, 'weights'), values: {} });
    const { losses, norms } = train(model, golden, run);
    expect(largestError(losses, golden.scalars[`${runName}_losses`] as number[])).toBeLessThan(1e-5);
    if (run.maxNorm !== undefined)
      expect(largestError(norms, golden.scalars[`${runName}_norms`] as number[])).toBeLessThan(1e-4);

    const gradients = below(golden, 'grads');
    for (const [parameterName, tensor] of below(golden, runName)) {
      const actual = model
        .parameters()
        .find((parameter) => parameter.name === parameterName)
        ?.value.dataSync() as Float32Array;
      const expected = tensor.read().data;
      const reference = gradients.get(parameterName)?.read().data as Float32Array;
      // Where the true gradient is zero (key biases), Adam turns rounding noise into whole steps.
      const excess = Array.from(expected, (value, i) => {
        const bound = Math.abs(reference[i] as number) > 1e-6 ? 2e-5 : 2 * run.lr * run.steps;
        return Math.abs((actual[i] as number) - value) / bound;
      });
      expect(
        excess.reduce((largest, x) => Math.max(largest, x), 0),
        parameterName,
      ).toBeLessThan(1);
    }
    model.dispose();
    golden.close();
  });
});
