import {
  backward,
  measureFlops,
  Module,
  Parameter,
  seedEverything,
  tf,
  withActivationStorage,
  type BlockProgram,
  type FloatStorage,
  type Scalar,
  type Tensor,
} from '@tensorloom/core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { NativeAccelerator } from '../accelerator.ts';
import { addon } from '../addon.ts';
import { values } from '../kernels/compare.testing.ts';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';
import { eagerBlock, makeProgram, recomputedBlock } from './block.testing.ts';
import { compileBlock } from './compiled-block.ts';

type Apply = (program: BlockProgram, x: Tensor, mask: Tensor, training: boolean) => Tensor;
const compiledWith =
  (recompute: boolean): Apply =>
  (program, x, mask, training) =>
    compileBlock(program).forward(x, mask, { training, recompute });
const compiled = compiledWith(false);
const compiledAgain = compiledWith(true);

/** Padding by row, on a side. */
function maskOf(batch: number, seq: number, side: 'left' | 'right'): Tensor {
  const data = Int32Array.from({ length: batch * seq }, (_, i) => {
    const [row, column] = [Math.floor(i / seq), i % seq];
    const padding = Math.floor((row * seq) / (batch + 1));
    return side === 'left' ? Number(column >= padding) : Number(column < seq - padding);
  });
  return tf.tensor2d(data, [batch, seq], 'int32');
}

interface Case {
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

interface Result {
  readonly output: Float32Array;
  /** Of the input and of each parameter; empty where there is none. */
  readonly gradients: readonly (readonly [name: string, gradient: Float32Array])[];
}

const accelerator = new NativeAccelerator();

/** Two blocks of the same weights, one after the other, so that uses of parameters add up within a backward too. */
function run(apply: Apply, given: Case): Result {
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
function difference(actual: Float32Array, expected: Float32Array): number {
  expect(actual.length).toBe(expected.length);
  let [scale, worst] = [1e-30, 0];
  for (let i = 0; i < expected.length; i++) {
    scale = Math.max(scale, Math.abs(expected[i] as number));
    const error = Math.abs((actual[i] as number) - (expected[i] as number));
    worst = Number.isFinite(error) ? Math.max(worst, error) : Infinity;
  }
  return worst / scale;
}

function expectSame(given: Case, tolerance: number): void {
  const [actual, expected] = [run(compiled, given), run(eagerBlock, given)];
  expect(difference(actual.output, expected.output), 'output').toBeLessThanOrEqual(tolerance);
  for (const [i, [name, gradient]] of expected.gradients.entries())
    expect(difference(actual.gradients[i]?.[1] as Float32Array, gradient), name).toBeLessThanOrEqual(tolerance);
}

const odd: Case = { batch: 3, seq: 7, heads: 3, dim: 8, side: 'left' };
const variants: [string, Case][] = [
  ['padding on the left', odd],
  ['padding on the right', { ...odd, side: 'right' }],
  ['one token', { ...odd, batch: 1, seq: 1 }],
  ['33 tokens and 16 heads', { batch: 2, seq: 33, heads: 16, dim: 4, side: 'right' }],
  ['residuals behind the norms', { ...odd, changes: { residualAfterNorm: true } }],
  ['dropout', { ...odd, changes: { hiddenDropout: 0.3, attentionDropout: 0.2 } }],
  ['dropout, residuals behind the norms', { ...odd, changes: { hiddenDropout: 0.3, residualAfterNorm: true } }],
  ['dropout in evaluation', { ...odd, training: false, changes: { hiddenDropout: 0.3, attentionDropout: 0.2 } }],
  ['several micro-batches', { ...odd, microBatches: 3 }],
  ['a frozen input', { ...odd, frozen: [0] }],
  ['some parameters frozen', { ...odd, frozen: [1, 3, 6, 8, 9, 11] }],
  ['all parameters frozen', { ...odd, frozen: Array.from({ length: 12 }, (_, i) => i + 1) }],
];

describe.runIf(nativeIsBuilt)('a compiled block', () => {
  beforeAll(activateNative);

  it.each(variants)('gives output and gradients of the block op by op: %s', (_, given) => {
    expectSame(given, 1e-5);
  });

  it.each(['float16', 'bfloat16'] as const)('does so within rounding with activations in %s', (storage) => {
    for (const [, given] of variants) expectSame({ ...given, storage }, storage === 'float16' ? 4e-3 : 3e-2);
  });

  it('does so for any shape', () => {
    fc.assert(
      fc.property(
        fc.record({
          batch: fc.integer({ min: 1, max: 4 }),
          seq: fc.integer({ min: 1, max: 40 }),
          heads: fc.constantFrom(1, 3, 4),
          dim: fc.constantFrom(1, 4, 6, 16),
          side: fc.constantFrom('left' as const, 'right' as const),
          changes: fc.record({ residualAfterNorm: fc.boolean(), hiddenDropout: fc.constantFrom(0, 0.25) }),
        }),
        (given) => {
          expectSame(given, 2e-5);
        },
      ),
      { numRuns: 25 },
    );
  });

  it.each(variants)('computed again in backward it gives the same to the last bit: %s', (_, given) => {
    expect(run(compiledAgain, given)).toEqual(run(compiled, given));
    if (given.changes?.hiddenDropout === undefined)
      expect(run(compiledAgain, { ...given, storage: 'bfloat16' })).toEqual(
        run(compiled, { ...given, storage: 'bfloat16' }),
      );
  });

  it('op by op, computed again in backward, it gives the same to the last bit', () => {
    const given = { ...odd, changes: { hiddenDropout: 0.3, attentionDropout: 0.2 } };
    for (const storage of ['float32', 'bfloat16'] as const)
      expect(run(recomputedBlock, { ...given, storage })).toEqual(run(eagerBlock, { ...given, storage }));
  });

  it('adds to gradients in place, but not where somebody else has their data', () => {
    const program = makeProgram({ width: 8, heads: 2 });
    const { upWeight, downBias } = program.parameters;
    const [x, mask] = [tf.tensor3d(values(32, 1), [2, 2, 8]), tf.ones([2, 2], 'int32')];
    const step = (): void =>
      backward(() => tf.tidy(() => compiled(program, x, mask, true).sum() as Scalar), {
        parameters: Object.values(program.parameters) as Parameter[],
      }).dispose();
    step();
    const [upGradient, biasGradient] = [upWeight.grad as Tensor, downBias.grad as Tensor];
    const once = upGradient.dataSync();
    const held = tf.tidy(() => tf.keep(biasGradient.clone()));
    step();
    expect(upWeight.grad).toBe(upGradient);
    expect([...upGradient.dataSync()]).toEqual([...once].map((value) => Math.fround(2 * value)));
    expect(downBias.grad).not.toBe(biasGradient);
    expect([...held.dataSync()].map((value) => 2 * value)).toEqual([...(downBias.grad as Tensor).dataSync()]);
    for (const parameter of Object.values(program.parameters) as Parameter[]) parameter.dispose();
    tf.dispose([held, x, mask]);
  });

  it('holds fewer bytes between forward and backward, the fewest if they are computed again, and leaves none behind', () => {
    const program = makeProgram({ width: 64, heads: 4 });
    const parameters = Object.values(program.parameters) as Parameter[];
    const [x, mask] = [tf.tensor3d(values(2 * 64 * 64, 1), [2, 64, 64]), tf.ones([2, 64], 'int32')];
    const current = (): number => addon().memoryUsage().total.currentBytes;
    const held = (apply: Apply): number => {
      let bytes = 0;
      backward(
        () => {
          const before = current();
          const loss = tf.tidy(() => apply(program, x, mask, true).sum() as Scalar);
          bytes = current() - before;
          return loss;
        },
        { parameters },
      ).dispose();
      return bytes;
    };
    for (const apply of [eagerBlock, compiled, compiledAgain]) held(apply);
    const tensors = tf.memory().numTensors;
    const [eager, whole, again] = [held(eagerBlock), held(compiled), held(compiledAgain)];
    console.log(
      `held by a block of 128 tokens, width 64: ${eager} bytes op by op, ${whole} compiled, ${again} recomputed`,
    );
    // 9 h s and statistics of 9 h s + 32 bytes for each token, of which up to an eighth is for rounding up.
    expect(whole).toBeLessThan((9 * 64 * 4 + 32) * 128 * 1.13 + 1024);
    expect(whole).toBeLessThan(0.7 * eager);
    // The result, whose sum is the loss, and that; nothing else.
    expect(again).toBe(2 * 64 * 64 * 4 + 4);
    expect(tf.memory().numTensors).toBe(tensors);
    const before = current();
    addon().clearWorkspace();
    expect(current()).toBeLessThan(before);
    for (const parameter of parameters) parameter.dispose();
    tf.dispose([x, mask]);
  });

  it('counts its products', () => {
    class Holder extends Module {
      constructor(readonly weights: readonly Parameter[]) {
        super();
        for (const [i, weight] of weights.entries()) Object.assign(this, { [`weight${i}`]: weight });
      }
      override forward(): void {
        throw new Error('not called');
      }
    }
    const program = makeProgram({ width: 12, heads: 3 });
    const holder = new Holder(Object.values(program.parameters) as Parameter[]);
    const [x, mask] = [tf.tensor3d(values(2 * 5 * 12, 1), [2, 5, 12]), tf.ones([2, 5], 'int32')];
    const forward = 2 * 10 * 12 * 144 + 4 * 10 * 5 * 12;
    expect(measureFlops(holder, () => compiled(program, x, mask, true))).toBe(forward);
    expect(measureFlops(holder, () => compiled(program, x, mask, true).sum() as Scalar, { backward: true })).toBe(
      3 * forward,
    );
    holder.dispose();
    tf.dispose([x, mask]);
  });

  it('refuses heads that do not divide the width', () => {
    const program = makeProgram({ width: 10, heads: 3 });
    expect(() => compileBlock(program)).toThrow(/3 heads do not divide its width of 10/);
  });
});
