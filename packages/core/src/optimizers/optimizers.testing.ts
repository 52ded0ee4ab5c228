/** For tests: PyTorch's steps of each optimizer, and running ours on the same gradients. */
import { readFileSync } from 'node:fs';
import { RowSparse } from '../autograd/row-sparse.ts';
import { Parameter } from '../modules/parameter.ts';
import { tf } from '../tensors.ts';
import { Adam, AdamW } from './adam.ts';
import type { Optimizer } from './optimizer.ts';
import { SGD } from './sgd.ts';

export interface Fixture {
  shapes: [[number, number], [number]];
  initial: [number[], number[]];
  gradients: [number[], number[]][];
  after: Record<string, [number[], number[]]>;
}
/** Made with PyTorch by fixtures/make_optimizer_steps.py. */
export const fixture = JSON.parse(
  readFileSync(new URL('fixtures/optimizer-steps.json', import.meta.url), 'utf8'),
) as Fixture;

export const cases: Record<string, (parameters: Parameter[]) => Optimizer> = {
  adam: (p) => new Adam(p, { lr: 0.01 }),
  'adam-decay': (p) => new Adam(p, { lr: 0.01, betas: [0.8, 0.95], epsilon: 1e-3, weightDecay: 0.1 }),
  adamw: (p) => new AdamW(p, { lr: 0.02, weightDecay: 0.1 }),
  sgd: (p) => new SGD(p, { lr: 0.1 }),
  'sgd-momentum': (p) => new SGD(p, { lr: 0.1, momentum: 0.9, weightDecay: 0.05 }),
  'sgd-dampening': (p) => new SGD(p, { lr: 0.1, momentum: 0.9, dampening: 0.3 }),
  'sgd-nesterov': (p) => new SGD(p, { lr: 0.1, momentum: 0.8, nesterov: true, weightDecay: 0.02 }),
};

export const parametersOf = (): Parameter[] =>
  fixture.initial.map((data, i) => {
    const parameter = new Parameter(tf.tensor(data, fixture.shapes[i] as number[]));
    parameter.name = ['table', 'bias'][i] as string;
    return parameter;
  });

/** The same gradient, with rows that are zero left out. */
export function rowSparse(gradient: readonly number[], [numRows, width]: [number, number]): RowSparse {
  const indices = Int32Array.from(
    [...Array(numRows).keys()].filter((row) => gradient.slice(row * width, (row + 1) * width).some((v) => v !== 0)),
  );
  const rows = [...indices].flatMap((row) => gradient.slice(row * width, (row + 1) * width));
  return new RowSparse(indices, tf.tensor2d(rows, [indices.length, width]), numRows);
}

/** One step on the fixture's gradients times both factors, of which the optimizer is told the second. */
export function runStep(optimizer: Optimizer, step: number, sparse: boolean, factor = 1, gradientScale = 1): void {
  const [table, bias] = optimizer.parameters as [Parameter, Parameter];
  const [tableGradient, biasGradient] = (fixture.gradients[step] as [number[], number[]]).map((gradient) =>
    gradient.map((x) => factor * x),
  ) as [number[], number[]];
  table.grad = sparse ? rowSparse(tableGradient, fixture.shapes[0]) : tf.tensor(tableGradient, fixture.shapes[0]);
  bias.grad = tf.tensor1d(biasGradient);
  optimizer.step({ gradientScale });
  optimizer.zeroGrad();
}

export const valuesOf = (optimizer: Optimizer): number[][] => optimizer.parameters.map((p) => [...p.value.dataSync()]);

export function disposeAll(optimizer: Optimizer): void {
  for (const parameter of optimizer.parameters) parameter.dispose();
  optimizer.dispose();
}
