import { backward, measureFlops, Module, type Parameter, tf, type Scalar, type Tensor } from '@tensorloom/core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { addon } from '../addon.ts';
import { values } from '../kernels/compare.testing.ts';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';
import { eagerBlock, makeProgram, recomputedBlock, type Apply } from './block.testing.ts';
import { compileBlock } from './compiled-block.ts';
import { compiled, compiledAgain, difference, run, type Case } from './run-block.testing.ts';

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
