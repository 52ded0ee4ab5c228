/** For tests: forward and backward of a block, whichever way it runs. */
import {
  backward,
  Parameter,
  seedEverything,
  tf,
  withActivationStorage,
  type BlockProgram,
  type FloatStorage,
  type Scalar,
  type Tensor,
} from '@tensorloom/core';
import { expect } from 'vitest';
import { NativeAccelerator } from '../accelerator.ts';
import { values } from '../kernels/compare.testing.ts';
import { makeProgram, type Apply } from './block.testing.ts';
import { compileBlock } from './compiled-block.ts';

const compiledWith =
  (recompute: boolean): Apply =>
  (program, x, mask, training) =>
    compileBlock(program).forward(x, mask, { training, recompute });
export const compiled = compiledWith(false);
export const compiledAgain = compiledWith(true);

/** Padding by row, on a side. */
function maskOf(batch: number, seq: number, side: 'left' | 'right'): Tensor {
  const data = Int32Array.from({ length: batch * seq }, (_, i) => {
    const [row, column] = [Math.floor(i / seq), i % seq];
    const padding = Math.floor((row * seq) / (batch + 1));
    return side === 'left' ? Number(column >= padding) : Number(column < seq - padding);
  });
  return tf.tensor2d(data, [batch, seq], 'int32');
}

export interface Case {
  readonly batch: number;
  readonly seq: number;
  readonly heads: number;
  readonly dim: number;
  readonly side: 'left' | 'right';
  readonly changes?: Partial<BlockProgram>;
  readonly storage?: FloatStorage;
  readonly training?: boolean;
  readonly frozen?: readonly number[];
  readonly microBatches?: number;
}

export interface Result {
  readonly output: Float32Array;
  /** Of the input and of each parameter; empty where there is none. */
  readonly gradients: readonly (readonly [name: string, gradient: Float32Array])[];
}

const accelerator = new NativeAccelerator();

/** Two blocks of the same weights, one after the other, so that uses of parameters add up within a backward too. */
export function run(apply: Apply, given: Case): Result {
  const { batch, seq, heads, dim, side, changes, storage = 'float32', training = true, frozen = [] } = given;
  const width = heads * dim;
  const program = makeProgram({ width, heads }, changes);
  const mask = maskOf(batch, seq, side);
  const input = new Parameter(tf.tensor3d(values(batch * seq * width, 77), [batch, seq, width]));
  const named: [string, Parameter][] = [
    ['input', input],
    ...(Object.entries(program.parameters) as [string, Parameter][]),
  ];
  for (const [i, [, parameter]] of named.entries()) parameter.requiresGrad = !frozen.includes(i);
  const weights = tf.tensor3d(values(batch * seq * width, 5), [batch, seq, width]);
  seedEverything(3);
  let output: Float32Array = new Float32Array(0);
  for (let i = 0; i < (given.microBatches ?? 1); i++)
    backward(
      () =>
        tf.tidy(() => {
          const state = withActivationStorage(accelerator, storage, () =>
            apply(program, apply(program, input.value, mask, training), mask, training),
          );
          output = state.dataSync() as Float32Array;
          return tf.sum(tf.mul(state, weights)) as Scalar;
        }),
      { parameters: named.map(([, parameter]) => parameter) },
    ).dispose();
  const gradients = named.map(
    ([name, { grad }]) =>
      [name, grad === null ? new Float32Array(0) : ((grad as Tensor).dataSync() as Float32Array)] as const,
  );
  for (const [, parameter] of named) parameter.dispose();
  tf.dispose([mask, weights]);
  return { output, gradients };
}

/** The greatest difference, of the greatest magnitude. */
export function difference(actual: Float32Array, expected: Float32Array): number {
  expect(actual.length).toBe(expected.length);
  let [scale, worst] = [1e-30, 0];
  for (let i = 0; i < expected.length; i++) {
    scale = Math.max(scale, Math.abs(expected[i] as number));
    const error = Math.abs((actual[i] as number) - (expected[i] as number));
    worst = Number.isFinite(error) ? Math.max(worst, error) : Infinity;
  }
  return worst / scale;
}
