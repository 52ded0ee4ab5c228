/** For tests of kernels: values to compute with, a backend to compute on, and when results are close. */
import { tf, type Tensor } from '@tensorloom/core';
import { expect } from 'vitest';

/** Reproducible values between -2 and 2. */
export function values(size: number, seed: number): Float32Array {
  let state = Math.imul(seed, 2654435761) | 1;
  return Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >> 8) / 2 ** 22;
  });
}

/** Runs `fn` in a tidy with `name` (registered before) as the active backend. */
export function onBackend<T>(name: 'cpu' | 'native', fn: () => T): T {
  const before = tf.getBackend();
  // Both start synchronously, so that the promise is already settled.
  void tf.setBackend(name);
  try {
    let result: T;
    tf.tidy(() => {
      result = fn();
    });
    return result!;
  } finally {
    void tf.setBackend(before);
  }
}

/** Same length, all finite, and within `tolerance` of the greatest magnitude. */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-5): void {
  expect(actual.length).toBe(expected.length);
  let [scale, worst] = [1, 0];
  for (let i = 0; i < expected.length; i++) {
    scale = Math.max(scale, Math.abs(expected[i] as number));
    const error = Math.abs((actual[i] as number) - (expected[i] as number));
    worst = Number.isFinite(error) ? Math.max(worst, error) : Infinity;
  }
  expect(worst / scale).toBeLessThanOrEqual(tolerance);
}

/** Runs `compute` on both backends; the results have the same shape and type, and close values, NaN and infinities where the other has them. */
export function compareWithCpu(compute: () => Tensor, tolerance = 1e-5): void {
  const run = (name: 'cpu' | 'native') =>
    onBackend(name, () => {
      const result = compute();
      return { shape: result.shape, dtype: result.dtype, data: [...result.dataSync()] };
    });
  const [native, cpu] = [run('native'), run('cpu')];
  expect([native.shape, native.dtype]).toEqual([cpu.shape, cpu.dtype]);
  const special = (value: number): boolean => !Number.isFinite(value);
  expect(native.data.filter(special)).toEqual(cpu.data.filter(special));
  const finite = (data: number[]): number[] => data.map((value) => (special(value) ? 0 : value));
  expectClose(finite(native.data), finite(cpu.data), tolerance);
}
