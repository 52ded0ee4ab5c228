import { beforeAll, describe, it } from 'vitest';
import { testBackends, useBackend } from '../autograd/backends.testing.ts';
import { type Tensor } from '../tensors.ts';
import { geluTanh } from './gelu-tanh.ts';
import { checkOp, values } from './reference.testing.ts';

const naive = ([x]: number[][]): number[] =>
  x!.map((v) => 0.5 * v * (1 + Math.tanh(0.79788456 * (v + 0.044715 * v ** 3))));

describe.each(testBackends())('geluTanh on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it("is BLOOM's formula, with its gradient, also far from zero", () => {
    const data = [...values(29, 1), 0, -3, 5, -12, 30, -80];
    checkOp([{ shape: [5, 7], data }], ([x]) => geluTanh(x as Tensor), naive);
  });
});
