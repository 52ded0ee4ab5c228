/** For tests: PyTorch's steps of each optimizer (core's fixture), and parameters with its gradients. */
import { readFileSync } from 'node:fs';
import { Adam, AdamW, Parameter, RowSparse, SGD, tf, type Optimizer } from '@tensorloom/core';

interface Fixture {
  readonly shapes: readonly [[number, number], [number]];
  readonly initial: readonly number[][];
  readonly gradients: readonly number[][][];
  /** Values after all steps, by the name of the case. */
  readonly after: Readonly<Record<string, number[][]>>;
  readonly clipped: readonly { maxNorm: number; normType: string; norm: number; gradients: number[][] }[];
}

/** Made with PyTorch by core's fixtures/make_optimizer_steps.py. */
export const fixture = JSON.parse(
  readFileSync(new URL('../../../core/src/optimizers/fixtures/optimizer-steps.json', import.meta.url), 'utf8'),
) as Fixture;

/** The optimizers of the fixture. */
export const cases: Readonly<Record<string, (parameters: Parameter[]) => Optimizer>> = {
  adam: (p) => new Adam(p, { lr: 0.01 }),
  'adam-decay': (p) => new Adam(p, { lr: 0.01, betas: [0.8, 0.95], epsilon: 1e-3, weightDecay: 0.1 }),
  adamw: (p) => new AdamW(p, { lr: 0.02, weightDecay: 0.1 }),
  sgd: (p) => new SGD(p, { lr: 0.1 }),
  'sgd-momentum': (p) => new SGD(p, { lr: 0.1, momentum: 0.9, weightDecay: 0.05 }),
  'sgd-dampening': (p) => new SGD(p, { lr: 0.1, momentum: 0.9, dampening: 0.3 }),
  'sgd-nesterov': (p) => new SGD(p, { lr: 0.1, momentum: 0.8, nesterov: true, weightDecay: 0.02 }),
};

/** Parameters of the fixture, with names. */
export function parametersOf(): Parameter[] {
  return fixture.initial.map((data, i) => {
    const parameter = new Parameter(tf.tensor(data, fixture.shapes[i] as number[]));
    return Object.assign(parameter, { name: ['table', 'bias'][i] });
  });
}

/**
 * One step with the fixture's gradients times both factors, of which the optimizer is told the second; that of the table with its rows of
 * zeros left out if `sparse`.
 */
export function runStep(optimizer: Optimizer, step: number, sparse: boolean, factor = 1, gradientScale = 1): void {
  for (const [i, parameter] of optimizer.parameters.entries()) {
    const gradient = (fixture.gradients[step]?.[i] as number[]).map((x) => factor * x);
    parameter.grad =
      sparse && i === 0 ? rowSparse(gradient, fixture.shapes[0]) : tf.tensor(gradient, [...parameter.shape]);
  }
  optimizer.step({ gradientScale });
  optimizer.zeroGrad();
}

/** The gradient `[numRows, width]` with its rows of zeros left out. */
export function rowSparse(gradient: readonly number[], [numRows, width]: readonly [number, number]): RowSparse {
  const row = (i: number): readonly number[] => gradient.slice(i * width, (i + 1) * width);
  const indices = Int32Array.from({ length: numRows }, (_, i) => i).filter((i) => row(i).some((x) => x !== 0));
  const rows = tf.tensor2d([...indices].flatMap(row), [indices.length, width], 'float32');
  return new RowSparse(indices, rows, numRows);
}

/** Values of all parameters. */
export function valuesOf(optimizer: Optimizer): number[][] {
  return optimizer.parameters.map((parameter) => [...parameter.value.dataSync()]);
}

/** Frees an optimizer with its parameters. */
export function disposeAll(optimizer: Optimizer): void {
  for (const parameter of optimizer.parameters) parameter.dispose();
  optimizer.dispose();
}
