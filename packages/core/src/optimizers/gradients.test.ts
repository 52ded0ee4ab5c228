import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { testBackends, useBackend } from '../autograd/backends.testing.ts';
import { RowSparse } from '../autograd/row-sparse.ts';
import { Parameter } from '../modules/parameter.ts';
import { expectClose } from '../ops/reference.testing.ts';
import { tf, type Tensor } from '../tensors.ts';
import { clipGradients, gradientNorm } from './gradients.ts';

interface Fixture {
  shapes: number[][];
  gradients: number[][][];
  clipped: { maxNorm: number; normType: string; norm: number; gradients: number[][] }[];
}
/** Made with PyTorch by fixtures/make_optimizer_steps.py. */
const fixture = JSON.parse(readFileSync(new URL('fixtures/optimizer-steps.json', import.meta.url), 'utf8')) as Fixture;

const withGradients = (gradients: readonly number[][]): Parameter[] =>
  gradients.map((gradient, i) => {
    const parameter = new Parameter(tf.zeros(fixture.shapes[i] as number[]));
    parameter.grad = tf.tensor(gradient, fixture.shapes[i] as number[]);
    return parameter;
  });

describe.each(testBackends())('clipGradients on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each(fixture.clipped)(
    "does as PyTorch's clip_grad_norm_ for $maxNorm, norm $normType",
    ({ maxNorm, normType, norm, gradients }) => {
      const parameters = withGradients(fixture.gradients[0] as number[][]);
      const before = tf.memory().numTensors;
      expectClose(
        [clipGradients(parameters, { maxNorm, normType: normType === 'inf' ? Infinity : Number(normType) })],
        [norm],
        1e-6,
      );
      for (const [i, { grad }] of parameters.entries())
        expectClose((grad as Tensor).dataSync(), gradients[i] as number[], 1e-6);
      expect(tf.memory().numTensors).toBe(before);
      for (const p of parameters) p.dispose();
    },
  );

  it('counts rows of a row-sparse gradient, and limits values', () => {
    const [table, none] = [new Parameter(tf.zeros([5, 2])), new Parameter(tf.zeros([2]))];
    table.grad = new RowSparse(Int32Array.of(1, 4), tf.tensor2d([3, 0, 0, -4], [2, 2]), 5);
    expect(gradientNorm([table, none])).toBe(5);
    clipGradients([table, none], { clipValue: 3.5 });
    expect([...(table.grad as RowSparse).rows.dataSync()]).toEqual([3, 0, 0, -3.5]);
    expect(none.grad).toBeNull();
    for (const p of [table, none]) p.dispose();
  });

  it('throws for a norm that is not finite only if asked to', () => {
    const [parameter] = withGradients([fixture.gradients[0]?.[0] as number[]]) as [Parameter];
    parameter.grad = tf.fill([5, 3], NaN);
    expect(clipGradients([parameter], { maxNorm: 1 })).toBeNaN();
    expect(() => clipGradients([parameter], { maxNorm: 1, errorIfNonfinite: true })).toThrow(
      /norm of the gradients is NaN/,
    );
    parameter.dispose();
  });

  it('takes exactly one limit, of at least 0', () => {
    expect(() => clipGradients([], {})).toThrow(/got neither/);
    expect(() => clipGradients([], { maxNorm: 1, clipValue: 1 })).toThrow(/got both/);
    expect(() => clipGradients([], { maxNorm: -1 })).toThrow(/maxNorm is -1/);
    expect(() => clipGradients([], { maxNorm: 1, normType: 0 })).toThrow(/normType is 0/);
    expect(clipGradients([], { maxNorm: 1 })).toBe(0);
  });
});
